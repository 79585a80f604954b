//! Planted differences are in the bill, and the ledger is untouched.

use serde_json::json;
use wxpay_worker::money::Fen;
use wxpay_worker::wechat::v2::bill::{Ask, RefundKind, TradeBillType, TradeLine, TradeTotals, Yuan};

use super::{Stage, today};
use crate::sandbox::refunds::parts::refund;

/// Three payments of 88 fen and a refund of the first.
async fn played() -> Stage {
    let stage = Stage::open().await;
    for number in ["A100001", "A100002", "A100003"] {
        stage.paid(number, "88").await;
    }
    stage.shop.cashier().await.take(refund("A100001", "R1", "30")).await;
    stage.next_morning(10);
    stage
}

fn payment<'b>(lines: &'b [TradeLine], number: &str) -> Vec<&'b TradeLine> {
    lines.iter().filter(|line| line.refund().is_none() && line.trade().out_trade_no == number).collect()
}

async fn with(differences: serde_json::Value) -> (Vec<TradeLine>, TradeTotals) {
    let stage = played().await;
    let before = stage.shop.ledger().await;
    stage.plant(differences).await;
    let bill = stage.trades(TradeBillType::All).await;
    assert_eq!(stage.shop.ledger().await, before);
    bill
}

#[tokio::test]
async fn each_kind_of_difference_is_in_the_bill() {
    let (lines, totals) = with(json!([
        {"kind": "missing_payment", "out_trade_no": "A100001"},
        {"kind": "missing_refund", "out_refund_no": "R1"},
        {"kind": "amount", "number": "A100002", "fen": 12},
        {"kind": "fee", "number": "A100002", "fen": 5},
        {"kind": "currency", "number": "A100002"},
        {"kind": "duplicate", "number": "A100003"},
        {"kind": "extra", "out_trade_no": "F1", "day": "20250102", "total_fee": 500},
        {"kind": "extra", "out_trade_no": "F2", "day": "20250103", "total_fee": 500},
    ]))
    .await;
    assert_eq!((totals.payments, totals.refunds), (4, 0));
    assert!(payment(&lines, "A100001").is_empty() && payment(&lines, "F2").is_empty());
    let changed = payment(&lines, "A100002")[0].trade();
    assert_eq!((changed.order, changed.settlement), (Fen::from_i64(100), Fen::from_i64(100)));
    assert_eq!((changed.fee, changed.currency.as_str()), (Yuan::parse("0.06").unwrap(), "USD"));
    assert_eq!(payment(&lines, "A100003").len(), 2);
    assert_eq!(payment(&lines, "F1")[0].trade().order, Fen::from_i64(500));
}

#[tokio::test]
async fn a_refund_and_a_state_differ_where_it_is_planted() {
    let (lines, _) = with(json!([
        {"kind": "amount", "number": "R1"},
        {"kind": "status", "number": "R1", "status": "CHANGE"},
    ]))
    .await;
    let refund = lines.iter().find_map(TradeLine::refund).unwrap();
    assert_eq!((refund.requested, refund.state.as_str()), (Fen::from_i64(31), "CHANGE"));
    assert_eq!(payment(&lines, "A100001").len(), 1);
    let (lines, _) = with(json!([{"kind": "status", "number": "A100002", "status": "REVOKED"}])).await;
    let reversed = lines.iter().find(|line| line.trade().out_trade_no == "A100002").unwrap();
    assert_eq!(reversed.refund().map(|refund| refund.kind), Some(RefundKind::Reversal));
}

#[tokio::test]
async fn a_wrong_summary_fails_the_bill_and_all_differences_can_be_removed() {
    let stage = played().await;
    stage.plant(json!([{"kind": "summary", "day": "20250102"}])).await;
    let error = stage.fetch(Ask::trades(today(), TradeBillType::All)).await.unwrap_err();
    assert_eq!(error.to_string(), "the bill is not usable: the summary counts 5 as 总交易单数, there are 4");
    let url = format!("{}/_sandbox/bills/differences", stage.shop.base);
    let shown = stage.shop.get("bills/differences").await;
    assert_eq!(shown["differences"], json!([{"kind": "summary", "day": "20250102", "mch_id": "10000100"}]));
    assert_eq!(stage.shop.http.delete(url).send().await.unwrap().status(), 200);
    assert_eq!(stage.trades(TradeBillType::All).await.1.rows(), 4);
}

#[tokio::test]
async fn a_difference_that_cannot_be_is_refused() {
    let stage = Stage::open().await;
    for wrong in [
        json!([{"kind": "extra", "out_trade_no": "F1", "day": "tomorrow", "total_fee": 500}]),
        json!([{"kind": "extra", "out_trade_no": "F1", "day": "20250102", "total_fee": 0}]),
        json!([{"kind": "unknown"}]),
        json!([{"kind": "fee"}]),
    ] {
        let body = json!({"mch_id": super::MCH_ID, "differences": wrong});
        assert_eq!(stage.shop.control("bills/differences", body).await.0, 400, "{wrong}");
    }
    let body = json!({"mch_id": "1", "differences": []});
    assert_eq!(stage.shop.control("bills/differences", body).await.0, 400);
    assert_eq!(stage.shop.get("bills/differences").await, json!({"differences": []}));
}
