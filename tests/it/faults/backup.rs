//! A backup that is made while the service runs, and is restored.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use wxpay_worker::clock::Clock;
use wxpay_worker::store::backup;

use crate::harness::process::Process;
use crate::harness::service::{Processes, TestService, jsapi};

pub async fn wxpayd_backup(service: &Processes, into: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wxpayd"));
    command.arg("backup").arg(into).arg("--config").arg(service.config_file());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

pub fn printed(output: &Output) -> PathBuf {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8(output.stdout.clone()).unwrap().trim_end())
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The end of the feed, once it has so many events of a type.
async fn cursor(service: &Processes, process: &Process, event_type: &str, count: usize) -> String {
    loop {
        let (status, page) = service.get(&process.base, "/v1/events?limit=1000&wait=1").await;
        assert_eq!(status, 200, "{page}");
        let events = page["events"].as_array().unwrap();
        if events.iter().filter(|event| event["type"] == event_type).count() >= count {
            return page["next"].as_str().unwrap().to_owned();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_before_is_there_and_what_was_paid_after_is_found() {
    let service = TestService::embedded_sqlite().await.processes().await;
    let mut first = service.run_all().await;
    let into = tempfile::TempDir::new().unwrap();
    let backups = into.path().join("backups");
    for order_no in ["BACKUP01", "BACKUP02", "BACKUP03"] {
        service.place(&first.base, order_no, 100).await;
    }
    service.pay("BACKUP01").await;
    service.until_state(&first.base, "BACKUP01", "paid").await;
    let at_backup = cursor(&service, &first, "wxpay.order.paid.v1", 1).await;
    // Orders are taken all the while.
    let orders = (0..20).map(|n| {
        let (service, base) = (&service, first.base.as_str());
        async move { service.post(base, "/v1/orders", &jsapi(&format!("MEANWH{n:02}"), 100)).await }
    });
    let (made, placed) = futures_util::join!(wxpayd_backup(&service, &backups), futures_util::future::join_all(orders));
    assert!(placed.iter().all(|(status, _)| [200, 202].contains(status)), "{placed:?}");
    let folder = printed(&made);
    let copy = folder.join("wxpay.db");
    assert_eq!((mode(&backups), mode(&folder), mode(&copy)), (0o700, 0o700, 0o600));
    let names: Vec<String> =
        std::fs::read_dir(&backups).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names, [folder.file_name().unwrap().to_str().unwrap()], "nothing that is partial");
    // What happens afterwards is lost with the database.
    service.pay("BACKUP02").await;
    service.until_state(&first.base, "BACKUP02", "paid").await;
    let ahead = cursor(&service, &first, "wxpay.order.paid.v1", 2).await;
    first.kill();
    first.until_dead().await;
    let database = PathBuf::from(service.db.url().strip_prefix("sqlite://").unwrap());
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{end}", database.display()));
    }
    std::fs::copy(&copy, &database).unwrap();
    let second = service.run_all().await;
    let (_, known) = service.get(&second.base, "/v1/orders/BACKUP01?merchant=main").await;
    assert_eq!((&known["state"], &known["credited"]), (&json!("paid"), &json!(true)), "{known}");
    let (_, known) = service.get(&second.base, "/v1/orders/BACKUP03?merchant=main").await;
    assert_eq!(known["state"], "payable", "{known}");
    // WeChat reported it once and was answered: it says so again only when it is asked.
    let found = service.until_state(&second.base, "BACKUP02", "paid").await;
    assert_eq!(found["credited"], json!(true), "{found}");
    let (status, problem) = service.get(&second.base, &format!("/v1/events?after={ahead}")).await;
    assert_eq!((status, &problem["code"]), (410, &json!("cursor_foreign")), "{problem}");
    let (status, page) = service.get(&second.base, &format!("/v1/events?after={at_backup}&wait=10")).await;
    assert_eq!(status, 200, "{page}");
    let paid = |event: &&Value| event["type"] == "wxpay.order.paid.v1";
    let since: Vec<&Value> = page["events"].as_array().unwrap().iter().filter(paid).collect();
    assert!(since.iter().all(|event| event["subject"] == "BACKUP02"), "{since:?}");
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_is_not_good_has_no_name() {
    let service = TestService::embedded_sqlite().await.processes().await;
    let folder = tempfile::TempDir::new().unwrap();
    let (broken, into) = (folder.path().join("broken.db"), folder.path().join("backups"));
    std::fs::write(&broken, "this is no database, but long enough to be taken for one".repeat(100)).unwrap();
    assert!(backup(&broken, &[], &into, Clock::system().now()).is_err());
    assert!(backup(&folder.path().join("missing.db"), &[], &into, Clock::system().now()).is_err());
    assert!(!folder.path().join("missing.db").exists(), "it makes no database");
    assert_eq!(std::fs::read_dir(&into).unwrap().count(), 0, "nothing is left");
    // A folder beside the database is copied with it, for this user alone.
    let logs = folder.path().join("logs");
    std::fs::create_dir_all(logs.join("notify-1")).unwrap();
    std::fs::write(logs.join("notify-1/1.log"), "what was acknowledged").unwrap();
    let database = PathBuf::from(service.db.url().strip_prefix("sqlite://").unwrap());
    let at = Clock::system().now();
    let made = backup(&database, &[logs, folder.path().join("never-made")], &into, at).unwrap();
    let copied = made.folder.join("logs/notify-1/1.log");
    assert_eq!(std::fs::read_to_string(&copied).unwrap(), "what was acknowledged");
    assert_eq!((mode(&copied), mode(&made.folder.join("logs"))), (0o600, 0o700));
    assert!(backup(&database, &[], &into, at).is_err(), "a backup is never replaced");
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_is_left_to_its_own_tools() {
    let service = TestService::embedded_postgres().await.processes().await;
    let into = tempfile::TempDir::new().unwrap();
    let refused = wxpayd_backup(&service, into.path()).await;
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("pg_dump"), "{refused:?}");
    service.finish().await;
}
