//! The service under its own user, and what a subscriber can aim at it.

use serde_json::json;

use super::support::{jetstream_as, make_durable, server, service_with};
use crate::harness::within_timeout;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_works_completely_under_its_user() {
    let service = service_with(&[]).await;
    let process = service.run_all().await;
    for order_no in ["S100001", "S100002"] {
        service.place(&process.base, order_no, 100).await;
    }
    service.pay("S100001").await;
    service.until_state(&process.base, "S100001", "paid").await;
    // Without its notification, by a query.
    service.faults(json!([{"on": "notify", "kind": "drop", "times": null}])).await;
    service.pay("S100002").await;
    within_timeout("an answer of WeChat", async {
        // On a busy machine the first answer may be that WeChat's takes longer.
        while service.get(&process.base, "/v1/orders/S100002?merchant=main&refresh=1").await.1["state"] != "paid" {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    service.until_drained().await;
    assert_eq!(service.events(&process.base, "wxpay.order.paid.v1").await.len(), 2);
    let (status, bus) = service.get(&process.base, "/v1/ops/bus").await;
    assert_eq!(status, 200, "{bus}");
    for stream in ["PAY_IN", "PAY_EVENTS"] {
        let (status, page) = service.get(&process.base, &format!("/v1/ops/bus/{stream}/messages")).await;
        assert!(status == 200 && !page["messages"].as_array().unwrap().is_empty(), "{status} {page}");
    }
    assert!(process.terminate().await.success(), "a clean end");
    // A second start finds what the first one made.
    let process = service.run_all().await;
    service.place(&process.base, "S100003", 100).await;
    let logs = service.logs().to_lowercase();
    assert!(!logs.contains("permissions violation"), "{logs}");
    service.finish().await;
}

/// A fetch names where the server is to send what it brings, and a server does not ask whether the subscriber may
/// publish there. The server stores the event under its own subject, which nothing of the service reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_a_subscriber_aims_at_the_work_of_the_service_changes_nothing() {
    let service = service_with(&[]).await;
    let process = service.run_all().await;
    service.place(&process.base, "S100001", 100).await;
    service.until_drained().await;
    make_durable(&service, "finance");
    let admin = jetstream_as(server(&service), "admin").await;
    let work = admin.get_stream("PAY_IN").await.unwrap();
    let client = jetstream_as(server(&service), "finance").await.client();
    let next = "$JS.API.CONSUMER.MSG.NEXT.PAY_EVENTS.finance";
    client.publish_with_reply(next, "pay.in.main.notify.received", "1".into()).await.unwrap();
    let aimed = within_timeout("the event in the stream of work", async {
        loop {
            match work.get_last_raw_message_by_subject("pay.event.>").await {
                Ok(message) => return message,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            }
        }
    })
    .await;
    assert_eq!(aimed.subject.as_str(), "pay.event.main.order.payable");
    assert!(work.get_last_raw_message_by_subject("pay.in.main.notify.received").await.is_err());
    // Work behind it is done as ever.
    service.place(&process.base, "S100002", 100).await;
    service.pay("S100002").await;
    service.until_state(&process.base, "S100002", "paid").await;
    let (_, order) = service.get(&process.base, "/v1/orders/S100001?merchant=main").await;
    assert_eq!(order["state"], "payable", "the event was the order's, and says nothing to it");
    service.until_drained().await;
    let db = service.open_db().await;
    assert_eq!(service.number(&db, "SELECT COUNT(*) FROM ledger").await, 1);
    service.finish().await;
}
