//! The service as processes: killed while it sends, and two of them at once.

use std::collections::HashMap;

use serde_json::json;

use super::receiver::{Received, Receiver};
use super::{CONFIG, WEBHOOKS};
use crate::harness::service::{Processes, TestService};
use crate::harness::{size, within_timeout};

async fn endpoint(service: &Processes, base: &str, url: &str) -> String {
    let (status, made) = service.post(base, WEBHOOKS, &json!({"url": url, "merchant": "main"})).await;
    assert_eq!(status, 201, "{made}");
    made["id"].as_str().unwrap().to_owned()
}

/// Awaits that all deliveries have ended.
async fn until_delivered(service: &Processes, count: i64) {
    let db = service.open_db().await;
    within_timeout("all deliveries", async {
        let sql = "SELECT COUNT(*) FROM webhook_deliveries WHERE state = 'delivered'";
        while service.number(&db, sql).await < count {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
}

/// After dropping repeats by id: each event once, of each order in the order of the feed.
fn assert_complete(received: &[Received], events: &[serde_json::Value]) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut orders: HashMap<String, Vec<String>> = HashMap::new();
    for got in received {
        let count = seen.entry(got.id().to_owned()).or_default();
        *count += 1;
        if *count == 1 {
            orders.entry(got.order_no()).or_default().push(got.id().to_owned());
        }
    }
    let mut expected: HashMap<String, Vec<String>> = HashMap::new();
    for event in events {
        let order_no = event["subject"].as_str().unwrap_or_default().to_owned();
        expected.entry(order_no).or_default().push(event["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(orders, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_killed_while_it_sends_delivers_again_with_the_same_id() {
    let service = TestService::new().config(&CONFIG.replace("60000", "5000")).processes().await;
    let receiver = Receiver::start().await;
    let ingress = service.run_roles("ingress,worker,scheduler").await;
    endpoint(&service, &ingress.base, &receiver.url).await;
    let mut relay = service.run_beside("relay", &[]).await;
    receiver.hold(true);
    service.place(&ingress.base, "W100001", 100).await;
    let first = receiver.until(1).await[0].id().to_owned();
    // On its way, and its answer will not come.
    relay.kill();
    receiver.hold(false);
    service.pay("W100001").await;
    service.until_state(&ingress.base, "W100001", "paid").await;
    let relay = service.run_beside("relay", &[]).await;
    until_delivered(&service, 2).await;
    let received = receiver.received();
    assert!(received.iter().filter(|got| got.id() == first).count() >= 2, "delivered again");
    let events = service.events(&ingress.base, "").await;
    assert_complete(&received, &events);
    assert!(relay.terminate().await.success());
    assert!(!service.logs().contains("/hook"), "no URL is logged");
    assert!(!service.logs().contains("whsec_"), "no secret is logged");
    assert!(ingress.terminate().await.success());
    service.finish().await;
}

async fn killed_again_and_again(service: TestService) {
    let kills = size(4, 100);
    let service = service.config(&CONFIG.replace("60000", "5000")).processes().await;
    let receiver = Receiver::start().await;
    let ingress = service.run_roles("ingress,worker,scheduler").await;
    endpoint(&service, &ingress.base, &receiver.url).await;
    let (mut orders, mut relay) = (0, service.run_beside("relay", &[]).await);
    for round in 0..kills {
        for _ in 0..5 {
            orders += 1;
            service.place(&ingress.base, &format!("W2{orders:05}"), 100).await;
            service.pay(&format!("W2{orders:05}")).await;
        }
        receiver.until(round * 5 + 1).await;
        relay.kill();
        relay = service.run_beside("relay", &[]).await;
    }
    for n in 1..=orders {
        service.until_state(&ingress.base, &format!("W2{n:05}"), "paid").await;
    }
    let events = service.events(&ingress.base, "").await;
    assert_eq!(events.iter().filter(|event| event["type"] == "wxpay.order.paid.v1").count(), orders);
    until_delivered(&service, i64::try_from(events.len()).unwrap()).await;
    assert_complete(&receiver.received(), &events);
    relay.kill();
    assert!(ingress.terminate().await.success());
    // The relay that was killed gave its leases to none: the last one reads what is left.
    let relay = service.run_beside("relay", &[]).await;
    service.until_drained().await;
    assert!(relay.terminate().await.success());
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_each_event_arrives_in_order_sqlite() {
    killed_again_and_again(TestService::embedded_sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_each_event_arrives_in_order_postgres() {
    killed_again_and_again(TestService::nats_postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_send_each_event_once() {
    let service = TestService::embedded_postgres().await.config(CONFIG).processes().await;
    let receiver = Receiver::start().await;
    let first = service.run_all().await;
    let second = service.run_beside("worker,relay,scheduler", &[]).await;
    endpoint(&service, &first.base, &receiver.url).await;
    for n in 1..=20 {
        service.place(&first.base, &format!("W3{n:05}"), 100).await;
    }
    until_delivered(&service, 20).await;
    assert_eq!(receiver.received().len(), 20, "no process sends what another one sends");
    // One ends in an orderly way; the other one goes on.
    assert!(second.terminate().await.success());
    for n in 21..=30 {
        service.place(&first.base, &format!("W3{n:05}"), 100).await;
    }
    until_delivered(&service, 30).await;
    assert_eq!(receiver.received().len(), 30);
    service.finish().await;
}
