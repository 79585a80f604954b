//! What of a spool is lost while orders are locked: WeChat is asked about them after a rest.

use std::fs;
use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, Database, TransactionTrait};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use wxpay_worker::intake::LogSettings;
use wxpay_worker::wechat::transport::Client;
use wxpay_worker::worker;
use wxpay_worker::worker::{Context, Logs, RefundClients, SearchPauses};

use super::{NAME, die, open, record};
use crate::harness::service::{InProcess, TestService};
use crate::harness::within_timeout;

/// Instead of a minute.
const REST: Duration = Duration::from_secs(2);
/// How long a statement waits for a row that is locked.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

fn context(service: &InProcess) -> Context {
    let config = service.in_force.snapshot();
    let wechat = Client::new(&config.wechat).unwrap();
    let refunds = RefundClients::open(&config, &wechat).unwrap();
    Context::new(service.in_force.clone(), service.store.clone(), wechat, refunds, service.clock.clone())
}

/// On PostgreSQL: a file has no rows that are locked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_locked_is_asked_about_again_after_a_rest_and_not_before() {
    // Without the scheduler, which would ask about the order as soon as it is due.
    let service = TestService::embedded_postgres().await.roles("ingress,worker,relay").in_process().await;
    service.place("IA100001").await;
    // A record of which the last write was cut off.
    let folder = TempDir::new().unwrap();
    let (appender, reader) = open(folder.path(), LogSettings::DEFAULT);
    appender.append(record(&[1; 50])).await.unwrap();
    die(appender, reader).await;
    let log = folder.path().join(NAME);
    let mut files = fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().path());
    let file = files.find(|path| path.extension().is_some_and(|end| end == "log")).unwrap();
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();

    let other = Database::connect(service.db.url()).await.unwrap();
    let lock = other.begin().await.unwrap();
    lock.execute_unprepared("SELECT * FROM orders FOR UPDATE").await.unwrap();
    let pauses = SearchPauses { every: Duration::from_millis(10), locked_for: REST };
    let logs = Logs { pauses, ..Logs::new(folder.path().to_owned(), true, true) };
    let (found, stop) = (logs.found.clone(), CancellationToken::new());
    let begun = Instant::now();
    let taking = tokio::spawn(worker::take_over(context(&service), service.bus.clone(), logs, stop.clone()));
    within_timeout("a log that stays", async {
        while found.get().blocked.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(found.get().blocked[0].why, "WeChat is not asked yet about what is lost of it");
    lock.rollback().await.unwrap();
    within_timeout("the end of the log", async {
        while log.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert!(begun.elapsed() >= LOCK_TIMEOUT + REST, "each time sets those due again that were asked about meanwhile");
    let due = format!("SELECT COUNT(*) FROM orders WHERE next_query_at_ms <= {}", service.clock.now().as_ms());
    assert_eq!(service.number(&due).await, 1);
    stop.cancel();
    within_timeout("the end of the search", taking).await.unwrap();
    service.finish().await;
}
