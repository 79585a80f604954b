//! Bills as WeChat sends them, and what it sends in their place.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use wxpay_worker::clock::Timestamp;
use wxpay_worker::money::Fen;
use wxpay_worker::wechat::setup_fault::SetupFault;
use wxpay_worker::wechat::v2::bill::{
    BillError, FundFlows, FundTotals, Gunzip, Limits, Parser, RefundKind, RefundKind::Reversal, RefusalKind, Row,
    TradeLine, TradeTotals, Trades, Yuan,
};

use super::Vector;

#[test]
fn every_bill_vector_is_read_as_it_says() {
    let vectors = super::of("bill", 16);
    for v in &vectors {
        if v.expected["is_error"] == true {
            refusal(v);
        } else if v.name == "bill-fundflow" {
            fund_flow(v);
        } else if v.name == "bill-all-gzip" {
            let plain = vectors.iter().find(|other| other.name == v.expects("uncompressed_base64_of")).unwrap();
            assert_eq!(gunzip(&STANDARD.decode(v.input("gzip_base64")).unwrap()), bytes(plain));
        } else {
            trades(v);
        }
    }
}

#[test]
fn a_known_rate_gives_the_fees_of_the_vectors() {
    let bills = super::of("bill", 16);
    let (rows, _) = read(&bytes(bills.iter().find(|v| v.name == "bill-success").unwrap()));
    assert_eq!(rows.len(), 4);
    for row in rows {
        let trade = row.line.trade();
        assert_eq!(trade.rate.unwrap().fee_of(trade.settlement), Some(trade.fee), "line {}", row.number);
    }
}

fn bytes(v: &Vector) -> Vec<u8> {
    STANDARD.decode(v.input("csv_base64")).unwrap()
}

fn gunzip(archive: &[u8]) -> Vec<u8> {
    let (mut plain, mut more) = (Vec::new(), Vec::new());
    let mut gunzip = Gunzip::new(1 << 20);
    gunzip.feed(archive, |bytes| plain.extend_from_slice(bytes)).unwrap();
    gunzip.finish(|bytes| more.extend_from_slice(bytes)).unwrap();
    plain.extend(more);
    plain
}

fn read(bill: &[u8]) -> (Vec<Row<TradeLine>>, TradeTotals) {
    let (mut rows, mut last) = (Vec::new(), Vec::new());
    let mut parser = Parser::<Trades>::new(Limits::default());
    parser.feed(bill, |row| rows.push(row)).unwrap();
    let totals = parser.finish(|row| last.push(row)).unwrap();
    rows.extend(last);
    (rows, totals)
}

fn trades(v: &Vector) {
    let (rows, totals) = read(&bytes(v));
    assert_eq!(rows.len() as u64, v.expected["detail_count"].as_u64().unwrap(), "{}", v.name);
    assert_eq!(totals.rows(), rows.len() as u64, "{}", v.name);
    if let Some(expected) = v.expected["rows"].as_array() {
        for (row, expected) in rows.iter().zip(expected) {
            same(v.name, &row.line, expected);
        }
    }
    if let Some(order_fen) = v.expected["order_fen"].as_i64() {
        assert_eq!(rows[0].line.trade().order.as_i64(), order_fen, "{}", v.name);
        assert_eq!(rows[0].line.trade().rate_text, "0.60%");
    }
    if let Some(state) = v.expected["trade_state"].as_str() {
        assert_eq!(rows[0].line.trade().state, state);
        assert_eq!(rows[0].line.refund().map(|refund| refund.kind), Some(Reversal));
        assert_eq!(rows[0].line.refund().and_then(|refund| refund.out_refund_no.as_deref()), None);
    }
    summary(v, &totals);
}

fn same(name: &str, line: &TradeLine, expected: &Value) {
    let (trade, refund) = (line.trade(), line.refund());
    let text = |field: &str| expected[field].as_str();
    let fen = |field: &str| expected[field].as_i64().map(Fen::from_i64);
    let time = Timestamp::parse_rfc3339(text("trade_time_utc").unwrap()).unwrap();
    assert_eq!(trade.time, time, "{name}");
    assert_eq!(Some(trade.out_trade_no.as_str()), text("out_trade_no"), "{name}");
    assert_eq!(Some(trade.transaction_id.as_str()), text("transaction_id"), "{name}");
    assert_eq!(Some(trade.trade_type.as_str()), text("trade_type"), "{name}");
    assert_eq!(Some(trade.state.as_str()), text("trade_state"), "{name}");
    assert_eq!(Some(trade.order), fen("order_fen"), "{name}");
    assert_eq!(Some(trade.settlement), fen("settlement_fen"), "{name}");
    assert_eq!(Some(trade.coupon), fen("coupon_fen"), "{name}");
    assert_eq!(Some(trade.fee.to_string().as_str()), text("fee_yuan_5dp"), "{name}");
    assert_eq!(Some(trade.product.as_str()), text("body"), "{name}");
    assert_eq!(Some(trade.attach.as_str()), text("attach"), "{name}");
    assert_eq!(trade.openid.expose(), "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o", "{name}");
    assert_eq!((trade.mch_id.as_str(), trade.sub_mch_id.as_deref()), ("1900000109", None), "{name}");
    assert_eq!(trade.currency, "CNY");
    assert_eq!(refund.map(|refund| refund.kind), (text("trade_state") == Some("REFUND")).then_some(RefundKind::Refund));
    let Some(refund) = refund else { return };
    assert_eq!(refund.refund_id.as_deref(), text("refund_id"), "{name}");
    assert_eq!(refund.out_refund_no.as_deref(), text("out_refund_no"), "{name}");
    assert_eq!(Some(refund.amount), fen("refund_fen"), "{name}");
    assert_eq!(Some(refund.requested), fen("refund_apply_fen"), "{name}");
    assert_eq!(Some(refund.state.as_str()), text("refund_status"), "{name}");
    assert_eq!(refund.refund_type, "ORIGINAL");
    if let Some(at) = refund.requested_at {
        assert_eq!(at, time, "{name}");
        assert_eq!(refund.succeeded_at.is_some(), refund.state == "SUCCESS", "{name}");
    }
}

fn summary(v: &Vector, totals: &TradeTotals) {
    for (name, says) in v.expected["summary"].as_object().into_iter().flatten() {
        let says = Yuan::parse(says.as_str().unwrap()).unwrap();
        let sum = match name.as_str() {
            "总交易单数" => Yuan::from_units(i64::try_from(totals.rows()).unwrap() * 100_000),
            "应结订单总金额" => Yuan::of_fen(totals.settlement).unwrap(),
            "订单总金额" | "总交易额" => Yuan::of_fen(totals.order).unwrap(),
            "退款总金额" | "总退款金额" => Yuan::of_fen(totals.refunded).unwrap(),
            "充值券退款总金额" | "总代金券或立减优惠退款金额" => {
                Yuan::of_fen(totals.refunded_coupons).unwrap()
            }
            "申请退款总金额" => Yuan::of_fen(totals.requested).unwrap(),
            "手续费总金额" => totals.fee,
            name => panic!("{}: {name}", v.name),
        };
        assert_eq!(sum, says, "{}: {name}", v.name);
    }
}

fn fund_flow(v: &Vector) {
    let mut rows = Vec::new();
    let mut parser = Parser::<FundFlows>::new(Limits::default());
    parser.feed(&bytes(v), |row| rows.push(row.line)).unwrap();
    let totals = parser.finish(|_| panic!("the last line is ended")).unwrap();
    assert_eq!(rows.len() as u64, v.expected["detail_count"].as_u64().unwrap());
    let fen = |field: &str| Fen::from_i64(v.expected[field].as_i64().unwrap());
    let expected = FundTotals { incomes: 1, income: fen("income_fen"), expenses: 2, expense: fen("expense_fen") };
    assert_eq!(totals, expected);
    assert_eq!(rows[2].business_no.as_deref(), Some("50000000382025010200000000001"));
    assert_eq!(rows[2].voucher_no.as_deref(), Some("R20250102000001"));
    assert_eq!(rows[2].balance, Some(Fen::from_i64(106_958)));
    assert_eq!(rows[1].kind, "扣除交易手续费");
    assert_eq!(rows[0].time, Timestamp::parse_rfc3339("2025-01-02T03:16:34Z").unwrap());
}

fn refusal(v: &Vector) {
    let mut parser = Parser::<Trades>::new(Limits::default());
    parser.feed(v.input("xml").as_bytes(), |_| panic!("{}: a row", v.name)).unwrap();
    let error = parser.finish(|_| panic!("{}: a row", v.name)).unwrap_err();
    let BillError::Refused(refusal) = error else { panic!("{}: {error}", v.name) };
    assert_eq!(refusal.words, v.expects("return_msg"), "{}", v.name);
    let kind = match v.expects("handling") {
        "empty_day_final_after_10h" => RefusalKind::NoBill,
        "retry_later" => RefusalKind::Creating,
        "retry" => RefusalKind::Busy,
        "configuration_error" => RefusalKind::Setup(SetupFault::Signature),
        handling => panic!("{}: {handling}", v.name),
    };
    assert_eq!(refusal.kind, kind, "{}", v.name);
}
