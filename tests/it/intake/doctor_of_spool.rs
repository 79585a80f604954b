//! What `doctor` says of the logs of a spool.

use tempfile::TempDir;
use wxpay_worker::clock::Clock;
use wxpay_worker::doctor::{Examined, Finding, Status, examine};
use wxpay_worker::intake::{LogSettings, open, write_cursor};

use super::support::{NAME, database, record};
use crate::harness::TEST_TIMEOUT;
use crate::harness::service::{Processes, TestService};

async fn found(service: &Processes) -> Finding {
    let file = Some(service.config_file());
    let (limit, clock) = (TEST_TIMEOUT, Clock::system());
    let findings = examine(&Examined { file, env: Vec::new(), limit, books: false, clock }).await;
    let mut found: Vec<Finding> = findings.into_iter().filter(|finding| finding.check == "intake").collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_process_did_not_forward_is_named_until_it_is_forwarded() {
    let folder = TempDir::new().unwrap();
    let config = format!("[server]\nintake = \"spool\"\nintake_dir = \"{}\"", folder.path().display());
    let service = TestService::nats_postgres().await.config(&config).processes().await;
    assert_eq!(found(&service).await.status, Status::Ok);
    let (appender, mut reader) = open(folder.path(), NAME, database(), LogSettings::DEFAULT).unwrap();
    appender.append(record(b"accepted")).await.unwrap();
    assert!(found(&service).await.found.contains("1 intake logs of running processes"));
    appender.close();
    let mut to = 0;
    while let Some(last) = reader.take(9).await.last() {
        to = last.to;
    }
    drop((appender, reader));
    let warning = found(&service).await;
    assert_eq!((warning.status, warning.about.as_deref()), (Status::Warning, Some(NAME)));
    assert!(warning.mend.is_some_and(|mend| mend.contains("the role ingress or worker")));
    write_cursor(&folder.path().join(NAME), to).unwrap();
    assert_eq!(found(&service).await.status, Status::Ok);
    service.finish().await;
}

/// Whatever is configured by now: its notifications are forwarded by any of these processes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spool_of_before_is_named_although_none_is_configured() {
    let folder = TempDir::new().unwrap();
    let config = format!("[server]\nintake = \"direct\"\nintake_dir = \"{}\"", folder.path().display());
    let service = TestService::nats_postgres().await.config(&config).processes().await;
    let (appender, mut reader) = open(folder.path(), NAME, database(), LogSettings::DEFAULT).unwrap();
    appender.append(record(b"accepted")).await.unwrap();
    appender.close();
    while !reader.take(9).await.is_empty() {}
    drop((appender, reader));
    let warning = found(&service).await;
    assert_eq!((warning.status, warning.about.as_deref()), (Status::Warning, Some(NAME)));
    service.finish().await;
}
