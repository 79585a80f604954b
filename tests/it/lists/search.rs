//! One search box for every number, and for texts.

use serde_json::{Value, json};

use crate::harness::service::{TestService, jsapi};
use crate::harness::sql::texts;
use crate::settling::on_both;

fn described(order_no: &str, description: &str, attach: &str) -> Value {
    let mut body = jsapi(order_no, 100);
    body["description"] = description.into();
    body["attach"] = attach.into();
    body
}

on_both! {
    async fn an_order_is_found_by_every_number_that_belongs_to_it(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.place("S100002").await;
        service.paid("S100001").await;
        service.refunding("S100001", "give-back-7", 30).await;
        service.ends("give-back-7", "SUCCESS").await;
        service.until_refunded("give-back-7", "succeeded").await;
        let db = service.store.db();
        let stored = async |sql: &str| texts(db, sql).await.pop().unwrap();
        let transaction_id = stored("SELECT transaction_id FROM payments").await;
        let refund_id = stored("SELECT refund_id FROM refunds").await;
        let event_id = stored("SELECT event_id FROM outbox WHERE event_type = 'wxpay.order.paid.v1'").await;
        let notification_id = stored("SELECT event_id FROM notifications WHERE kind = 'pay'").await;
        for number in ["S100001", "give-back-7", "give", &transaction_id, &refund_id, &event_id, &notification_id] {
            let list = service.order_list(&format!("q={number}")).await;
            assert_eq!(list["matched"], json!("number"), "{number}: {list}");
            assert_eq!(list["orders"][0]["order_no"], json!("S100001"), "{number}: {list}");
            assert_eq!(list["orders"].as_array().unwrap().len(), 1, "{number}: {list}");
        }
        // The beginning of its time is not enough: many events share it.
        let begins = service.order_list(&format!("q={}", &event_id[..28])).await;
        assert_eq!(begins["matched"], json!("number"), "{begins}");
        assert_eq!(service.numbers("q=S1000").await, ["S100001", "S100002"]);
        assert_eq!(service.numbers("q=S1000&state=payable").await, ["S100002"]);
        let cut = service.order_list("q=S1000&limit=1").await;
        assert_eq!((&cut["truncated"], &cut["next"]), (&json!(true), &Value::Null), "{cut}");
        // A beginning that is too short to be one.
        let short = service.order_list("q=S10").await;
        assert_eq!((&short["matched"], &short["orders"]), (&json!("text"), &json!([])), "{short}");
        service.finish().await;
    }

    async fn a_part_of_the_description_or_the_attach_is_found_in_thirty_days(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.place_as(&described("S200001", "龙井茶 50%_off", "table 12")).await;
        service.place_as(&described("S200002", "Green Tea", "桌号 12")).await;
        service.place_as(&described("S200003", "咖啡", "{\"seat\":\"a\\\"b\"}")).await;
        assert_eq!(service.numbers("q=井茶").await, ["S200001"]);
        assert_eq!(service.numbers("q=%2012").await, ["S200002", "S200001"], "trimmed");
        assert_eq!(service.numbers("q=green%20t").await, ["S200002"]);
        assert_eq!(service.numbers("q=50%25_o").await, ["S200001"]);
        assert_eq!(service.numbers("q=0_off").await, [] as [&str; 0], "a sign of patterns stands for itself");
        assert_eq!(service.numbers("q=%22a%5C%22b").await, ["S200003"]);
        assert_eq!(service.numbers("q=description").await, [] as [&str; 0], "names of members are no text");
        assert_eq!(service.numbers(&format!("q={}", crate::harness::service::OPENID)).await, [] as [&str; 0]);
        assert_eq!(service.numbers("q=茶&max_amount_fen=99").await, [] as [&str; 0]);
        let sql = format!("UPDATE orders SET created_at_ms = created_at_ms - {}", 31_i64 * 24 * 3600 * 1000);
        service.store.db().execute("test", sql, []).await.unwrap();
        assert_eq!(service.numbers("q=井茶").await, [] as [&str; 0]);
        assert_eq!(service.numbers("q=井茶&from=2020-01-01T00:00:00Z").await, ["S200001"]);
        assert_eq!(service.numbers("q=S200001").await, ["S200001"], "a number is found whenever it was");
        service.finish().await;
    }
}
