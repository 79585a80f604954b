//! Notifications that are accepted into a spool, while NATS is there or away: each is forwarded and settled once,
//! whichever process dies in between.

use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;

use super::bundles::{pay, place, stored, until_paid, until_read};
use crate::faults::audit::{self, Orders};
use crate::faults::load::{numbers, readiness};
use crate::faults::until;
use crate::harness::cable::Cable;
use crate::harness::nats::NatsServer;
use crate::harness::service::{Processes, Queue, TestService};

pub const BEHIND: &str = "worker,relay,scheduler";

/// A service with a spool, and the folder of it.
pub async fn with_spool() -> (Processes, TempDir) {
    let folder = TempDir::new().unwrap();
    let config = format!("[server]\nintake = \"spool\"\nintake_dir = \"{}\"", folder.path().display());
    (TestService::nats_postgres().await.config(&config).processes().await, folder)
}

pub fn nats(rig: &mut Processes) -> &mut NatsServer {
    match &mut rig.queue {
        Queue::Nats(server) => server,
        Queue::Embedded | Queue::Cluster(_) => panic!("not on NATS"),
    }
}

pub fn logs(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_log = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("notify-");
    entries.filter(is_log).collect()
}

/// Awaits that WeChat heard SUCCESS for all of them.
pub async fn until_acknowledged(rig: &Processes, orders: &Orders) {
    for order_no in orders.keys() {
        until(&format!("SUCCESS for {order_no}"), || async {
            (rig.wechat_order(order_no).await["acknowledged"] == true).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_accepted_while_nats_is_away_is_forwarded_in_bundles_and_settled_once() {
    let (mut rig, folder) = with_spool().await;
    // To the ingress alone, so that a process waits for bundles all the while.
    let mut cable = Cable::to(nats(&mut rig).url().trim_start_matches("nats://")).await;
    let url = format!("nats://{}", cable.address());
    let ingress = rig.run_with("ingress", &[("WXPAY__BUS__URL", &url)]).await;
    let worker = rig.run_beside(BEHIND, &[]).await;
    let orders = numbers(0..40);
    place(&rig, &ingress.base, &orders).await;
    until_read(&rig).await;
    cable.cut();
    pay(&rig, &orders.keys().collect::<Vec<_>>()).await;
    until_acknowledged(&rig, &orders).await;
    let db = rig.open_db().await;
    assert_eq!(rig.number(&db, "SELECT COUNT(*) FROM ledger").await, 0, "nothing settles while NATS is away");
    until("the reason of the bus", || async {
        let (status, check) = readiness(&rig, &ingress.base, "bus").await;
        (check["ok"] == json!(false)).then(|| assert_eq!(status, 200, "it takes notifications: {check}"))
    })
    .await;
    let (_, intake) = readiness(&rig, &ingress.base, "intake").await;
    assert_eq!(intake["ok"], json!(true), "{intake}");
    let waits = rig.metric::<f64>(&ingress, "wxpay_intake_unsettled_bytes").await;
    assert!(waits.is_some_and(|bytes| bytes > 0.0), "{waits:?}");
    let lag = rig.metric::<f64>(&ingress, "wxpay_bus_lag_messages{consumer=\"settle\"}").await;
    assert!(lag.is_some_and(|messages| messages >= 40.0), "{lag:?}");
    cable.mend().await;
    until_paid(&rig, 0).await;
    rig.until_drained().await;
    audit::all_paid_once(&rig, &ingress.base, &orders).await;
    let (bundles, single) = stored(&rig).await;
    assert!(bundles > 0 && bundles + single < 40, "{bundles} bundles, {single} single");
    let deliveries = rig.wechat_books("").await["deliveries"].as_array().unwrap().len();
    let rows = rig.number(&db, "SELECT COUNT(*) FROM notifications").await;
    assert!((40..=deliveries as i64).contains(&rows), "each of {deliveries} has one row at most, and not {rows}");
    // At its end the process has forwarded all, and nothing is left of its log.
    assert!(ingress.terminate().await.success());
    assert_eq!(logs(folder.path()), Vec::<PathBuf>::new());
    assert!(worker.terminate().await.success());
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spool_is_forwarded_in_bundles_while_all_is_well() {
    let (rig, _folder) = with_spool().await;
    let service = rig.run_all().await;
    let orders = numbers(0..30);
    place(&rig, &service.base, &orders).await;
    until_read(&rig).await;
    pay(&rig, &orders.keys().collect::<Vec<_>>()).await;
    until_paid(&rig, 0).await;
    rig.until_drained().await;
    audit::all_paid_once(&rig, &service.base, &orders).await;
    let (bundles, single) = stored(&rig).await;
    assert!(bundles > 0 && bundles + single < 30, "{bundles} bundles, {single} single");
    let db = rig.open_db().await;
    assert_eq!(rig.number(&db, "SELECT COUNT(*) FROM intake_logs").await, 0, "the database knows none of its cursors");
    rig.finish().await;
}

/// While NATS is away: what is killed then has not forwarded anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_spool_of_a_killed_process_is_forwarded_by_another_one() {
    let (mut rig, folder) = with_spool().await;
    let mut ingress = rig.run_roles("ingress").await;
    let _worker = rig.run_beside(BEHIND, &[]).await;
    let orders = numbers(0..10);
    place(&rig, &ingress.base, &orders).await;
    nats(&mut rig).kill();
    pay(&rig, &orders.keys().collect::<Vec<_>>()).await;
    until_acknowledged(&rig, &orders).await;
    let left = logs(folder.path());
    assert_eq!(left.len(), 1);
    ingress.kill();
    nats(&mut rig).start_again();
    // The process with workers, which has no log itself, or the next ingress: WeChat repeats nothing of it.
    let ingress = rig.run_roles("ingress").await;
    until_paid(&rig, 0).await;
    until("the dead process's log gone", || async { (!left[0].exists()).then_some(()) }).await;
    rig.until_drained().await;
    audit::all_paid_once(&rig, &ingress.base, &orders).await;
    rig.finish().await;
}

/// The crash points that only a spool passes.
#[cfg(debug_assertions)]
pub const POINTS: [&str; 2] = ["spool.forwarded", "spool.kept"];

/// An ingress is killed at `site`, and the one after it at `then`.
#[cfg(debug_assertions)]
async fn killed_at(site: &str, then: Option<&str>) {
    let (rig, folder) = with_spool().await;
    // No other process takes its log over.
    let apart = TempDir::new().unwrap();
    let other_folder = apart.path().display().to_string();
    let _worker = rig.run_beside(BEHIND, &[("WXPAY__SERVER__INTAKE_DIR", &other_folder)]).await;
    let mut ingress = rig.run_with("ingress", &[("WXPAY_CRASH_AT", site)]).await;
    rig.place(&ingress.base, "A000000", 100).await;
    rig.pay("A000000").await;
    ingress.until_dead().await;
    if let Some(site) = then {
        let mut next = rig.run_with("ingress", &[("WXPAY_CRASH_AT", site)]).await;
        next.until_dead().await;
    }
    let ingress = rig.run_roles("ingress").await;
    until_paid(&rig, 0).await;
    rig.until_drained().await;
    audit::all_paid_once(&rig, &ingress.base, &numbers(0..1)).await;
    until(&format!("{site}, {then:?}: one log"), || async { (logs(folder.path()).len() == 1).then_some(()) }).await;
    rig.finish().await;
}

#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_may_die_at_every_point_of_a_spool() {
    let [forwarded, kept] = POINTS;
    let cases = [
        ("intake.written", None),
        ("intake.synced", None),
        (forwarded, None),
        (kept, None),
        ("intake.synced", Some("intake.taken_over")),
        ("intake.synced", Some("intake.moved")),
        ("intake.synced", Some("intake.removed")),
    ];
    for (site, then) in cases {
        killed_at(site, then).await;
    }
}
