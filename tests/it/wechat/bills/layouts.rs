//! Columns by their names, cells as they stand.

use wxpay_worker::clock::Timestamp;
use wxpay_worker::money::Fen;
use wxpay_worker::wechat::v2::bill::{BillDay, BillError, Flaw, Rate, Yuan};

use super::{bill, payment, read};

/// The bill with its columns in the opposite order.
fn reversed(bill: &str) -> String {
    let line = |line: &str, separator: &str| {
        let mut cells: Vec<&str> = line.split(separator).collect();
        // The first one marks the header.
        cells[1..].reverse();
        cells.join(separator)
    };
    let mut lines: Vec<String> = bill.lines().map(str::to_owned).collect();
    lines[0] = line(&lines[0], ",");
    lines[1] = format!("`{}", line(&lines[1][1..], ",`"));
    lines.join("\n")
}

#[test]
fn columns_are_found_by_name_in_any_order() {
    let bill = bill(&[payment("a")]);
    let reversed = reversed(&bill);
    assert!(reversed.starts_with("交易时间,费率备注,申请退款金额"));
    assert_eq!(read(reversed.as_bytes()).unwrap(), read(bill.as_bytes()).unwrap());
}

#[test]
fn unknown_columns_are_kept_and_not_shown() {
    let bill = bill(&[payment("a")]).replacen("费率备注", "费率备注,新列", 1).replacen(
        "`1.00,`0.00,`\n",
        "`1.00,`0.00,`,`值\n",
        1,
    );
    let (rows, _) = read(bill.as_bytes()).unwrap();
    let trade = rows[0].line.trade();
    assert_eq!((&*trade.others[0].name, trade.others[0].text.as_str()), ("新列", "值"));
    let shown = format!("{trade:?}");
    assert!(!shown.contains("openid-of-a-payer") && !shown.contains('值'), "{shown}");
}

#[test]
fn a_missing_or_repeated_column_fails_and_is_named() {
    let bill = bill(&[payment("a")]);
    let missing = read(bill.replacen("订单金额,申请", "别的,申请", 1).as_bytes()).unwrap_err();
    assert_eq!(missing.to_string(), "line 1: the column 订单金额 is missing");
    let half = read(bill.replacen("退款状态", "别的", 1).as_bytes()).unwrap_err();
    assert_eq!(half, BillError::Line { line: 1, flaw: Flaw::MissingColumn("退款状态") });
    let twice = read(bill.replacen("费率备注", "费率", 1).as_bytes()).unwrap_err();
    assert_eq!(twice.to_string(), "line 1: the column 费率 appears twice");
}

#[test]
fn cells_with_commas_quotes_and_full_width_colons_are_read() {
    let row = payment("a, b \"c\" ，`d").replacen("11:16:33", "11：16：33", 1);
    let (rows, _) = read(bill(&[row]).as_bytes()).unwrap();
    let trade = rows[0].line.trade();
    assert_eq!(trade.product, "a, b \"c\" ，`d");
    assert_eq!(trade.time, Timestamp::parse_rfc3339("2025-01-02T03:16:33Z").unwrap());
}

#[test]
fn fees_are_summed_exactly_and_may_be_printed_rounded() {
    let row = |fee: &str| payment("a").replace("`0.01000", &format!("`{fee}"));
    let with = |says: &str| {
        let rows = [row("0.00333"), row("0.00333")];
        let bill = bill(&rows).replace("`2,`2.00,`0.00,`0.00,`0.02,", &format!("`2,`2.00,`0.00,`0.00,`{says},"));
        read(bill.as_bytes())
    };
    assert_eq!(with("0.00666").unwrap().1.fee, Yuan::from_units(666));
    assert_eq!(with("0.01").unwrap().1.fee, Yuan::from_units(666));
    for wrong in ["0.00667", "0.0067", "0.02", "0.00", "0"] {
        let expected_wrong = wrong != "0.0067";
        assert_eq!(with(wrong).is_err(), expected_wrong, "{wrong}");
    }
}

#[test]
fn amounts_of_fees_and_rates_are_exact() {
    for (text, units) in [("0.00001", 1), ("-0.18000", -18_000), ("45.0", 4_500_000), ("1", 100_000)] {
        assert_eq!(Yuan::parse(text).unwrap().units(), units);
    }
    for wrong in ["", "-", "+1", "1.", ".1", "1.000001", "1e2", " 1", "1,0", "--1", "９"] {
        assert!(Yuan::parse(wrong).is_err(), "{wrong}");
    }
    assert!(Yuan::parse("99999999999999999999").is_err());
    assert_eq!(Yuan::from_units(-1).to_string(), "-0.00001");
    assert_eq!(Yuan::from_units(1000).to_fen(), Some(Fen::from_i64(1)));
    assert_eq!(Yuan::from_units(1001).to_fen(), None);
    assert_eq!(Rate::parse("0.60%").unwrap().millionths(), 6000);
    assert!(Rate::parse("0.60").is_err());
    let fee = |fen| Rate::parse("0.60%").unwrap().fee_of(Fen::from_i64(fen)).unwrap().to_string();
    assert_eq!([fee(83), fee(84), fee(-84), fee(0)], ["0.00000", "0.01000", "-0.01000", "0.00000"]);
}

#[test]
fn a_day_is_a_day_in_beijing() {
    let day = BillDay::of(Timestamp::parse_rfc3339("2026-11-27T16:00:00Z").unwrap());
    assert_eq!((day.to_string().as_str(), day.compact().as_str()), ("2026-11-28", "20261128"));
    assert_eq!(BillDay::of(Timestamp::parse_rfc3339("2026-11-27T15:59:59Z").unwrap()), day.previous());
    assert_eq!(day.ready_at(), Timestamp::parse_rfc3339("2026-11-29T02:00:00Z").unwrap());
    assert_eq!((day.ends_at(), BillDay::of(day.ends_at())), (day.next().begins_at(), day.next()));
    assert_eq!((BillDay::parse("2026-11-28"), BillDay::parse("20261128")), (Ok(day), Ok(day)));
    for wrong in ["", "2026-02-30", "2026-1-1", "202611-28x", "２０２６1128"] {
        assert!(BillDay::parse(wrong).is_err(), "{wrong}");
    }
}
