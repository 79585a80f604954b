//! What happens to an order between its recording and WeChat's answer to the process that recorded it.

#![cfg(debug_assertions)]

use std::time::Duration;

use serde_json::Value;

use crate::harness::pausing::{is_stopped, signal};
use crate::harness::process::Process;
use crate::harness::service::{API_KEY, Processes, TestService, answer, jsapi};
use crate::harness::within_timeout;

/// Stops the process once WeChat has answered, before the answer is recorded. Without jobs and relay: a process that is
/// stopped within a transaction would keep the lock of SQLite.
const ROLES: &str = "ingress,worker";
/// The claim must not end within the pause.
const LEASE: &str = "[store]\nlease_ms = 60000\n";
const PAUSED: &[(&str, &str)] = &[("WXPAY_PAUSE_AT", "worker.order_answered")];

/// Asks for an order; the answer comes once WeChat's answer is recorded.
async fn ask(service: &Processes, process: &Process, order_no: &str) -> (u16, Value) {
    let request = service.http.post(format!("{}/v1/orders", process.base)).bearer_auth(API_KEY);
    let request = request.header("prefer", "wait=30").header("content-type", "application/json");
    answer(request.body(jsapi(order_no, 100).to_string())).await.unwrap()
}

async fn until_stopped(process: &Process) {
    within_timeout("the pause after WeChat's answer", async {
        while !is_stopped(process) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// Its rows cannot be read meanwhile: nothing reads them.
async fn decided_as_it_was_recorded(service: TestService) {
    let service = service.config(LEASE).processes().await;
    let process = service.run_with(ROLES, PAUSED).await;
    let db = service.open_db().await;
    let run = async |sql: &str| db.execute("test", sql.to_owned(), []).await.unwrap();
    let meanwhile = async {
        until_stopped(&process).await;
        run("UPDATE attempts SET params = params || '?'").await;
        signal(&process, "-CONT");
    };
    let ((status, order), ()) = tokio::join!(ask(&service, &process, "A780001"), meanwhile);
    assert_eq!((status, order["state"].as_str()), (200, Some("payable")), "{order}");
    assert!(order["pay_params"]["paySign"].is_string(), "{order}");
    run("UPDATE attempts SET params = SUBSTR(params, 1, LENGTH(params) - 1)").await;
    let _jobs = service.run_beside("relay,scheduler", &[]).await;
    service.pay("A780001").await;
    service.until_state(&process.base, "A780001", "paid").await;
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wechats_answer_is_decided_on_the_order_as_it_was_recorded_on_sqlite() {
    decided_as_it_was_recorded(TestService::embedded_sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wechats_answer_is_decided_on_the_order_as_it_was_recorded_on_postgres() {
    decided_as_it_was_recorded(TestService::embedded_postgres().await).await;
}

async fn paid_before_the_answer(service: TestService) {
    let service = service.config(LEASE).processes().await;
    // WeChat posts to this one.
    let other = service.run_all().await;
    let process = service.run_beside(ROLES, PAUSED).await;
    let meanwhile = async {
        until_stopped(&process).await;
        service.pay("A780002").await;
        service.until_state(&other.base, "A780002", "paid").await;
        signal(&process, "-CONT");
    };
    let ((status, order), ()) = tokio::join!(ask(&service, &process, "A780002"), meanwhile);
    assert_eq!((status, order["state"].as_str()), (200, Some("paid")), "{order}");
    assert_eq!(order["attempts"][0]["state"], "paid", "{order}");
    let db = service.open_db().await;
    for (what, rows) in [
        ("orders WHERE state = 'paid' AND version = 2", 1),
        ("evidence", 1),
        ("payments", 1),
        // The call that changed nothing any more.
        ("calls", 1),
    ] {
        assert_eq!(service.number(&db, &format!("SELECT COUNT(*) FROM {what}")).await, rows, "{what}");
    }
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_is_paid_before_wechats_answer_is_recorded_stays_paid_on_sqlite() {
    paid_before_the_answer(TestService::embedded_sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_is_paid_before_wechats_answer_is_recorded_stays_paid_on_postgres() {
    paid_before_the_answer(TestService::embedded_postgres().await).await;
}
