//! Replays of the kind `webhook`: one more attempt with the same id, whose result is written with it.

use serde_json::{Value, json};

use super::receiver::Receiver;
use super::{ALL, endpoint, get, give_up, path, rows, service, until_attempts};
use crate::harness::service::{InProcess, TestService};

const REPLAYS: &str = "/v1/ops/replays";

async fn plan(service: &InProcess, select: Value) -> Value {
    let (status, plan) = service.post(REPLAYS, &json!({"select": select, "reason": "the shop is back"})).await;
    assert_eq!(status, 201, "{plan}");
    plan
}

async fn run(service: &InProcess, plan: &Value) -> Value {
    let path = format!("{REPLAYS}/{}", plan["id"].as_str().unwrap());
    let (status, started) = service.post(&format!("{path}/start"), &json!({})).await;
    assert_eq!(status, 202, "{started}");
    let done = || async { Some(service.get(&path).await.1).filter(|replay| replay["state"] == "done") };
    service.found("the end of the replay", done).await
}

async fn a_delivery_is_sent_once_more(service: TestService) {
    let service = service.config(super::CONFIG).in_process().await;
    let receiver = Receiver::start().await;
    let made = endpoint(&service, &receiver.url, &["order.payable"]).await;
    service.place("W100001").await;
    until_attempts(&service, &made, 1, "delivered").await;
    // What was delivered is not selected, unless it is named.
    let none = plan(&service, json!({"kind": "webhook"})).await;
    assert_eq!(none["total"], 0);
    let id = rows(&service, &made, "deliveries").await[0]["id"].clone();
    let planned = plan(&service, json!({"kind": "webhook", "ids": [id]})).await;
    assert_eq!(planned["predicted"], json!({"would_settle": 1, "no_op": 0, "still_fails": {}}));
    let done = run(&service, &planned).await;
    assert_eq!(done["results"], json!({"settled": 1, "no_op": 0, "failed": {}}));
    let got = receiver.until(2).await;
    assert_eq!((got[0].id(), &got[0].body), (got[1].id(), &got[1].body));
    // One that fails again says why, and its delivery is as it was.
    receiver.status(503);
    let planned = plan(&service, json!({"kind": "webhook", "ids": [id]})).await;
    let done = run(&service, &planned).await;
    assert_eq!(done["results"], json!({"settled": 0, "no_op": 0, "failed": {"http_status": 1}}));
    let delivery = rows(&service, &made, "deliveries").await[0].clone();
    assert_eq!((&delivery["state"], &delivery["attempts"]), (&json!("delivered"), &json!(3)));
    let causes: Vec<Value> = rows(&service, &made, "attempts").await.iter().map(|row| row["cause"].clone()).collect();
    assert_eq!(causes, [json!("replay"), json!("replay"), json!("schedule")]);
    assert_eq!(get(&service, &made).await["failing_since"], json!(null), "a replay blames no endpoint");
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_is_sent_once_more_with_its_id_sqlite() {
    a_delivery_is_sent_once_more(TestService::embedded_sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_is_sent_once_more_with_its_id_postgres() {
    a_delivery_is_sent_once_more(TestService::embedded_postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_given_up_is_selected_by_its_reason_and_settles() {
    let service = service().in_process().await;
    let receiver = Receiver::start().await;
    let made = endpoint(&service, &receiver.url, &["order.payable"]).await;
    // Held back until it is marked as given up, as after a day of failures.
    receiver.status(500);
    for order_no in ["W100001", "W100002"] {
        service.place(order_no).await;
    }
    until_attempts(&service, &made, 2, "http_status").await;
    // Both attempts may have been at one of them.
    service.until_number("both deliveries", "SELECT COUNT(*) FROM webhook_deliveries", |n| n == 2).await;
    give_up(&service, ALL, "http_status").await;
    receiver.status(204);
    let planned = plan(&service, json!({"kind": "webhook", "reason_class": "timeout"})).await;
    assert_eq!(planned["total"], 0);
    let selected = json!({"kind": "webhook", "reason_class": "http_status", "order_no": "W100002"});
    let planned = plan(&service, selected).await;
    assert_eq!(planned["total"], 1);
    assert_eq!(run(&service, &planned).await["results"]["settled"], 1);
    let states: Vec<Value> = rows(&service, &made, "deliveries").await.iter().map(|row| row["state"].clone()).collect();
    assert_eq!(states, [json!("delivered"), json!("failed")]);
    // Disabled or deleted, an endpoint is not called; the plan says so.
    service.send_json("PATCH", &path(&made), &json!({"state": "disabled"})).await;
    let planned = plan(&service, json!({"kind": "webhook"})).await;
    assert_eq!(planned["predicted"]["still_fails"], json!({"endpoint_disabled": 1}));
    assert_eq!(run(&service, &planned).await["results"]["failed"], json!({"endpoint_disabled": 1}));
    service.send_json("DELETE", &path(&made), &json!({})).await;
    let planned = plan(&service, json!({"kind": "webhook"})).await;
    assert_eq!(planned["predicted"]["still_fails"], json!({"endpoint_gone": 1}));
    let before = receiver.received().len();
    run(&service, &planned).await;
    assert_eq!(receiver.received().len(), before);
    service.finish().await;
}
