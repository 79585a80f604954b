//! What the service writes while nothing happens, and what it need not write.

use crate::harness::service::{Process, Processes, TestService};
use crate::harness::within_timeout;

/// A lease longer than the test.
const LEASE: &[(&str, &str)] = &[("WXPAY__STORE__LEASE_MS", "60000")];

/// How many runs of the job found nothing to do.
async fn idle_runs(service: &Processes, process: &Process, job: &str) -> i64 {
    let text = service.http.get(format!("{}/metrics", process.base)).send().await.unwrap().text().await.unwrap();
    let name = format!("wxpay_job_seconds_count{{job=\"{job}\",outcome=\"idle\"}} ");
    text.lines().filter_map(|line| line.strip_prefix(&name)).map(|count| count.parse::<i64>().unwrap()).sum()
}

async fn idle_runs_of_a_job_are_reported_once_a_lease(service: Processes) {
    let process = service.run_all_with(LEASE).await;
    let db = service.open_db().await;
    within_timeout("four idle runs", async {
        while idle_runs(&service, &process, "pending_queries").await < 4 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    let reports = "SELECT COUNT(*) FROM job_reports WHERE job = 'pending_queries'";
    assert_eq!(service.number(&db, reports).await, 1);
    // What is due later is still found at once.
    service.place(&process.base, "I100001", 100).await;
    service.pay("I100001").await;
    service.until_state(&process.base, "I100001", "paid").await;
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_runs_of_a_job_are_reported_once_a_lease_on_sqlite() {
    idle_runs_of_a_job_are_reported_once_a_lease(TestService::embedded_sqlite().await.processes().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_runs_of_a_job_are_reported_once_a_lease_on_postgres() {
    idle_runs_of_a_job_are_reported_once_a_lease(TestService::embedded_postgres().await.processes().await).await;
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
