//! Many copies of one notification, at once, at two ingresses, for two workers. Small: two hundred. Long: a thousand,
//! more than all connections and consumers take at a time.

use futures_util::future::join_all;
use serde_json::json;

use super::nats::spool::with_spool;
use super::until;
use crate::flows::notifications::{SIGNED_BY_THE_TEST, counted, notify_until_acknowledged, signed};
use crate::harness::service::{KEY, Processes, TestService};
use crate::harness::{size, within_timeout};

/// `accept`: the roles of the two processes that take the copies.
async fn copies_settle_once(rig: Processes, accept: &str) {
    rig.leave_books_open(SIGNED_BY_THE_TEST);
    let count = size(200, 1000);
    let ingresses = [rig.run_roles(accept).await, rig.run_beside(accept, &[]).await];
    let _workers = [rig.run_roles("worker").await, rig.run_roles("worker").await];
    let _rest = rig.run_roles("relay,scheduler").await;
    rig.place(&ingresses[0].base, "A700001", 100).await;
    let body = signed(&[], KEY);
    let copies = (0..count).map(|n| notify_until_acknowledged(&rig, &ingresses[n % 2], &body));
    let posts: i64 = within_timeout("all acknowledged", join_all(copies)).await.into_iter().sum();
    let order = rig.until_state(&ingresses[1].base, "A700001", "paid").await;
    assert_eq!(order["flags"], json!([]));
    rig.until_drained().await;
    let db = rig.open_db().await;
    let mut accepted = 0;
    for ingress in &ingresses {
        let here = counted(&rig, ingress, "main", "accepted").await;
        assert!(here > 0, "both took some");
        accepted += here;
    }
    assert_eq!(accepted, count as u64);
    for (table, rows) in [
        ("ledger", 1),
        ("outbox WHERE event_type = 'wxpay.order.paid.v1'", 1),
        ("notifications WHERE verdict = 'settled'", 1),
        ("notifications WHERE verdict NOT IN ('settled', 'duplicate')", 0),
        ("dead_letters", 0),
    ] {
        assert_eq!(rig.number(&db, &format!("SELECT COUNT(*) FROM {table}")).await, rows, "{table}");
    }
    // What was stored after all is one more row.
    let rows = rig.number(&db, "SELECT COUNT(*) FROM notifications").await;
    assert!((count as i64..=posts).contains(&rows), "{rows} rows of {posts} posts");
    let events = until("the event in the feed", || async {
        let events = rig.events(&ingresses[0].base, "wxpay.order.paid.v1").await;
        (!events.is_empty()).then_some(events)
    })
    .await;
    assert_eq!(events.len(), 1);
    let published = super::audit::published_once(&rig, &db, "order.paid", 1).await;
    assert!(published.iter().all(|id| *id == events[0]["id"]), "{published:?}");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_settle_once_on_nats_and_postgres() {
    copies_settle_once(TestService::nats_postgres().await.processes().await, "ingress").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_settle_once_behind_two_spools() {
    let (rig, _folder) = with_spool().await;
    copies_settle_once(rig, "ingress").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_settle_once_on_embedded_and_postgres() {
    copies_settle_once(TestService::embedded_postgres().await.processes().await, "ingress").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_settle_once_from_two_intake_logs() {
    copies_settle_once(TestService::embedded_sqlite().await.processes().await, "ingress,worker").await;
}
