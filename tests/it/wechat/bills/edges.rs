//! Cells and headers that could be read in two ways: each is read in one way or fails the bill.

use wxpay_worker::money::Fen;
use wxpay_worker::wechat::v2::bill::{
    FundEntry, FundFlows, FundTotals, Limits, Parser, Rate, RefundKind, TradeLine, Yuan,
};

use super::{HEADER, SUMMARY, bill, payment, read};

/// The row with other values in these columns, counted from 1 as error texts count.
fn with(row: &str, changes: &[(usize, &str)]) -> String {
    let mut cells: Vec<&str> = row[1..].split(",`").collect();
    for (column, value) in changes {
        cells[column - 1] = value;
    }
    format!("`{}", cells.join(",`"))
}

/// A row of half a yuan that went back.
fn refund(state: &str) -> String {
    let amounts = [(13, "0.00"), (17, "0.50"), (18, "0.00"), (23, "-0.00300"), (25, "0.00"), (26, "0.50")];
    let words = [(10, state), (15, "5000001"), (16, "R1"), (19, "ORIGINAL"), (20, "SUCCESS")];
    with(&payment("b"), &[&amounts[..], &words[..]].concat())
}

fn of_refund(row: &str) -> String {
    format!("{HEADER}\n{row}\n{SUMMARY}\n`1,`0.00,`0.50,`0.00,`-0.00300,`0.00,`0.50")
}

fn fails(bill: &str) -> String {
    read(bill.as_bytes()).unwrap_err().to_string()
}

#[test]
fn amounts_below_zero_fail_the_bill_where_the_kind_of_the_row_says_the_direction() {
    for (column, name) in [(13, "应结订单金额"), (14, "代金券金额"), (25, "订单金额")] {
        let reason = fails(&bill(&[with(&payment("a"), &[(column, "-1.00")])]));
        assert_eq!(reason, format!("line 2, column {column} ({name}): a negative amount"));
    }
    for (column, name) in [(17, "退款金额"), (18, "充值券退款金额"), (26, "申请退款金额")] {
        let reason = fails(&of_refund(&with(&refund("REFUND"), &[(column, "-0.50")])));
        assert_eq!(reason, format!("line 2, column {column} ({name}): a negative amount"));
    }
    let (rows, totals) = read(of_refund(&refund("REFUND")).as_bytes()).unwrap();
    assert_eq!(rows[0].line.trade().fee, Yuan::from_units(-300), "fees of refunds are below zero");
    assert_eq!((totals.refunded, totals.fee), (Fen::from_i64(50), Yuan::from_units(-300)));
}

#[test]
fn two_names_of_one_column_in_a_header_fail_the_bill() {
    let good = bill(&[payment("a")]);
    for (column, other) in [("费率备注", "总金额"), ("设备号", "子商户号"), ("用户标识", "企业红包金额")]
    {
        let reason = fails(&good.replacen(column, other, 1));
        assert!(reason.starts_with("line 1: the columns ") && reason.ends_with(" are the same one"), "{reason}");
        assert!(reason.contains(other), "{reason}");
    }
    let twice = good.replacen("申请退款总金额", "总退款金额", 1);
    assert_eq!(fails(&twice), "line 3: the columns 退款总金额 and 总退款金额 are the same one");
}

#[test]
fn nothing_and_a_nought_are_no_number() {
    let number = |row: &str| {
        let (rows, _) = read(of_refund(row).as_bytes()).unwrap();
        let refund = rows[0].line.refund().unwrap();
        (refund.kind, refund.refund_id.clone(), refund.out_refund_no.clone())
    };
    let one = |text: &str| Some(text.to_owned());
    assert_eq!(number(&refund("REFUND")), (RefundKind::Refund, one("5000001"), one("R1")));
    for none in ["0", "", " 0 "] {
        let console = with(&refund("REFUND"), &[(16, none)]);
        assert_eq!(number(&console), (RefundKind::Refund, one("5000001"), None), "{none:?}");
        let reversal = with(&refund("REVOKED"), &[(15, none)]);
        assert_eq!(number(&reversal), (RefundKind::Reversal, None, one("R1")), "{none:?}");
        let whole = with(&refund("REVOKED"), &[(15, none), (16, none)]);
        assert_eq!(number(&whole), (RefundKind::Reversal, None, None), "{none:?}");
        let neither = with(&refund("REFUND"), &[(15, none), (16, none)]);
        assert_eq!(fails(&of_refund(&neither)), "line 2, column 15 (微信退款单号): nothing stands there");
    }
}

#[test]
fn a_reversal_that_does_not_say_what_went_back_fails_the_bill() {
    let blank = with(&refund("REVOKED"), &[(17, "")]);
    assert_eq!(fails(&of_refund(&blank)), "line 2, column 17 (退款金额): not an amount");
    let columns = "微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,";
    let success = HEADER.replace(columns, "").replace("申请退款金额,", "");
    let row = with(&payment("b"), &[(10, "REVOKED")]);
    let cells = row[1..].split(",`").enumerate().filter(|(at, _)| !(14..20).contains(at) && *at != 25);
    let row = format!("`{}", cells.map(|(_, cell)| cell).collect::<Vec<_>>().join(",`"));
    let reason = fails(&format!("{success}\n{row}\n{SUMMARY}\n`1,`1.00,`0.00,`0.00,`0.01,`1.00,`0.00"));
    assert_eq!(reason, "line 2, column 10 (交易状态): a refund in a layout without columns for refunds");
}

#[test]
fn what_may_be_about_a_person_is_not_shown() {
    let row = with(&payment("name of a product"), &[(5, "device"), (11, "BANK"), (22, "said by a person")]);
    let (rows, _) = read(bill(&[row]).as_bytes()).unwrap();
    let shown = format!("{:?}", rows[0]);
    let TradeLine::Payment(trade) = &rows[0].line else { panic!("{shown}") };
    assert_eq!((trade.product.as_str(), trade.attach.as_str()), ("name of a product", "said by a person"));
    for personal in ["name of a product", "said by a person", "openid-of-a-payer"] {
        assert!(!shown.contains(personal), "{shown}");
    }
    assert!(shown.contains("42000") && shown.contains("T1"), "{shown}");
    let (entries, _) = funds("元", "100.00", "0.60").unwrap();
    let shown = format!("{:?}", entries[0]);
    assert_eq!((entries[0].requested_by.as_str(), entries[0].remark.as_str()), ("clerk@example.com", "for Mr Li"));
    assert!(!shown.contains("clerk") && !shown.contains("Mr Li") && shown.contains("4200001"), "{shown}");
}

/// A fund flow of an income and an expense, its amounts in this unit.
fn funds(unit: &str, income: &str, expense: &str) -> Result<(Vec<FundEntry>, FundTotals), String> {
    let text = format!(
        "记账时间,微信支付业务单号,资金流水单号,业务名称,业务类型,收支类型,收支金额（{unit}）,账户结余({unit}),\
         资金变更提交申请人,备注,业务凭证号\n\
         `2025-01-02 11:16:34,`4200001,`1504,`交易,`交易,`收入,`{income},`{income},`clerk@example.com,`for Mr Li,`T1\n\
         `2025-01-02 11:16:35,`0,`1505,`扣除交易手续费,`扣除交易手续费,`支出,`{expense},`{expense},`system,`,`0\n\
         资金流水总笔数,收入笔数,收入金额（{unit}）,支出笔数,支出金额（{unit}）\n\
         `2.0,`1.0,`{income},`1.0,`{expense}\n"
    );
    let mut entries = Vec::new();
    let mut parser = Parser::<FundFlows>::new(Limits::default());
    parser.feed(text.as_bytes(), |row| entries.push(row.line)).map_err(|error| error.to_string())?;
    let totals = parser.finish(|row| entries.push(row.line)).map_err(|error| error.to_string())?;
    Ok((entries, totals))
}

#[test]
fn the_unit_of_an_amount_is_that_of_its_header() {
    let yuan = funds("元", "100.00", "0.60").unwrap();
    assert_eq!((yuan.1.income, yuan.1.expense), (Fen::from_i64(10_000), Fen::from_i64(60)));
    assert_eq!((yuan.0[1].business_no.as_deref(), yuan.0[1].voucher_no.as_deref()), (None, None));
    assert_eq!(funds("分", "10000", "60").unwrap(), yuan, "the same amounts in fen");
    assert_eq!(funds("单位：分", "10000.0", "60").unwrap(), yuan);
    let column = "line 2, column 7 (收支金额)";
    assert_eq!(funds("分", "100.50", "0.60").unwrap_err(), format!("{column}: not an amount"));
    assert_eq!(funds("万元", "1.00", "0.60").unwrap_err(), format!("{column}: not known in which unit"));
    assert_eq!(funds("元", "-1.00", "0.60").unwrap_err(), format!("{column}: a negative amount"));
}

#[test]
fn refunds_of_a_whole_payment_give_back_its_whole_fee() {
    let rate = Rate::parse("0.60%").unwrap();
    let given_back = |parts: &[i64]| {
        let (total, mut before, mut back) = (Fen::from_i64(parts.iter().sum()), Fen::ZERO, Yuan::ZERO);
        let mut fees = Vec::new();
        for part in parts {
            let fee = rate.fee_of_refund(total, before, back, Fen::from_i64(*part)).unwrap();
            before = before.checked_add(Fen::from_i64(*part)).unwrap();
            back = back.checked_add(fee).unwrap();
            fees.push(fee.to_fen().unwrap().as_i64());
        }
        assert_eq!(Some(back), rate.fee_of(total), "{parts:?}");
        fees
    };
    assert_eq!(given_back(&[100]), [1]);
    assert_eq!(given_back(&[80, 80]), [0, 1], "1 fen of 160, 0 of 80: the last one gives the rest");
    assert_eq!(given_back(&[84, 84, 84]), [1, 1, 0], "2 fen of 252, 1 of 84: no more than was taken");
    assert_eq!(given_back(&[1; 100]), [&[0; 99][..], &[1]].concat());
    assert_eq!(rate.fee_of_refund(Fen::from_i64(80), Fen::from_i64(80), Yuan::ZERO, Fen::from_i64(1)), None);
}
