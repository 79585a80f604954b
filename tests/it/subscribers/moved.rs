//! Which events are published of a database that changes its bus.

use async_nats::jetstream;
use wxpay_worker::secret::Secret;

use crate::harness::service::{InProcess, Queue, TestService};
use crate::harness::sql::texts;

/// The ids of what was published.
async fn published(service: &InProcess) -> Vec<String> {
    let context = jetstream::new(async_nats::connect(service.queue.url()).await.unwrap());
    let stream = context.get_stream("PAY_EVENTS").await.unwrap();
    let mut ids = Vec::new();
    for sequence in 1..=stream.cached_info().state.last_sequence {
        let message = stream.get_raw_message(sequence).await.unwrap();
        ids.push(message.headers.get("Nats-Msg-Id").unwrap().as_str().to_owned());
    }
    ids
}

async fn events_of(service: &InProcess, order_no: &str) -> Vec<String> {
    let sql = format!("SELECT event_id FROM outbox WHERE order_no = '{order_no}' ORDER BY id");
    texts(service.store.db(), &sql).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_moves_to_nats_publishes_what_is_new() {
    let mut service = TestService::new().with(Queue::nats()).direct().in_process().await;
    service.restart_with(|config| config.bus.url = Secret::new("embedded:")).await;
    service.place("MOVED0001").await;
    let waiting = "SELECT COUNT(*) FROM outbox WHERE relayed_at_ms IS NULL";
    assert_eq!(service.number(waiting).await, 0);
    let url = service.queue.url();
    service.restart_with(|config| config.bus.url = Secret::new(url)).await;
    service.place("MOVED0002").await;
    service.until_number("the end of the relay", waiting, |n| n == 0).await;
    assert_eq!(events_of(&service, "MOVED0001").await.len(), 1);
    let new = events_of(&service, "MOVED0002").await;
    assert_eq!((new.len(), published(&service).await), (1, new));
    service.finish().await;
}
