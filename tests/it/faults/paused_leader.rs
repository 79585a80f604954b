//! The scheduler's leader is paused in the middle of a run, past its lease, and goes on when another has taken over:
//! what it wanted to write is rejected. So is a relay, which then publishes nothing of what it had selected. On
//! PostgreSQL: a stopped process may hold SQLite's only writer, and then no process writes.

use std::collections::BTreeMap;

use futures_util::{FutureExt, StreamExt};
use serde_json::{Value, json};

use super::until;
use crate::harness::pausing::{is_stopped, signal};
use crate::harness::service::{Processes, TestService};
use crate::harness::sql::texts;

async fn holder(rig: &Processes) -> Option<String> {
    let db = rig.open_db().await;
    texts(&db, "SELECT holder FROM leases WHERE name = 'pending_queries'").await.pop()
}

async fn a_paused_leader_writes_nothing(rig: Processes) {
    // Between the check of the lease and the write that belongs under it, once an order's question is due.
    let pause = [("WXPAY_PAUSE_AT", "scheduler.query_due")];
    let paused = rig.run_beside("scheduler", &pause).await;
    let service = rig.run_roles("ingress,worker,relay").await;
    rig.faults(json!([{"on": "notify", "kind": "drop", "times": null}])).await;
    rig.place(&service.base, "L100001", 100).await;
    rig.pay("L100001").await;
    until("the leader's pause", || async { is_stopped(&paused).then_some(()) }).await;
    let leader = holder(&rig).await.expect("no process leads");
    assert!(leader.starts_with(&format!("{}-", paused.id())), "{leader}");
    let _successor = rig.run_beside("scheduler", &[]).await;
    rig.until_state(&service.base, "L100001", "paid").await;
    assert_ne!(holder(&rig).await.unwrap(), leader, "another process leads");
    let db = rig.open_db().await;
    let questions = "SELECT COALESCE(MAX(next_query_at_ms), 0) FROM orders";
    let before = rig.number(&db, questions).await;
    signal(&paused, "-CONT");
    until("the paused leader's own words", || async { rig.logs().contains("another process took over").then_some(()) })
        .await;
    assert_eq!(rig.number(&db, questions).await, before, "what it wrote counts for nothing");
    assert_eq!(rig.number(&db, "SELECT COUNT(*) FROM ledger").await, 1);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_paused_past_its_lease_is_fenced_on_nats_postgres() {
    a_paused_leader_writes_nothing(TestService::nats_postgres().await.processes().await).await;
}

async fn a_paused_relay_publishes_nothing_later(rig: Processes) {
    let client = async_nats::connect(rig.queue.url()).await.unwrap();
    // It has what is published, also what the stream drops as known.
    let mut published = client.subscribe("pay.event.>").await.unwrap();
    client.request("$JS.API.INFO", "".into()).await.unwrap();
    let paused = rig.run_beside("relay", &[("WXPAY_PAUSE_AT", "relay.selected")]).await;
    let service = rig.run_roles("ingress,worker,scheduler").await;
    rig.place(&service.base, "L100001", 100).await;
    until("the relay's pause", || async { is_stopped(&paused).then_some(()) }).await;
    rig.pay("L100001").await;
    rig.until_state(&service.base, "L100001", "paid").await;
    let _successor = rig.run_beside("relay", &[]).await;
    let db = rig.open_db().await;
    let left = "SELECT COUNT(*) FROM outbox WHERE relayed_at_ms IS NULL";
    until("every event relayed", || async { (rig.number(&db, left).await == 0).then_some(()) }).await;
    signal(&paused, "-CONT");
    let ended = "the rest is left to it";
    until("the paused relay's own words", || async { rig.logs().contains(ended).then_some(()) }).await;
    // Whatever was published before is with the client when the server answers.
    client.request("$JS.API.INFO", "".into()).await.unwrap();
    let mut times = BTreeMap::<String, u32>::new();
    while let Some(Some(message)) = published.next().now_or_never() {
        let event: Value = serde_json::from_slice(&message.payload).unwrap();
        *times.entry(event["id"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    let events = rig.number(&db, "SELECT COUNT(*) FROM outbox").await;
    assert_eq!(i64::try_from(times.len()).unwrap(), events, "{times:?}");
    assert!(times.values().all(|n| *n == 1), "an event was published twice: {times:?}");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_paused_past_its_lease_publishes_nothing_later_on_nats_postgres() {
    a_paused_relay_publishes_nothing_later(TestService::nats_postgres().await.processes().await).await;
}
