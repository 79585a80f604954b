//! The scheduler's leader is paused in the middle of a run, past its lease, and goes on when another has taken over:
//! what it wanted to write is rejected. On PostgreSQL: a stopped process may hold SQLite's only writer, and then no
//! process writes.

use serde_json::json;

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
