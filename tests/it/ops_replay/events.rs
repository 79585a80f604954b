//! Events: published once more under their own id; the feed stays as it is.

use async_nats::jetstream;
use serde_json::json;

use super::{act, plan, until_done};
use crate::harness::service::TestService;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_get_a_replayed_event_again_under_the_same_id() {
    let service = TestService::nats_sqlite().await.in_process().await;
    service.place("E100001").await;
    service
        .until_number("a relayed event", "SELECT COUNT(*) FROM outbox WHERE relayed_at_ms IS NOT NULL", |n| n == 1)
        .await;
    let feed = service.get("/v1/events").await.1["events"].clone();
    let nats = jetstream::new(async_nats::connect(service.queue.url()).await.unwrap());
    let stream = nats.get_stream("PAY_EVENTS").await.unwrap();
    let planned = plan(&service, &json!({"kind": "event", "order_no": "E100001"}), 1000).await;
    assert_eq!((&planned["total"], &planned["to_do"]), (&json!(1), &json!(1)));
    act(&service, &planned, "start").await;
    let done = until_done(&service, &planned).await;
    assert_eq!(done["results"], json!({"settled": 1, "no_op": 0, "failed": {}}));
    let last = stream.get_info().await.unwrap().state.last_sequence;
    let mut events = Vec::new();
    for sequence in [last - 1, last] {
        let message = stream.get_raw_message(sequence).await.unwrap();
        events.push(serde_json::from_slice::<serde_json::Value>(&message.payload).unwrap());
    }
    assert_eq!(events[0], events[1]);
    assert_eq!(events[0]["id"], feed[0]["id"]);
    assert_eq!(service.get("/v1/events").await.1["events"], feed, "no position of the feed changes");
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_have_no_subscribers_on_the_embedded_bus() {
    let service = TestService::embedded_sqlite().await.in_process().await;
    service.place("E100001").await;
    let planned = plan(&service, &json!({"kind": "event"}), 1000).await;
    assert_eq!(planned["predicted"], json!({"would_settle": 0, "no_op": 1, "still_fails": {}}));
    act(&service, &planned, "start").await;
    let done = until_done(&service, &planned).await;
    assert_eq!(done["results"], json!({"settled": 0, "no_op": 1, "failed": {}}));
    service.finish().await;
}
