//! `order.paid` says what was paid for.

use serde_json::{Value, json};

use crate::harness::service::{TestService, jsapi};
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
        assert_eq!(sent["metadata"], metadata);
        let sent = of("BKE00002");
        assert_eq!((&sent["attach"], &sent["metadata"]), (&Value::Null, &Value::Null), "{sent}");
        service.finish().await;
    }
}
