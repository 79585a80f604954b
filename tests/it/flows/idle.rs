//! What the service writes while nothing happens, and what it need not write.

use wxpay_worker::clock::{Clock, Timestamp};

use crate::faults::until;
use crate::harness::service::{Process, Processes, TestService};

/// How often it was checked whether the job has something to do.
async fn checks(service: &Processes, process: &Process, job: &str) -> u64 {
    let name = format!("wxpay_job_seconds_count{{job=\"{job}\",outcome=\"checked\"}}");
    service.metric(process, &name).await.unwrap_or_default()
}

/// Transactions that wrote.
async fn commits(service: &Processes, process: &Process) -> u64 {
    service.metric(process, "wxpay_store_commits_total").await.unwrap()
}

async fn jobs_without_work_write_nothing(service: Processes) {
    // Leases that would be renewed each second.
    let process = service.run_all_with(&[("WXPAY__STORE__LEASE_MS", "3000")]).await;
    let db = service.open_db().await;
    let without = "SELECT COUNT(*) FROM jobs WHERE name NOT IN (
                     SELECT job FROM job_reports WHERE ended_at_ms IS NOT NULL)";
    let due = "SELECT COUNT(*) FROM jobs";
    until("a first run of every job", || async {
        (service.number(&db, due).await > 0 && service.number(&db, without).await == 0).then_some(())
    })
    .await;
    let five_minutes = |at: Timestamp| at.as_seconds().div_euclid(300);
    let (begun, before) = (Clock::system().now(), commits(&service, &process).await);
    let first = checks(&service, &process, "pending_queries").await;
    // A check rests between them, for longer than a lease.
    until("three more checks", || async {
        (checks(&service, &process, "pending_queries").await >= first + 3).then_some(())
    })
    .await;
    let count = commits(&service, &process).await - before;
    // Every five minutes each job is run and reported all the same; the last reports come some seconds later.
    let quiet_since = Timestamp::from_ms(begun.as_ms() - 30_000);
    if five_minutes(quiet_since) == five_minutes(Clock::system().now()) {
        assert_eq!(count, 0);
    }
    // What is due later is still found at once.
    service.place(&process.base, "I100001", 100).await;
    service.pay("I100001").await;
    service.until_state(&process.base, "I100001", "paid").await;
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_without_work_write_nothing_on_sqlite() {
    jobs_without_work_write_nothing(TestService::embedded_sqlite().await.processes().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_without_work_write_nothing_on_postgres() {
    jobs_without_work_write_nothing(TestService::embedded_postgres().await.processes().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_relay_writes_nothing_for_the_embedded_bus() {
    let service = TestService::embedded_sqlite().await.in_process().await;
    service.place("I100002").await;
    service.pay("I100002").await;
    service.until_state("I100002", "paid").await;
    assert!(service.number("SELECT COUNT(*) FROM outbox").await >= 2);
    let otherwise = "SELECT COUNT(*) FROM outbox WHERE relayed_at_ms IS NULL OR relayed_at_ms <> created_at_ms";
    assert_eq!(service.number(otherwise).await, 0);
    assert_eq!(service.number("SELECT COUNT(*) FROM leases WHERE name = 'relay'").await, 0, "it had nothing to do");
    service.finish().await;
}
