//! Services with an intake log, and what lies in their folders.

use std::path::{Path, PathBuf};

use futures_util::{StreamExt, stream};
use serde_json::Value;
use wxpay_worker::store::Db;

use crate::faults::audit::Orders;
use crate::faults::until;
use crate::harness::service::{Processes, TestService};

/// Messages of notifications that went by the queue.
pub const QUEUED: &str = "SELECT COUNT(*) FROM bus_messages WHERE subject LIKE 'pay.in.main.notify.%'";
pub const CURSORS: &str = "SELECT COUNT(*) FROM intake_logs";

pub async fn a_service() -> TestService {
    TestService::embedded_sqlite().await.config("[server]\nintake = \"log\"")
}

pub async fn with_log() -> Processes {
    a_service().await.processes().await
}

pub fn orders(count: i64) -> Orders {
    (0..count).map(|n| (format!("L{n:06}"), 100 + n)).collect()
}

pub async fn place_and_pay(rig: &Processes, base: &str, orders: &Orders) {
    let placing = stream::iter(orders).map(|(order_no, amount_fen)| async move {
        rig.place(base, order_no, *amount_fen).await;
        rig.pay(order_no).await
    });
    placing.buffer_unordered(16).collect::<Vec<Value>>().await;
}

pub async fn until_paid(rig: &Processes, db: &Db) {
    let left = "SELECT COUNT(*) FROM orders WHERE state <> 'paid'";
    until("every order paid", || async { (rig.number(db, left).await == 0).then_some(()) }).await;
}

pub fn database(rig: &Processes) -> PathBuf {
    PathBuf::from(rig.db.url().trim_start_matches("sqlite://"))
}

/// The folder of the logs.
pub fn folder(rig: &Processes) -> PathBuf {
    PathBuf::from(format!("{}.intake", database(rig).display()))
}

/// The logs that lie beside the database.
pub async fn logs(rig: &Processes) -> usize {
    std::fs::read_dir(folder(rig)).map_or(0, Iterator::count)
}

pub async fn said(rig: &Processes, text: &str) {
    until(text, || async { rig.logs().contains(text).then_some(()) }).await;
}

pub async fn until_gone(log: &Path) {
    until("the log gone", || async { (!log.exists()).then_some(()) }).await;
}
