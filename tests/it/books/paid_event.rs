//! `order.paid` says what was paid for.

use serde_json::{Value, json};

use crate::harness::service::{MCH_ID, TestService, jsapi};
use crate::settling::on_both;

on_both! {
    async fn a_paid_event_carries_what_the_business_gave(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        let metadata = json!({"table": 7, "guests": ["a", "b"]});
        let mut body = jsapi("BKE00001", 100);
        (body["description"], body["attach"]) = (json!("茶, 250 g"), json!("shift=2"));
        body["metadata"] = metadata.clone();
        service.place_as(&body).await;
        service.place_as(&jsapi("BKE00002", 100)).await;
        for order_no in ["BKE00001", "BKE00002"] {
            service.pay(order_no).await;
            service.until_state(order_no, "paid").await;
        }
        service.until_idle().await;
        let (_, feed) = service.get("/v1/events?types=order.paid").await;
        let data: Vec<&Value> = feed["events"].as_array().unwrap().iter().map(|event| &event["data"]).collect();
        let of = |order_no: &str| *data.iter().find(|data| data["order_no"] == order_no).unwrap();
        let sent = of("BKE00001");
        assert_eq!((&sent["description"], &sent["attach"]), (&json!("茶, 250 g"), &json!("shift=2")), "{sent}");
        assert_eq!((&sent["metadata"], &sent["bank_type"]), (&metadata, &json!("OTHERS")), "{sent}");
        let sent = of("BKE00002");
        assert_eq!((&sent["attach"], &sent["metadata"]), (&Value::Null, &Value::Null), "{sent}");
        service.finish().await;
    }
    async fn a_paid_event_names_each_coupon_that_paid_a_part(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        for order_no in ["BKE00003", "BKE00004"] {
            service.place_as(&jsapi(order_no, 100)).await;
        }
        let pay = |order_no: &str| json!({"out_trade_no": order_no, "mch_id": MCH_ID, "coupon_fee": 30});
        service.wechat_control("pay", pay("BKE00003")).await;
        service.until_state("BKE00003", "paid").await;
        // A query's answer names two, of one of which WeChat does not say the type.
        service.faults(json!([{"on": "notify", "kind": "drop", "times": null}])).await;
        let set = json!({
            "coupon_count": "3", "coupon_fee_0": "20", "coupon_id_1": "20000", "coupon_fee_1": "10",
            "coupon_id_2": "30000", "coupon_fee_2": "a part",
        });
        service.faults(json!([{"on": "orderquery", "kind": "rewrite", "set": set}])).await;
        service.wechat_control("pay", pay("BKE00004")).await;
        service.refreshed_again("BKE00004").await;
        service.until_state("BKE00004", "paid").await;
        service.until_idle().await;
        let (_, feed) = service.get("/v1/events?types=order.paid").await;
        let coupons = |order_no: &str| {
            let events = feed["events"].as_array().unwrap();
            events.iter().find(|event| event["data"]["order_no"] == order_no).unwrap()["data"]["coupons"].clone()
        };
        let part = |id: &str, kind: Option<&str>, fen: i64| {
            json!({"coupon_id": id, "coupon_type": kind, "fee_fen": fen})
        };
        assert_eq!(coupons("BKE00003"), json!([part("10000", Some("CASH"), 30)]));
        let two = json!([part("10000", Some("CASH"), 20), part("20000", None, 10)]);
        assert_eq!(coupons("BKE00004"), two, "what has no readable amount is left out");
        service.finish().await;
    }
}
