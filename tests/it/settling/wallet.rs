//! A payer's clicks: for one wish there is never a second order while WeChat may still take money for the first.

use serde_json::{Value, json};
use wxpay_worker::config::Config;
use wxpay_worker::order::OrderState;

use super::on_both;
use crate::flows::browser::{Answer, Browser};
use crate::harness::db::TestDb;
use crate::harness::service::{OTHER_KEY, OTHER_MCH_ID, answer};
use crate::harness::soon;
use crate::harness::town::Town;

const WEB: &str = r#"
[web]
callback_origins = ["http://localhost:5173"]
session_key = "k3y-0f-the-wallet-side-of-the-settling"
"#;

async fn town(db: TestDb) -> (Town, Browser) {
    let town = Town::start(db, "", WEB).await;
    let browser = Browser::logged_in(&town.base).await;
    (town, browser)
}

async fn click(town: &Town, browser: &Browser) -> Answer {
    browser.clone().get(&format!("{}/api/wechat/pay/payWallet?money=100", town.base)).await
}

fn number(answer: &Answer) -> String {
    answer.body["data"]["order_no"].as_str().unwrap_or_else(|| panic!("{}", answer.text)).to_owned()
}

/// As a page does: while the answer is `pending`, again.
async fn click_until_answered(town: &Town, browser: &Browser, old: &str) -> Answer {
    soon("an answer", async {
        loop {
            let answer = click(town, browser).await;
            if answer.body["reason"] != "pending" {
                return answer;
            }
            assert_eq!((answer.status, number(&answer)), (200, old.to_owned()), "{}", answer.text);
        }
    })
    .await
}

async fn orders(town: &Town) -> i64 {
    town.number("SELECT COUNT(*) FROM orders").await
}

/// Two merchants that take the app's orders; the first gets them.
async fn town_of_two(db: TestDb) -> (Town, Browser) {
    let second = format!(
        "[[merchants]]\nkey = \"second\"\nmch_id = \"{OTHER_MCH_ID}\"\napps = [\"shop\"]\nv2_key = \"{OTHER_KEY}\"\n"
    );
    let town = Town::with_another_merchant(db, &format!("{second}{WEB}")).await;
    let browser = Browser::logged_in(&town.base).await;
    (town, browser)
}

/// From now on the second merchant alone takes the app's orders.
fn moved_to_the_second(config: &mut Config) {
    config.merchants[0].apps.clear();
}

/// The states of the second merchant's orders at WeChat.
async fn at_the_second(town: &Town) -> Vec<String> {
    let url = format!("{}/_sandbox/ledger?mch_id={OTHER_MCH_ID}", town.wechat_url);
    let (_, ledger) = answer(town.http.get(url)).await.unwrap();
    ledger["orders"].as_array().unwrap().iter().map(|o| o["state"].as_str().unwrap().to_owned()).collect()
}

on_both! {
    async fn an_order_of_a_merchant_that_lost_the_app_is_closed_before_another_merchant_gets_one(db: TestDb) {
        let (mut town, browser) = town_of_two(db).await;
        let first = number(&click(&town, &browser).await);
        town.configured_anew(moved_to_the_second).await;
        // The first one's page may be open still, and WeChat closes nothing this early.
        let answer = click(&town, &browser).await;
        assert_eq!((&answer.body["reason"], number(&answer)), (&json!("pending"), first.clone()), "{}", answer.text);
        assert!((280..=300).contains(&answer.retry_after.unwrap()), "{:?}", answer.retry_after);
        assert_eq!((orders(&town).await, at_the_second(&town).await), (1, Vec::new()));
        assert_eq!(town.wechat_order(&first).await["state"], "NOTPAY");
        town.skip(301);
        let answer = click_until_answered(&town, &browser, &first).await;
        assert_ne!(number(&answer), first);
        assert_eq!(answer.body["data"]["state"], "payable", "{}", answer.text);
        assert_eq!(town.wechat_order(&first).await["state"], "CLOSED");
        assert_eq!(at_the_second(&town).await, ["NOTPAY"]);
        assert_eq!(number(&click(&town, &browser).await), number(&answer), "and that one is offered from now on");
        town.stop().await;
    }

    async fn a_payment_of_an_order_whose_merchant_lost_the_app_is_told_and_no_other_order_offered(db: TestDb) {
        let (mut town, browser) = town_of_two(db).await;
        let first = number(&click(&town, &browser).await);
        town.tell_wechat("faults", json!([{"on": "notify", "kind": "drop"}])).await;
        town.configured_anew(moved_to_the_second).await;
        town.skip(30);
        town.pay(&first).await;
        town.skip(30);
        let answer = click_until_answered(&town, &browser, &first).await;
        assert_eq!((answer.status, &answer.body["reason"]), (409, &json!("order_paid")), "{}", answer.text);
        assert_eq!(answer.body["data"], json!({"order_no": first, "state": "paid"}));
        assert_eq!((orders(&town).await, at_the_second(&town).await), (1, Vec::new()));
        town.stop().await;
    }

    async fn a_payment_of_the_last_second_is_told_instead_of_a_second_order(db: TestDb) {
        let (town, browser) = town(db).await;
        let first = number(&click(&town, &browser).await);
        let expires_at = town.stored(&first).await.order.expires_at;
        town.tell_wechat("faults", json!([{"on": "notify", "kind": "drop"}])).await;
        // WeChat counts whole seconds.
        town.skip(expires_at.since(town.clock.now()).as_secs() - 1);
        town.pay(&first).await;
        town.skip_to(expires_at);
        let answer = click_until_answered(&town, &browser, &first).await;
        assert_eq!((answer.status, &answer.body["reason"]), (409, &json!("order_paid")), "{}", answer.text);
        assert_eq!(answer.body["data"], json!({"order_no": first, "state": "paid"}));
        // A page that asks once more, or another process that learnt it earlier, says so too.
        assert_eq!(click(&town, &browser).await.body["reason"], "order_paid");
        assert_eq!(orders(&town).await, 1);
        // Who comes back later wants another one.
        town.skip(61);
        assert_ne!(number(&click(&town, &browser).await), first);
        town.stop().await;
    }

    async fn an_expired_order_is_closed_at_wechat_before_there_is_a_new_one(db: TestDb) {
        let (town, browser) = town(db).await;
        let first = number(&click(&town, &browser).await);
        // Half a minute before its end it is still the one to pay.
        let expires_at = town.stored(&first).await.order.expires_at;
        town.skip(expires_at.since(town.clock.now()).as_secs() - 30);
        let answer = click_until_answered(&town, &browser, &first).await;
        assert_eq!(number(&answer), first, "{}", answer.text);
        town.skip_to(expires_at);
        let answer = click_until_answered(&town, &browser, &first).await;
        assert_ne!(number(&answer), first);
        assert_eq!(answer.body["data"]["state"], "payable", "{}", answer.text);
        assert_eq!(town.stored(&first).await.order.state, OrderState::Closed);
        assert_eq!(town.wechat_order(&first).await["state"], "CLOSED");
        town.stop().await;
    }

    async fn an_order_that_is_being_closed_is_waited_for_until_wechat_closes_it(db: TestDb) {
        let (town, browser) = town(db).await;
        let first = number(&click(&town, &browser).await);
        let (status, order) = town.post(&format!("/v1/orders/{first}/close"), &Value::Null).await;
        assert_eq!(status, 202, "{order}");
        let answer = click(&town, &browser).await;
        assert_eq!((answer.status, &answer.body["code"], number(&answer)), (200, &json!(20001), first.clone()));
        let wait_s = answer.retry_after.unwrap();
        assert!((280..=300).contains(&wait_s), "WeChat closes nothing earlier than in {wait_s} s");
        assert_eq!((orders(&town).await, &town.wechat_order(&first).await["state"]), (1, &json!("NOTPAY")));
        town.skip(301);
        let answer = click_until_answered(&town, &browser, &first).await;
        assert_ne!(number(&answer), first);
        assert_eq!(town.stored(&first).await.order.state, OrderState::Closed);
        town.stop().await;
    }

    async fn an_order_that_the_business_offers_otherwise_is_closed_for_the_payers_page(db: TestDb) {
        let (town, browser) = town(db).await;
        let first = number(&click(&town, &browser).await);
        town.skip(301);
        let path = format!("/v1/orders/{first}/attempts");
        let (_, switched) = town.post(&path, &json!({"trade_type": "NATIVE", "product_id": "12"})).await;
        let second_attempt = town.until("a second attempt", &first, |s| s.order.attempts.len() == 2).await;
        assert_eq!(switched["order_no"], json!(first), "{switched}");
        let native = second_attempt.order.attempts[1].out_trade_no.to_string();
        town.until_state(&first, "payable").await;
        let answer = click(&town, &browser).await;
        assert_eq!((&answer.body["reason"], number(&answer)), (&json!("pending"), first.clone()), "{}", answer.text);
        assert_eq!((orders(&town).await, &town.wechat_order(&native).await["closed_at"]), (1, &Value::Null));
        town.skip(301);
        let answer = click_until_answered(&town, &browser, &first).await;
        assert_ne!(number(&answer), first);
        assert_ne!(town.wechat_order(&native).await["closed_at"], Value::Null, "closed before another one is offered");
        let asked = "SELECT COUNT(*) FROM evidence WHERE source = 'request' AND source_id = 'payer'";
        assert_eq!(town.number(asked).await, 1, "who asked for the close is kept");
        town.stop().await;
    }
}
