//! What stays in the folder of logs is counted and named for as long as it stays.

use super::support::*;
use crate::faults::load::readiness;
use crate::faults::until;
use crate::harness::service::{Process, Processes};

const UNREADABLE: &str = "wxpay_intake_logs_left{reason=\"not_readable\"}";
const FOREIGN: &str = "wxpay_intake_logs_left{reason=\"another_database\"}";
const DAMAGED: &str = "wxpay_intake_damaged_files";

async fn counted(rig: &Processes, service: &Process, name: &str, count: u64) {
    until(&format!("{count} {name}"), || async { (rig.metric(service, name).await == Some(count)).then_some(()) })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_with_a_cut_off_header_is_counted_and_named_until_someone_acts() {
    let rig = with_log().await;
    let log = folder(&rig).join("notify-bbbbbbbbbbbbbbbbbbbb");
    std::fs::create_dir_all(&log).unwrap();
    std::fs::write(log.join("lock"), "").unwrap();
    // As a process leaves it that dies while it makes its first file.
    std::fs::write(log.join("00000000000000000000-00000000000000000000.log"), b"WXPAYIN1").unwrap();
    // After a restart as well.
    for _ in 0..2 {
        let service = rig.run_all().await;
        counted(&rig, &service, UNREADABLE, 1).await;
        let (status, check) = readiness(&rig, &service.base, "intake").await;
        let reason = check["reason"].as_str().unwrap_or_default();
        let says = "notify-bbbbbbbbbbbbbbbbbbbb stays: it holds no record: its header is cut off";
        assert!(status == 200 && check["ok"] == true && reason.contains(says), "{status} {check}");
        assert!(service.terminate().await.success());
    }
    let service = rig.run_all().await;
    counted(&rig, &service, UNREADABLE, 1).await;
    std::fs::remove_dir_all(&log).unwrap();
    counted(&rig, &service, UNREADABLE, 0).await;
    let (_, check) = readiness(&rig, &service.base, "intake").await;
    assert!(check["reason"].is_null(), "{check}");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_services_log_and_damaged_bytes_are_counted_apart() {
    let rig = with_log().await;
    let parent = folder(&rig);
    // The database has its id.
    assert!(rig.run_all().await.terminate().await.success());
    let other = wxpay_worker::intake::DatabaseId::parse("zzzzzzzzzz0123456789").unwrap();
    let settings = wxpay_worker::intake::LogSettings::DEFAULT;
    let name = "notify-cccccccccccccccccccc";
    let (_living, _reader) = wxpay_worker::intake::open(&parent, name, other, settings).unwrap();
    wxpay_worker::intake::keep_aside(&parent, "notify-dddddddddddddddddddd", 7, b"no record").unwrap();
    let service = rig.run_all().await;
    counted(&rig, &service, FOREIGN, 1).await;
    counted(&rig, &service, DAMAGED, 1).await;
    counted(&rig, &service, UNREADABLE, 0).await;
    let (status, check) = readiness(&rig, &service.base, "intake").await;
    let reason = check["reason"].as_str().unwrap_or_default();
    for says in ["it is of another database", "1 files of damaged bytes are kept"] {
        assert!(status == 200 && reason.contains(says), "{status} {check}");
    }
    // It is not this service's to touch.
    assert!(service.terminate().await.success());
    assert!(parent.join(name).join("lock").exists());
    rig.finish().await;
}
