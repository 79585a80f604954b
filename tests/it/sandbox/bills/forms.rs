//! The same ledger in each form of WeChat's bills is read as the same trades.

use serde_json::{Value, json};
use wxpay_worker::money::Fen;
use wxpay_worker::wechat::v2::bill::{TradeBillType, TradeLine, TradeTotals};

use super::ledger::played;
use super::{Stage, today};
use crate::sandbox::parts::{MCH_ID, with};
use crate::sandbox::refunds::parts::refund;

async fn choose(stage: &Stage, form: Value) {
    let (status, answer) = stage.shop.control("bills/form", json!({"mch_id": MCH_ID, "form": form})).await;
    assert_eq!(status, 200, "{answer}");
}

/// The bytes of the bill that was fetched last.
fn text(stage: &Stage, bill_type: TradeBillType) -> String {
    let name = format!("{MCH_ID}-trades-{}-{}.csv", bill_type.as_str().to_lowercase(), today().compact());
    std::fs::read_to_string(stage.bills().join(name)).unwrap()
}

fn columns(text: &str) -> usize {
    text.lines().next().unwrap().split(',').count()
}

#[tokio::test]
async fn every_form_of_todays_columns_holds_the_same_trades() {
    let stage = played().await;
    stage.next_morning(10);
    for (bill_type, count) in [(TradeBillType::All, 27), (TradeBillType::Success, 20), (TradeBillType::Refund, 29)] {
        choose(&stage, json!({})).await;
        let plain = stage.trades(bill_type).await;
        let today = text(&stage, bill_type);
        assert!(today.starts_with('\u{feff}') && today.ends_with("\r\n") && columns(&today) == count, "{today}");
        for form in [
            json!({"crlf": false, "byte_order_mark": false, "last_line_ended": false}),
            json!({"reversed": true}),
            json!({"short_numbers": true, "short_summary": true}),
            json!({"wide_colons": true, "last_line_ended": false}),
        ] {
            choose(&stage, form.clone()).await;
            assert_eq!(stage.trades(bill_type).await, plain, "{form}");
            assert_ne!(text(&stage, bill_type), today, "{form}");
        }
    }
}

#[tokio::test]
async fn the_columns_of_merchants_without_coupons_are_fewer_and_say_the_same_of_orders() {
    let stage = played().await;
    stage.next_morning(10);
    for (bill_type, count) in [(TradeBillType::All, 24), (TradeBillType::Success, 18), (TradeBillType::Refund, 26)] {
        choose(&stage, json!({})).await;
        let plain = stage.trades(bill_type).await;
        choose(&stage, json!({"legacy": true, "short_numbers": true, "crlf": false})).await;
        let legacy = stage.trades(bill_type).await;
        let written = text(&stage, bill_type);
        assert!(columns(&written) == count && written.contains("子商户号") && !written.contains('\r'), "{written}");
        let of_orders = |(lines, totals): &(Vec<TradeLine>, TradeTotals)| {
            let each = lines.iter().map(|line| {
                let (trade, refund) = (line.trade(), line.refund());
                let went_back = refund.map(|refund| (refund.refund_id.clone(), refund.amount, refund.state.clone()));
                (trade.time, trade.transaction_id.clone(), trade.order, trade.fee, trade.coupon, went_back)
            });
            (each.collect::<Vec<_>>(), totals.order, totals.refunded, totals.fee)
        };
        assert_eq!(of_orders(&legacy), of_orders(&plain), "{bill_type:?}");
        let of_coupon = legacy.0.iter().find(|line| line.refund().is_none() && line.trade().coupon > Fen::ZERO);
        if let Some(line) = of_coupon {
            assert_eq!(line.trade().settlement, line.trade().order, "there is one amount for both");
        }
    }
}

#[tokio::test]
async fn fund_flows_say_their_unit_in_each_way() {
    let stage = played().await;
    stage.next_morning(10);
    let plain = stage.funds().await;
    for unit in ["yuan", "unsaid", "fen"] {
        choose(&stage, json!({"unit": unit, "reversed": true})).await;
        assert_eq!(stage.funds().await, plain, "{unit}");
    }
}

#[tokio::test]
async fn a_form_that_is_not_known_is_refused() {
    let stage = Stage::open().await;
    for wrong in [json!({"form": {"columns": 24}}), json!({"form": {}, "mch_id": "1"}), json!({})] {
        assert_eq!(stage.shop.control("bills/form", wrong.clone()).await.0, 400, "{wrong}");
    }
}

#[tokio::test]
async fn refunds_of_a_whole_payment_give_back_its_whole_fee() {
    let stage = Stage::open().await;
    stage.paid("A100001", "160").await;
    let cashier = stage.shop.cashier().await;
    for refund_no in ["R1", "R2"] {
        cashier.take(with(refund("A100001", refund_no, "80"), &[("total_fee", "160")])).await;
        stage.shop.clock.advance(std::time::Duration::from_secs(120));
    }
    stage.next_morning(10);
    let (lines, totals) = stage.trades(TradeBillType::All).await;
    let fees: Vec<_> = lines.iter().map(|line| line.trade().fee.to_fen().unwrap().as_i64()).collect();
    assert_eq!(fees, [1, 0, -1], "0.48 fen of each half, 0.96 of the whole");
    assert_eq!(totals.fee.units(), 0);
    let (_, funds) = stage.funds().await;
    assert_eq!(funds.income, funds.expense, "nothing is left on the account, and nothing is missing");
}
