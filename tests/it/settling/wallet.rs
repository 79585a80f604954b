//! A payer's clicks: for one request there is never a second order while WeChat may still take money for the first.

use serde_json::{Value, json};
use wxpay_worker::config::Config;
use wxpay_worker::order::OrderState;

use super::on_both;
use crate::flows::browser::{Answer, Browser};
use crate::harness::db::TestDb;
use crate::harness::service::{InProcess, OTHER_KEY, OTHER_MCH_ID, TestService, answer};
use crate::harness::within_timeout;

const WEB: &str = r#"
[web]
callback_origins = ["http://localhost:5173"]
session_key = "k3y-0f-the-wallet-side-of-the-settling"
"#;

async fn service(db: TestDb) -> (InProcess, Browser) {
    let service = TestService::new().on(db).config(WEB).in_process().await;
    let browser = Browser::logged_in(&service.base).await;
    (service, browser)
}

async fn click(service: &InProcess, browser: &Browser) -> Answer {
    browser.clone().get(&format!("{}/api/wechat/pay/payWallet?money=100", service.base)).await
}

fn number(answer: &Answer) -> String {
    answer.body["data"]["order_no"].as_str().unwrap_or_else(|| panic!("{}", answer.text)).to_owned()
}

/// As a page does: while the answer is `pending`, again.
async fn click_until_answered(service: &InProcess, browser: &Browser, old: &str) -> Answer {
    within_timeout("an answer", async {
        loop {
            let answer = click(service, browser).await;
            if answer.body["reason"] != "pending" {
                return answer;
            }
            assert_eq!((answer.status, number(&answer)), (200, old.to_owned()), "{}", answer.text);
        }
    })
    .await
}

async fn orders(service: &InProcess) -> i64 {
    service.number("SELECT COUNT(*) FROM orders").await
}

/// Two merchants that take the app's orders; the first gets them.
async fn town_of_two(db: TestDb) -> (InProcess, Browser) {
    let second = format!(
        "[[merchants]]\nkey = \"second\"\nmch_id = \"{OTHER_MCH_ID}\"\napps = [\"shop\"]\nv2_key = \"{OTHER_KEY}\"\n"
    );
    let service = TestService::new().on(db).second_account().config(&format!("{second}{WEB}")).in_process().await;
    let browser = Browser::logged_in(&service.base).await;
    (service, browser)
}

/// From now on the second merchant alone takes the app's orders.
fn moved_to_the_second(config: &mut Config) {
    config.merchants[0].apps.clear();
}

/// The states of the second merchant's orders at WeChat.
async fn at_the_second(service: &InProcess) -> Vec<String> {
    let url = format!("{}/_sandbox/ledger?mch_id={OTHER_MCH_ID}", service.wechat_url);
    let (_, ledger) = answer(service.http.get(url)).await.unwrap();
    ledger["orders"].as_array().unwrap().iter().map(|o| o["state"].as_str().unwrap().to_owned()).collect()
}

on_both! {
    async fn an_order_of_a_merchant_that_lost_the_app_is_closed_before_another_merchant_gets_one(db: TestDb) {
        let (mut service, browser) = town_of_two(db).await;
        let first = number(&click(&service, &browser).await);
        service.restart_with(moved_to_the_second).await;
        // The first one's page may be open still, and WeChat closes nothing this early.
        let answer = click(&service, &browser).await;
        assert_eq!((&answer.body["reason"], number(&answer)), (&json!("pending"), first.clone()), "{}", answer.text);
        assert!((280..=300).contains(&answer.retry_after.unwrap()), "{:?}", answer.retry_after);
        assert_eq!((orders(&service).await, at_the_second(&service).await), (1, Vec::new()));
        assert_eq!(service.wechat_order(&first).await["state"], "NOTPAY");
        service.pass(301).await;
        let answer = click_until_answered(&service, &browser, &first).await;
        assert_ne!(number(&answer), first);
        assert_eq!(answer.body["data"]["state"], "payable", "{}", answer.text);
        assert_eq!(service.wechat_order(&first).await["state"], "CLOSED");
        assert_eq!(at_the_second(&service).await, ["NOTPAY"]);
        assert_eq!(number(&click(&service, &browser).await), number(&answer), "and that one is offered from now on");
        service.finish().await;
    }

    async fn a_payment_of_an_order_whose_merchant_lost_the_app_is_reported_and_no_other_order_offered(db: TestDb) {
        let (mut service, browser) = town_of_two(db).await;
        let first = number(&click(&service, &browser).await);
        service.faults(json!([{"on": "notify", "kind": "drop"}])).await;
        service.restart_with(moved_to_the_second).await;
        service.skip(30);
        service.pay(&first).await;
        service.skip(30);
        let answer = click_until_answered(&service, &browser, &first).await;
        assert_eq!((answer.status, &answer.body["reason"]), (409, &json!("order_paid")), "{}", answer.text);
        assert_eq!(answer.body["data"], json!({"order_no": first, "state": "paid"}));
        assert_eq!((orders(&service).await, at_the_second(&service).await), (1, Vec::new()));
        service.finish().await;
    }

    async fn a_payment_of_the_last_second_is_reported_instead_of_a_second_order(db: TestDb) {
        let (service, browser) = service(db).await;
        let first = number(&click(&service, &browser).await);
        let expires_at = service.stored(&first).await.order.expires_at;
        service.faults(json!([{"on": "notify", "kind": "drop"}])).await;
        // WeChat counts whole seconds.
        service.skip(expires_at.since(service.clock.now()).as_secs() - 1);
        service.pay(&first).await;
        service.skip_to(expires_at);
        let answer = click_until_answered(&service, &browser, &first).await;
        assert_eq!((answer.status, &answer.body["reason"]), (409, &json!("order_paid")), "{}", answer.text);
        assert_eq!(answer.body["data"], json!({"order_no": first, "state": "paid"}));
        // A page that asks once more, or another process that learnt it earlier, says so too.
        assert_eq!(click(&service, &browser).await.body["reason"], "order_paid");
        assert_eq!(orders(&service).await, 1);
        // Who comes back later wants another one.
        service.pass(61).await;
        assert_ne!(number(&click(&service, &browser).await), first);
        service.finish().await;
    }

    async fn an_expired_order_is_closed_at_wechat_before_there_is_a_new_one(db: TestDb) {
        let (service, browser) = service(db).await;
        let first = number(&click(&service, &browser).await);
        // Half a minute before its end it is still the one to pay.
        let expires_at = service.stored(&first).await.order.expires_at;
        service.skip(expires_at.since(service.clock.now()).as_secs() - 30);
        let answer = click_until_answered(&service, &browser, &first).await;
        assert_eq!(number(&answer), first, "{}", answer.text);
        service.skip_to(expires_at);
        let answer = click_until_answered(&service, &browser, &first).await;
        assert_ne!(number(&answer), first);
        assert_eq!(answer.body["data"]["state"], "payable", "{}", answer.text);
        assert_eq!(service.stored(&first).await.order.state, OrderState::Closed);
        assert_eq!(service.wechat_order(&first).await["state"], "CLOSED");
        service.finish().await;
    }

    async fn an_order_that_is_being_closed_is_waited_for_until_wechat_closes_it(db: TestDb) {
        let (service, browser) = service(db).await;
        let first = number(&click(&service, &browser).await);
        let (status, order) = service.post(&format!("/v1/orders/{first}/close"), &Value::Null).await;
        assert_eq!(status, 202, "{order}");
        let answer = click(&service, &browser).await;
        assert_eq!((answer.status, &answer.body["code"], number(&answer)), (200, &json!(20001), first.clone()));
        let wait_s = answer.retry_after.unwrap();
        assert!((280..=300).contains(&wait_s), "WeChat closes nothing earlier than in {wait_s} s");
        assert_eq!((orders(&service).await, &service.wechat_order(&first).await["state"]), (1, &json!("NOTPAY")));
        service.pass(301).await;
        let answer = click_until_answered(&service, &browser, &first).await;
        assert_ne!(number(&answer), first);
        assert_eq!(service.stored(&first).await.order.state, OrderState::Closed);
        service.finish().await;
    }

    async fn an_order_that_the_business_offers_otherwise_is_closed_for_the_payers_page(db: TestDb) {
        let (service, browser) = service(db).await;
        let first = number(&click(&service, &browser).await);
        service.pass(301).await;
        let path = format!("/v1/orders/{first}/attempts");
        let (_, switched) = service.post(&path, &json!({"trade_type": "NATIVE", "product_id": "12"})).await;
        let second_attempt = service.until("a second attempt", &first, |s| s.order.attempts.len() == 2).await;
        assert_eq!(switched["order_no"], json!(first), "{switched}");
        let native = second_attempt.order.attempts[1].out_trade_no.to_string();
        service.until_state(&first, "payable").await;
        let answer = click(&service, &browser).await;
        assert_eq!((&answer.body["reason"], number(&answer)), (&json!("pending"), first.clone()), "{}", answer.text);
        assert_eq!((orders(&service).await, &service.wechat_order(&native).await["closed_at"]), (1, &Value::Null));
        service.pass(301).await;
        let answer = click_until_answered(&service, &browser, &first).await;
        assert_ne!(number(&answer), first);
        assert_ne!(
            service.wechat_order(&native).await["closed_at"], Value::Null, "closed before another one is offered",
        );
        let asked = "SELECT COUNT(*) FROM evidence WHERE source = 'request' AND source_id = 'payer'";
        assert_eq!(service.number(asked).await, 1, "who asked for the close is kept");
        service.finish().await;
    }
}
