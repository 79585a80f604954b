//! The policy `refund`: money that comes late or twice goes back, once, however often it is reported.

use serde_json::{Value, json};
use wxpay_worker::config::Config;

use crate::harness::service::{APP_ID, InProcess, KEY, TestService};
use crate::settling::on_both;

const BOTH: &str = "paid_late = \"refund\"\npaid_twice = \"refund\"";

on_both! {
    async fn what_is_left_of_a_payment_goes_back_and_is_announced_where_some_of_it_went_back_before(db: TestDb) {
        let policies = "paid_late = \"hold\"\npaid_twice = \"refund\"";
        let service = TestService::new().on(db).merchant(policies).refunds().in_process().await;
        let first = "P300001";
        service.place(first).await;
        service.pass(301).await;
        let body = json!({"trade_type": "NATIVE", "product_id": "tea"});
        let (_, order) = service.post(&format!("/v1/orders/{first}/attempts"), &body).await;
        let second = order["attempts"][1]["out_trade_no"].as_str().unwrap().to_owned();
        // The second is paid in time, and not reported until the first was paid late and some of it went back.
        let unheard = |on: &str, kind: &str| json!({"on": on, "kind": kind, "out_trade_no": second});
        let rules = [("notify", "drop"), ("orderquery", "system_error"), ("closeorder", "system_error")];
        service.faults(Value::Array(rules.map(|(on, kind)| unheard(on, kind)).into())).await;
        service.pay(&second).await;
        service.skip_to(service.stored(first).await.order.expires_at);
        service.pass(61).await;
        service.wechat_control("pay", json!({"out_trade_no": first, "late": true})).await;
        let late = service.until_state(first, "paid").await.order.paid_by.unwrap().transaction_id;
        service.refunding(first, "some", 30).await;
        service.clear_faults().await;
        service.wechat_control("notify", json!({"out_trade_no": second})).await;
        service.until("paid twice", first, |s| s.order.flags.paid_twice).await;
        let (_, order) = service.get(&format!("/v1/orders/{first}")).await;
        let rest = &order["refunds"][1];
        assert_eq!((&rest["amount_fen"], &rest["origin"]), (&json!(70), &json!("policy")), "{order}");
        assert_eq!(rest["transaction_id"], late.as_str());
        let requested = "SELECT COUNT(*) FROM outbox
        WHERE event_type = 'wxpay.refund.requested.v1' AND payload LIKE '%\"amount_fen\":70%'";
        assert_eq!(service.number(requested).await, 1);
        let rest = rest["refund_no"].as_str().unwrap().to_owned();
        service.skip(61);
        service.poll_until(&rest, "processing").await;
        let theirs = service.wechat_refunds(first).await;
        assert_eq!(theirs.iter().map(|r| r["refund_fee"].as_i64().unwrap()).sum::<i64>(), 100, "{theirs:?}");
        service.finish().await;
    }

    async fn late_money_goes_back_once_however_often_it_is_reported(db: TestDb) {
        let service = TestService::new().on(db).merchant(BOTH).refunds().in_process().await;
        service.place("P100001").await;
        service.pass(301).await;
        service.post("/v1/orders/P100001/close", &Value::Null).await;
        service.until_state("P100001", "closed").await;
        service.wechat_control("pay", json!({"out_trade_no": "P100001", "late": true})).await;
        let paid = service.until_state("P100001", "paid").await.order;
        assert!(paid.flags.paid_late && !paid.paid_reported);
        for _ in 0..10 {
            service.wechat_control("notify", json!({"out_trade_no": "P100001"})).await;
        }
        let refund_no = service.one_refund("P100001").await;
        service.poll_until(&refund_no, "processing").await;
        service.ends(&refund_no, "SUCCESS").await;
        service.until_refunded(&refund_no, "succeeded").await;
        let [theirs] = &service.wechat_refunds("P100001").await[..] else { panic!("one refund at WeChat") };
        assert_eq!((&theirs["refund_fee"], &theirs["refund_desc"]), (&json!(100), &json!("订单已关闭，款项原路退回")));
        let (_, order) = service.get("/v1/orders/P100001").await;
        assert_eq!(
            (&order["refunded_fen"], &order["refunds"][0]["origin"]), (&json!(100), &json!("policy")), "{order}",
        );
        let events = service.events("P100001").await;
        let expected = ["order.closed", "order.paid_late", "payment.held", "refund.requested", "refund.succeeded"];
        assert_eq!(events[1..], expected);
        service.finish().await;
    }

    async fn double_money_goes_back_and_the_first_payment_stays(db: TestDb) {
        let service = TestService::new().on(db).merchant(BOTH).refunds().in_process().await;
        let (first, second) = service.paid_twice("P200001").await;
        let refund_no = service.one_refund("P200001").await;
        service.poll_until(&refund_no, "processing").await;
        service.ends(&refund_no, "SUCCESS").await;
        let refund = service.until_refunded(&refund_no, "succeeded").await.refund;
        let stored = service.stored("P200001").await;
        let kept = stored.order.paid_by.clone().unwrap().transaction_id;
        assert_ne!(refund.transaction_id, kept, "the one too many went back");
        assert_eq!(service.wechat_refunds(&first).await.len() + service.wechat_refunds(&second).await.len(), 1);
        assert_eq!((stored.refunded.as_i64(), stored.order.flags.paid_twice), (100, true));
        // The payment that counts can still be refunded, by its own sum.
        let (status, problem) = service.give_back("P200001", json!({"refund_no": "later", "amount_fen": 101})).await;
        assert_eq!((status, &problem["left_fen"]), (409, &json!(100)), "{problem}");
        service.refunding("P200001", "later", 100).await;
        service.finish().await;
    }
}

impl InProcess {
    /// The number of the order's only refund.
    pub async fn one_refund(&self, order_no: &str) -> String {
        let path = format!("/v1/orders/{order_no}");
        let (_, order) = self.get(&path).await;
        let refunds = order["refunds"].as_array().unwrap().clone();
        assert_eq!(refunds.len(), 1, "{order}");
        refunds[0]["refund_no"].as_str().unwrap().to_owned()
    }

    /// Two attempts of an order, both paid: the first is closed at WeChat, and a slow bank pays it all the same.
    pub async fn paid_twice(&self, order_no: &str) -> (String, String) {
        self.place(order_no).await;
        self.pass(301).await;
        let (status, order) = self
            .post(&format!("/v1/orders/{order_no}/attempts"), &json!({"trade_type": "NATIVE", "product_id": "tea"}))
            .await;
        assert_eq!(status, 200, "{order}");
        let second = order["attempts"][1]["out_trade_no"].as_str().unwrap().to_owned();
        self.pay(&second).await;
        self.until_state(order_no, "paid").await;
        self.wechat_control("pay", json!({"out_trade_no": order_no, "late": true})).await;
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
