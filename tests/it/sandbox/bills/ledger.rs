//! A bill equals the simulator's ledger.

use std::time::Duration;

use serde_json::{Value, json};
use wxpay_worker::money::Fen;
use wxpay_worker::wechat::v2::bill::{Direction, TradeBillType, TradeLine, Yuan};

use super::Stage;
use crate::sandbox::parts::{MCH_ID, OPENID, order, with};
use crate::sandbox::refunds::parts::refund;

const MINUTE: Duration = Duration::from_secs(60);

/// Payments with every kind of coupon, refunds with every end, and one that must not be in the bill.
pub async fn played() -> Stage {
    let stage = Stage::open().await;
    let shop = &stage.shop;
    let cashier = shop.cashier().await;
    stage.paid("A100001", "10000").await;
    for (number, coupon_type) in [("A100002", "NO_CASH"), ("A100003", "CASH")] {
        shop.clock.advance(MINUTE);
        let terms = [("total_fee", "5000"), ("body", "茶, 一\n二"), ("attach", "a,`b"), ("device_info", "POS 1")];
        let prepay_id = shop.prepay(with(order(number), &terms)).await;
        let body = json!({"prepay_id": prepay_id, "coupon_fee": 1000, "coupon_type": coupon_type});
        assert_eq!(shop.control("pay", body).await.0, 200);
    }
    shop.place(order("A100009")).await;
    for (number, refund_no, fee) in
        [("A100001", "R1", "3000"), ("A100002", "R2", "5000"), ("A100003", "R3", "2500"), ("A100001", "R4", "1000")]
    {
        shop.clock.advance(MINUTE * 2);
        let total = if number == "A100001" { "10000" } else { "5000" };
        cashier.take(with(refund(number, refund_no, fee), &[("total_fee", total)])).await;
    }
    for (refund_no, outcome) in [("R1", "SUCCESS"), ("R2", "CHANGE"), ("R3", "REFUNDCLOSE")] {
        assert_eq!(shop.ends(refund_no, outcome).await.0, 200);
    }
    stage
}

fn fen(value: &Value) -> Fen {
    Fen::from_i64(value.as_i64().unwrap())
}

#[tokio::test]
async fn a_trade_bill_has_what_the_ledger_has() {
    let stage = played().await;
    stage.next_morning(10);
    let (lines, totals) = stage.trades(TradeBillType::All).await;
    let ledger = stage.shop.ledger().await;
    let payments: Vec<_> = lines.iter().filter(|line| line.refund().is_none()).map(TradeLine::trade).collect();
    let of_ledger = ledger["payments"].as_array().unwrap();
    assert_eq!((payments.len(), of_ledger.len()), (3, 3));
    for (trade, payment) in payments.iter().zip(of_ledger) {
        assert_eq!(trade.out_trade_no, payment["out_trade_no"].as_str().unwrap());
        assert_eq!(trade.transaction_id, payment["transaction_id"].as_str().unwrap());
        assert_eq!((trade.order, trade.coupon), (fen(&payment["total_fee"]), fen(&payment["coupon_fee"])));
        let settled = if payment["coupon_type"] == "NO_CASH" { "cash_fee" } else { "total_fee" };
        assert_eq!(trade.settlement, fen(&payment[settled]), "{payment}");
        assert_eq!(Some(trade.fee), trade.rate.unwrap().fee_of(trade.settlement));
        let paid_at = super::at(payment["paid_at"].as_str().unwrap());
        assert_eq!((trade.time, trade.openid.expose()), (paid_at, OPENID));
        assert_eq!((trade.mch_id.as_str(), trade.appid.as_str()), (MCH_ID, payment["appid"].as_str().unwrap()));
    }
    let trade = payments[1];
    assert_eq!((trade.product.as_str(), trade.attach.as_str()), ("茶\\  一\\n二", "a\\ `b"));
    assert_eq!(trade.device.as_deref(), Some("POS 1"));
    let refunds: Vec<_> = lines.iter().filter_map(|line| Some((line.trade(), line.refund()?))).collect();
    let of_ledger = ledger["refunds"].as_array().unwrap();
    assert_eq!((refunds.len(), of_ledger.len()), (4, 4));
    for (trade, refund) in &refunds {
        let known = of_ledger.iter().find(|known| known["out_refund_no"] == *refund.out_refund_no.as_ref().unwrap());
        let known = known.unwrap();
        assert_eq!(refund.refund_id.as_deref(), known["refund_id"].as_str());
        assert_eq!(refund.requested, fen(&known["refund_fee"]));
        assert_eq!(refund.amount, fen(&known["settlement_refund_fee"]));
        assert_eq!(trade.time, super::at(known["accepted_at"].as_str().unwrap()));
        assert_eq!((trade.order, trade.out_trade_no.as_str()), (Fen::ZERO, known["out_trade_no"].as_str().unwrap()));
    }
    let state = |number: &str| {
        refunds.iter().find(|(_, r)| r.out_refund_no.as_deref() == Some(number)).unwrap().1.state.clone()
    };
    assert_eq!(["R1", "R2", "R3", "R4"].map(state), ["SUCCESS", "CHANGE", "FAIL", "PROCESSING"]);
    assert_eq!((totals.order, totals.requested), (Fen::from_i64(20_000), Fen::from_i64(11_500)));
}

#[tokio::test]
async fn the_other_types_have_their_part_of_the_rows() {
    let stage = played().await;
    stage.next_morning(12);
    let (all, totals) = stage.trades(TradeBillType::All).await;
    let (success, of_success) = stage.trades(TradeBillType::Success).await;
    let (refunds, of_refunds) = stage.trades(TradeBillType::Refund).await;
    assert_eq!(success, all.iter().filter(|line| line.refund().is_none()).cloned().collect::<Vec<_>>());
    assert_eq!((of_success.rows(), of_refunds.rows()), (3, 4));
    assert_eq!(of_success.fee.checked_add(of_refunds.fee), Some(totals.fee));
    let times: Vec<_> = refunds.iter().map(|line| line.refund().unwrap()).collect();
    assert!(times.iter().all(|refund| refund.requested_at.is_some()));
    assert_eq!(times.iter().filter(|refund| refund.succeeded_at.is_some()).count(), 1);
    let (coupons, _) = stage.trades(TradeBillType::RechargeRefund).await;
    assert_eq!(coupons.iter().map(|line| line.refund().unwrap().coupon).collect::<Vec<_>>(), [Fen::from_i64(500)]);
}

#[tokio::test]
async fn a_refund_keeps_the_state_of_the_morning_of_its_bill() {
    let stage = Stage::open().await;
    stage.paid("A100001", "88").await;
    stage.shop.cashier().await.take(refund("A100001", "R1", "88")).await;
    stage.next_morning(10);
    assert_eq!(stage.trades(TradeBillType::All).await.0[1].refund().unwrap().state, "PROCESSING");
    assert_eq!(stage.shop.ends("R1", "SUCCESS").await.0, 200);
    assert_eq!(stage.trades(TradeBillType::All).await.0[1].refund().unwrap().state, "PROCESSING", "never updated");
}

#[tokio::test]
async fn a_fund_flow_equals_the_trades_less_their_fees() {
    let stage = played().await;
    stage.next_morning(10);
    let (_, trades) = stage.trades(TradeBillType::All).await;
    let (entries, funds) = stage.funds().await;
    // Two of the four refunds ended without money for the payer, and the account has it back.
    let back: i64 = entries.iter().filter(|e| e.kind == "退款退回").map(|e| e.amount.as_i64()).sum();
    let booked = funds.income.as_i64() - funds.expense.as_i64() - back;
    let traded = trades.settlement.as_i64() - trades.refunded.as_i64();
    let expected = Yuan::of_fen(Fen::from_i64(traded)).unwrap().units() - trades.fee.units();
    assert_eq!(Yuan::of_fen(Fen::from_i64(booked)).unwrap().units(), expected);
    let mut balance = 0;
    for entry in &entries {
        balance += match entry.direction {
            Direction::Income => entry.amount.as_i64(),
            Direction::Expense => -entry.amount.as_i64(),
        };
        assert_eq!(entry.balance, Some(Fen::from_i64(balance)), "{entry:?}");
    }
    assert_eq!(entries.iter().filter(|e| e.kind == "交易").count(), 3);
}
