//! Money that comes late or twice: the merchant's policy, applied once.

use serde_json::json;

use super::on_both;
use crate::harness::town::Town;

on_both! {
    async fn late_money_is_held_unless_the_merchant_says_otherwise(db: TestDb) {
        let town = Town::start(db, "", "").await;
        late(&town, "P100001").await;
        assert_eq!(town.news("P100001").await, ["order.payable", "order.closed", "order.paid_late"]);
        town.stop().await;
    }

    async fn late_money_that_is_accepted_pays_the_order(db: TestDb) {
        let town = Town::start(db, "paid_late = \"accept\"", "").await;
        late(&town, "P200001").await;
        let news = town.news("P200001").await;
        assert_eq!(news, ["order.payable", "order.closed", "order.paid_late", "order.paid"]);
        let (_, page) = town.get("/v1/events?types=wxpay.order.paid_late.v1&wait=10").await;
        assert_eq!(page["events"][0]["data"]["policy"], "accept", "{page}");
        // The same payment once more, however it is told, changes nothing.
        town.tell_wechat("notify", json!({"out_trade_no": "P200001"})).await;
        assert_eq!(town.news("P200001").await, news);
        assert_eq!(town.number("SELECT COUNT(*) FROM ledger").await, 1);
        town.stop().await;
    }
}

/// An order that is closed and then paid all the same, as when a bank was slow.
async fn late(town: &Town, order_no: &str) {
    town.place(order_no).await;
    town.skip(301);
    town.post(&format!("/v1/orders/{order_no}/close"), &serde_json::Value::Null).await;
    town.until_state(order_no, "closed").await;
    town.tell_wechat("pay", json!({"out_trade_no": order_no, "late": true})).await;
    let paid = town.until_state(order_no, "paid").await.order;
    assert!(paid.flags.paid_late);
}
