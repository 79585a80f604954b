//! A spool whose disk is full, or whose server does not keep what it acknowledges.

use serde_json::json;

use super::bundles::{pay, place, stored, until_paid};
use super::spool::{BEHIND, logs, nats, until_acknowledged, with_spool};
use crate::faults::audit;
use crate::faults::databases::limits::{limit_files, run_roles_without_signal};
use crate::faults::load::{numbers, readiness};
use crate::faults::until;
use crate::harness::ports::free_port;
use crate::harness::service::{Process, Processes};

const WAITS: &str = "wxpay_intake_unsettled_bytes";
/// Room for no cursor.
const FULL: u64 = 4;

async fn until_nothing_waits(rig: &Processes, ingress: &Process) {
    until("room in the spool", || async { (rig.metric::<f64>(ingress, WAITS).await == Some(0.0)).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_holds_up_nothing_that_was_accepted_before() {
    let (mut rig, folder) = with_spool().await;
    let ingress = run_roles_without_signal(&rig, "ingress", rig.port()).await;
    let _worker = rig.run_beside(BEHIND, &[]).await;
    let orders = numbers(0..10);
    place(&rig, &ingress.base, &orders).await;
    nats(&mut rig).kill();
    pay(&rig, &orders.keys().collect::<Vec<_>>()).await;
    until_acknowledged(&rig, &orders).await;
    limit_files(&ingress, Some(FULL));
    nats(&mut rig).start_again();
    until_paid(&rig, 0).await;
    // What was forwarded takes no room any more, although no cursor says so.
    until_nothing_waits(&rig, &ingress).await;
    rig.until_drained().await;
    audit::all_paid_once(&rig, &ingress.base, &orders).await;
    assert!(ingress.terminate().await.success(), "all of it is forwarded");
    assert_eq!(logs(folder.path()).len(), 0);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_does_not_keep_a_dead_process_s_spool() {
    let (mut rig, folder) = with_spool().await;
    let mut ingress = rig.run_roles("ingress").await;
    let worker = run_roles_without_signal(&rig, BEHIND, free_port()).await;
    let orders = numbers(0..10);
    place(&rig, &ingress.base, &orders).await;
    nats(&mut rig).kill();
    pay(&rig, &orders.keys().collect::<Vec<_>>()).await;
    until_acknowledged(&rig, &orders).await;
    limit_files(&worker, Some(FULL));
    ingress.kill();
    nats(&mut rig).start_again();
    until_paid(&rig, 0).await;
    until("the dead process's log gone", || async { logs(folder.path()).is_empty().then_some(()) }).await;
    rig.until_drained().await;
    let ingress = rig.run_roles("ingress").await;
    audit::all_paid_once(&rig, &ingress.base, &orders).await;
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_forwarded_to_a_server_that_is_known_not_to_keep_it() {
    let (mut rig, _folder) = with_spool().await;
    let ingress = rig.run_roles("ingress").await;
    let _worker = rig.run_beside(BEHIND, &[]).await;
    let orders = numbers(0..3);
    place(&rig, &ingress.base, &orders).await;
    nats(&mut rig).kill();
    nats(&mut rig).start_again_with("2m");
    until("the objection", || async {
        let (status, check) = readiness(&rig, &ingress.base, "bus").await;
        let is_objection = check["reason"].as_str()?.contains("syncs");
        is_objection.then(|| assert_eq!(status, 503, "a spool excuses a server that is away, not this: {check}"))
    })
    .await;
    // The disk takes them all the same.
    pay(&rig, &orders.keys().collect::<Vec<_>>()).await;
    until_acknowledged(&rig, &orders).await;
    until("the forwarder's reason", || async {
        let logs = rig.logs();
        let mut lines = logs.lines().filter(|line| line.contains("records of the intake log are not forwarded yet"));
        lines.any(|line| line.contains("syncs every")).then_some(())
    })
    .await;
    assert_eq!(stored(&rig).await, (0, 0));
    assert!(rig.metric::<f64>(&ingress, WAITS).await.is_some_and(|bytes| bytes > 0.0), "the spool has them");
    nats(&mut rig).kill();
    nats(&mut rig).start_again();
    until_nothing_waits(&rig, &ingress).await;
    until_paid(&rig, 0).await;
    until("ready", || async {
        let (status, check) = readiness(&rig, &ingress.base, "bus").await;
        (status == 200).then(|| assert_eq!(check["ok"], json!(true)))
    })
    .await;
    rig.until_drained().await;
    audit::all_paid_once(&rig, &ingress.base, &orders).await;
    rig.finish().await;
}
