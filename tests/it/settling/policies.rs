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

    async fn money_on_both_attempts_is_paid_twice_and_the_policy_is_applied_once(db: TestDb) {
        let town = Town::start(db, "paid_twice = \"accept\"", "").await;
        town.place("P300001").await;
        town.skip(301);
        let (status, order) = town.get("/v1/orders/P300001/pay-params?trade_type=NATIVE").await;
        assert_eq!(status, 200, "{order}");
        // A slow bank pays the closed attempt, and the payer the new one.
        town.tell_wechat("pay", json!({"out_trade_no": "P300001", "late": true})).await;
        town.until_state("P300001", "paid").await;
        town.pay(order["out_trade_no"].as_str().unwrap()).await;
        let paid = town.until("the second payment", "P300001", |s| s.order.flags.paid_twice).await.order;
        assert_eq!((paid.transactions.len(), paid.flags.paid_late), (2, false));
        for number in ["P300001", order["out_trade_no"].as_str().unwrap()] {
            town.tell_wechat("notify", json!({"out_trade_no": number})).await;
        }
        let news = town.news("P300001").await;
        assert_eq!(news, ["order.payable", "order.payable", "order.paid", "order.paid_twice"]);
        assert_eq!(town.number("SELECT COUNT(*) FROM ledger").await, 2);
        town.stop().await;
    }

    async fn an_order_that_has_its_money_closes_what_else_can_be_paid(db: TestDb) {
        let town = Town::start(db, "", "").await;
        town.place("P400001").await;
        town.skip(301);
        let (_, order) = town.get("/v1/orders/P400001/pay-params?trade_type=NATIVE").await;
        let second = order["out_trade_no"].as_str().unwrap().to_owned();
        town.tell_wechat("pay", json!({"out_trade_no": "P400001", "late": true})).await;
        town.until_state("P400001", "paid").await;
        assert_eq!(town.wechat_order(&second).await["state"], "NOTPAY", "too young to be closed");
        town.skip(301);
        town.until("the close of the other attempt", "P400001", |s| !s.order.any_live()).await;
        assert_eq!(town.wechat_order(&second).await["state"], "CLOSED");
        town.stop().await;
    }

    async fn a_payment_across_midnight_in_shanghai_is_paid_on_its_own_day(db: TestDb) {
        let town = Town::start(db, "", "").await;
        // To ten seconds before the midnight of UTC+8 that ends tomorrow.
        let day_ms = 24 * 3600 * 1000;
        let left = 2 * day_ms - (town.clock.now().as_ms() + 8 * 3600 * 1000) % day_ms;
        town.clock.advance(std::time::Duration::from_millis(u64::try_from(left).unwrap() - 10_000));
        town.place("P500001").await;
        town.skip(20);
        town.pay("P500001").await;
        let paid = town.until_state("P500001", "paid").await.order;
        let paid_at = paid.paid_by.unwrap().paid_at;
        assert!(town.clock.now().since(paid_at).as_secs() < 2, "{paid_at}");
        assert!(!paid.flags.paid_late);
        // An order that expires after midnight is closed then, and not before.
        town.place("P500002").await;
        let expires_at = town.stored("P500002").await.order.expires_at;
        town.skip_to(expires_at);
        town.until_state("P500002", "closed").await;
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
