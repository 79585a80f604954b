//! Orders that are placed and paid while something is wrong, and what WeChat hears meanwhile.

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::audit::Orders;
use super::until;
use crate::harness::service::{MCH_ID, Processes, jsapi};

/// Orders of different amounts.
pub fn numbers(range: std::ops::Range<usize>) -> Orders {
    range.map(|n| (format!("A{n:06}"), 100 + i64::try_from(n).unwrap())).collect()
}

/// Asks for an order until there are pay parameters. At worst the shop hears that it shall come again.
pub async fn place_at_last(rig: &Processes, base: &str, order_no: &str, amount_fen: i64) {
    until(&format!("pay parameters of {order_no}"), || async {
        let (status, answer) = rig.try_post(base, "/v1/orders", &jsapi(order_no, amount_fen)).await.ok()?;
        assert!([200, 202, 503].contains(&status), "{status} {answer}");
        (status == 200).then_some(())
    })
    .await;
}

/// Places and pays all of them, four at a time.
pub async fn place_and_pay(rig: &Processes, base: &str, orders: &Orders) {
    let paying = stream::iter(orders).map(|(order_no, amount_fen)| async move {
        place_at_last(rig, base, order_no, *amount_fen).await;
        rig.pay(order_no).await;
    });
    paying.buffer_unordered(4).collect::<Vec<()>>().await;
}

/// Awaits that all of them are paid here.
pub async fn until_paid(rig: &Processes, base: &str, orders: &Orders) {
    for order_no in orders.keys() {
        until(&format!("{order_no} paid"), || async {
            let (status, order) = rig.try_get(base, &format!("/v1/orders/{order_no}?merchant=main")).await.ok()?;
            (status == 200 && order["state"] == "paid").then_some(())
        })
        .await;
    }
}

/// Has WeChat tell of a payment at once, beside its schedule; true when it heard SUCCESS. Everything else must be a
/// FAIL that makes it come again, before WeChat gives up waiting.
pub async fn tell(rig: &Processes, order_no: &str) -> bool {
    let body = json!({"mch_id": MCH_ID, "out_trade_no": order_no});
    let mut late = Vec::new();
    // A busy machine may be late by itself, and not each time.
    while late.len() < 3 {
        let (_, notified) = rig.post(&rig.wechat_url, "/_sandbox/notify", &body).await;
        let delivery = notified["deliveries"][0].clone();
        if delivery["outcome"] == "acknowledged" {
            return true;
        }
        if delivery["http_status"].is_null() {
            late.push(delivery);
            continue;
        }
        let answer = delivery["answer"].as_str().unwrap_or_default();
        assert_eq!((&delivery["http_status"], answer.contains("FAIL")), (&json!(503), true), "{delivery}");
        return false;
    }
    panic!("no answer before WeChat gave up waiting: {late:?}")
}

/// Awaits that WeChat hears SUCCESS for a payment.
pub async fn until_notified(rig: &Processes, order_no: &str) {
    until(&format!("SUCCESS for {order_no}"), || async { tell(rig, order_no).await.then_some(()) }).await;
}

/// What `/readyz` says of one thing that it checks.
pub async fn readiness(rig: &Processes, base: &str, name: &str) -> (u16, Value) {
    let (status, ready) = rig.get(base, "/readyz").await;
    let check = ready["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap().clone();
    (status, check)
}
