//! A process that leads everything reaches the database and no longer NATS. It must not keep from the others what it
//! cannot do itself.

use std::time::Duration;

use serde_json::json;

use crate::faults::until;
use crate::harness::cable::Cable;
use crate::harness::service::{Processes, Queue, TestService};

/// Whether a process had the relay's lease last. It runs out where there is nothing to publish.
async fn leads(rig: &Processes, process: u32) -> bool {
    let db = rig.open_db().await;
    rig.number(&db, &format!("SELECT COUNT(*) FROM leases WHERE name = 'relay' AND holder LIKE '{process}-%'")).await
        == 1
}

/// Whether a process had workers ask about orders.
async fn asks(rig: &Processes, process: u32) -> bool {
    let db = rig.open_db().await;
    let sql = format!(
        "SELECT COUNT(*) FROM job_reports
         WHERE job = 'pending_queries' AND outcome = 'done' AND holder LIKE '{process}-%'"
    );
    rig.number(&db, &sql).await > 0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_nats_gives_way_to_one_that_has_it() {
    let rig = TestService::nats_postgres().await.processes().await;
    let Queue::Nats(server) = &rig.queue else { unreachable!("on NATS") };
    let cable = Cable::to(server.url().trim_start_matches("nats://")).await;
    let url = format!("nats://{}", cable.address());
    let roles = "ingress,worker,relay,scheduler";
    let mut leader = rig.run_beside(roles, &[("WXPAY__BUS__URL", &url)]).await;
    // The lease of the relay is taken when there is an event to publish.
    rig.place(&leader.base, "C100000", 100).await;
    until("a leader of everything", || async { leads(&rig, leader.id()).await.then_some(()) }).await;
    let healthy = rig.run_all().await;
    cable.cut();

    rig.faults(json!([{"on": "notify", "kind": "drop", "times": null}])).await;
    rig.place(&healthy.base, "C100001", 100).await;
    rig.pay("C100001").await;
    rig.until_state(&healthy.base, "C100001", "paid").await;
    // The news of it too, which also the one that is cut off could give their place in the feed.
    rig.until_drained().await;
    assert_eq!(rig.events(&healthy.base, "wxpay.order.paid.v1").await.len(), 1);
    until("the healthy one leads", || async { leads(&rig, healthy.id()).await.then_some(()) }).await;
    assert!(asks(&rig, healthy.id()).await);
    assert!(leader.is_alive(), "the other one was not just gone");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_alone_goes_on_as_soon_as_nats_is_there_again() {
    let rig = TestService::nats_postgres().await.processes().await;
    let Queue::Nats(server) = &rig.queue else { unreachable!("on NATS") };
    let mut cable = Cable::to(server.url().trim_start_matches("nats://")).await;
    let url = format!("nats://{}", cable.address());
    let alone = rig.run_all_with(&[("WXPAY__BUS__URL", &url)]).await;
    rig.place(&alone.base, "C100002", 100).await;
    rig.faults(json!([{"on": "notify", "kind": "drop", "times": null}])).await;
    cable.cut();
    let db = rig.open_db().await;
    let failed = "SELECT COUNT(*) FROM job_reports WHERE job = 'pending_queries' AND outcome = 'failed'";
    until("a run that failed", || async { (rig.number(&db, failed).await > 0).then_some(()) }).await;
    rig.pay("C100002").await;
    cable.mend().await;
    let mended = std::time::Instant::now();
    until("the lead", || async { leads(&rig, alone.id()).await.then_some(()) }).await;
    assert!(mended.elapsed() < Duration::from_secs(40), "it led again after {:?}", mended.elapsed());
    rig.until_state(&alone.base, "C100002", "paid").await;
    rig.finish().await;
}
