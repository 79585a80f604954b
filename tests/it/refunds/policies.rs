//! The policy `refund`: money that comes late or twice goes back, once, however often it is told.

use serde_json::{Value, json};
use wxpay_worker::config::Config;

use crate::harness::service::{APP_ID, KEY};
use crate::harness::town::Town;
use crate::settling::on_both;

const BOTH: &str = "paid_late = \"refund\"\npaid_twice = \"refund\"";

on_both! {
    async fn what_is_left_of_a_payment_goes_back_and_is_told_where_some_of_it_went_back_before(db: TestDb) {
        let town = Town::with_refunds(db, "paid_late = \"hold\"\npaid_twice = \"refund\"").await;
        let first = "P300001";
        town.place(first).await;
        town.skip(301);
        let wish = json!({"trade_type": "NATIVE", "product_id": "tea"});
        let (_, order) = town.post(&format!("/v1/orders/{first}/attempts"), &wish).await;
        let second = order["attempts"][1]["out_trade_no"].as_str().unwrap().to_owned();
        // The second is paid in time, and nobody hears of it until the first was paid late and some of it went back.
        let unheard = |on: &str, kind: &str| json!({"on": on, "kind": kind, "out_trade_no": second});
        let rules = [("notify", "drop"), ("orderquery", "system_error"), ("closeorder", "system_error")];
        town.tell_wechat("faults", Value::Array(rules.map(|(on, kind)| unheard(on, kind)).into())).await;
        town.pay(&second).await;
        town.skip_to(town.stored(first).await.order.expires_at);
        town.skip(1);
        town.tell_wechat("pay", json!({"out_trade_no": first, "late": true})).await;
        let late = town.until_state(first, "paid").await.order.paid_by.unwrap().transaction_id;
        town.refunding(first, "some", 30).await;
        town.no_faults().await;
        town.tell_wechat("notify", json!({"out_trade_no": second})).await;
        town.until("paid twice", first, |s| s.order.flags.paid_twice).await;
        let (_, order) = town.get(&format!("/v1/orders/{first}")).await;
        let rest = &order["refunds"][1];
        assert_eq!((&rest["amount_fen"], &rest["origin"]), (&json!(70), &json!("policy")), "{order}");
        assert_eq!(rest["transaction_id"], late.as_str());
        let told = "SELECT COUNT(*) FROM outbox WHERE event_type = 'wxpay.refund.requested.v1' AND payload LIKE '%\"amount_fen\":70%'";
        assert_eq!(town.number(told).await, 1);
        let rest = rest["refund_no"].as_str().unwrap().to_owned();
        town.skip(61);
        town.look_until(&rest, "processing").await;
        let theirs = town.wechat_refunds(first).await;
        assert_eq!(theirs.iter().map(|r| r["refund_fee"].as_i64().unwrap()).sum::<i64>(), 100, "{theirs:?}");
        town.books_agree().await;
        town.stop().await;
    }

    async fn late_money_goes_back_once_however_often_it_is_told(db: TestDb) {
        let town = Town::with_refunds(db, BOTH).await;
        town.place("P100001").await;
        town.skip(301);
        town.post("/v1/orders/P100001/close", &Value::Null).await;
        town.until_state("P100001", "closed").await;
        town.tell_wechat("pay", json!({"out_trade_no": "P100001", "late": true})).await;
        let paid = town.until_state("P100001", "paid").await.order;
        assert!(paid.flags.paid_late && !paid.paid_told);
        for _ in 0..10 {
            town.tell_wechat("notify", json!({"out_trade_no": "P100001"})).await;
        }
        let refund_no = town.one_refund("P100001").await;
        town.look_until(&refund_no, "processing").await;
        town.ends(&refund_no, "SUCCESS").await;
        town.until_refunded(&refund_no, "succeeded").await;
        let [theirs] = &town.wechat_refunds("P100001").await[..] else { panic!("one refund at WeChat") };
        assert_eq!((&theirs["refund_fee"], &theirs["refund_desc"]), (&json!(100), &json!("订单已关闭，款项原路退回")));
        let (_, order) = town.get("/v1/orders/P100001").await;
        assert_eq!((&order["refunded_fen"], &order["refunds"][0]["origin"]), (&json!(100), &json!("policy")), "{order}");
        let news = town.news("P100001").await;
        assert_eq!(news[1..], ["order.closed", "order.paid_late", "refund.requested", "refund.succeeded"]);
        town.books_agree().await;
        town.stop().await;
    }

    async fn double_money_goes_back_and_the_first_payment_stays(db: TestDb) {
        let town = Town::with_refunds(db, BOTH).await;
        let (first, second) = town.paid_twice("P200001").await;
        let refund_no = town.one_refund("P200001").await;
        town.look_until(&refund_no, "processing").await;
        town.ends(&refund_no, "SUCCESS").await;
        let refund = town.until_refunded(&refund_no, "succeeded").await.refund;
        let stored = town.stored("P200001").await;
        let kept = stored.order.paid_by.clone().unwrap().transaction_id;
        assert_ne!(refund.transaction_id, kept, "the one too many went back");
        assert_eq!(town.wechat_refunds(&first).await.len() + town.wechat_refunds(&second).await.len(), 1);
        assert_eq!((stored.refunded.as_i64(), stored.order.flags.paid_twice), (100, true));
        // The payment that counts can still be refunded, by its own sum.
        let (status, problem) = town.give_back("P200001", json!({"refund_no": "later", "amount_fen": 101})).await;
        assert_eq!((status, &problem["left_fen"]), (409, &json!(100)), "{problem}");
        town.refunding("P200001", "later", 100).await;
        town.books_agree().await;
        town.stop().await;
    }
}

impl Town {
    /// The number of the order's only refund.
    async fn one_refund(&self, order_no: &str) -> String {
        let path = format!("/v1/orders/{order_no}");
        let (_, order) = self.get(&path).await;
        let refunds = order["refunds"].as_array().unwrap().clone();
        assert_eq!(refunds.len(), 1, "{order}");
        refunds[0]["refund_no"].as_str().unwrap().to_owned()
    }

    /// Two attempts of an order, both paid: the first is closed at WeChat, and a slow bank pays it all the same.
    async fn paid_twice(&self, order_no: &str) -> (String, String) {
        self.place(order_no).await;
        self.skip(301);
        let (status, order) = self
            .post(&format!("/v1/orders/{order_no}/attempts"), &json!({"trade_type": "NATIVE", "product_id": "tea"}))
            .await;
        assert_eq!(status, 200, "{order}");
        let second = order["attempts"][1]["out_trade_no"].as_str().unwrap().to_owned();
        self.pay(&second).await;
        self.until_state(order_no, "paid").await;
        self.tell_wechat("pay", json!({"out_trade_no": order_no, "late": true})).await;
        self.until("paid twice", order_no, |s| s.order.flags.paid_twice).await;
        (order_no.to_owned(), second)
    }
}

#[test]
fn a_policy_that_sends_money_back_needs_a_certificate_at_the_start() {
    let config = |policy: &str| {
        Config::from_toml_str(&format!(
            "[server]\npublic_url = \"http://127.0.0.1:1\"\n[[apps]]\nkey = \"shop\"\napp_id = \"{APP_ID}\"\n\
             kind = \"official_account\"\n[[merchants]]\nkey = \"main\"\nmch_id = \"1900000109\"\napps = [\"shop\"]\n\
             v2_key = \"{KEY}\"\n{policy}\n"
        ))
    };
    assert!(config("paid_late = \"accept\"").is_ok());
    for key in ["paid_late", "paid_twice"] {
        let problems = config(&format!("{key} = \"refund\"")).unwrap_err().to_string();
        assert!(problems.contains(key) && problems.contains("client_cert_file"), "{problems}");
    }
}
