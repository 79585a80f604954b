//! Services with an intake log, and what lies in their folders.

use std::path::{Path, PathBuf};

use futures_util::{StreamExt, stream};
use serde_json::Value;
use wxpay_worker::intake::ROOM;
use wxpay_worker::store::Db;

use crate::faults::audit::Orders;
use crate::faults::until;
use crate::flows::notifications::{notify, signed};
use crate::harness::service::{KEY, Process, Processes, TestService};

/// Messages of notifications that went by the queue.
pub const QUEUED: &str = "SELECT COUNT(*) FROM bus_messages WHERE subject LIKE 'pay.in.main.notify.%'";
pub const CURSORS: &str = "SELECT COUNT(*) FROM intake_logs";
/// Bytes that living logs have settled.
pub const SETTLED_BYTES: &str = "SELECT COALESCE(SUM(position), 0) FROM intake_logs";
pub const LEDGER: &str = "SELECT COUNT(*) FROM ledger";
/// Has WeChat asked about no open order before its expiry.
pub const NOT_NOW: &str = "UPDATE orders SET next_query_at_ms = expires_at_ms WHERE state = 'payable'";

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

/// The files of a log.
pub fn files(log: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some()).collect();
    files.sort();
    files
}

/// How much of a file of a log is written. Behind it is room that was made.
pub fn used(file: &Path) -> u64 {
    let bytes = std::fs::read(file).unwrap();
    bytes.iter().rposition(|byte| *byte != ROOM).map_or(0, |last| last as u64 + 1)
}

/// The only log that lies beside the database.
pub fn only_log(rig: &Processes) -> PathBuf {
    let mut logs: Vec<PathBuf> = std::fs::read_dir(folder(rig)).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(logs.len(), 1, "{logs:?}");
    logs.pop().unwrap()
}

/// A payment of this order that the test signed.
pub fn payment(n: u32) -> String {
    let numbers = [format!("L{n:06}"), format!("42000000002026112200{n:08}")];
    signed(&[("out_trade_no", &numbers[0]), ("transaction_id", &numbers[1])], KEY)
}

/// Notifies a process of that payment, as WeChat does; whether it answered SUCCESS. All else is a FAIL to be repeated.
pub async fn is_taken(rig: &Processes, service: &Process, n: u32) -> bool {
    let (status, answer) = notify(rig, service, "main", payment(n)).await;
    if status == 200 && answer.contains("SUCCESS") {
        return true;
    }
    assert!(status == 503 && answer.contains("FAIL"), "{status} {answer}");
    false
}

/// Places orders, of which nothing asks WeChat before they expire.
pub async fn place_unasked(rig: &Processes, service: &Process, orders: std::ops::RangeInclusive<u32>) {
    for n in orders {
        rig.place(&service.base, &format!("L{n:06}"), 100).await;
    }
    rig.open_db().await.execute("test", NOT_NOW, []).await.unwrap();
}

pub async fn said(rig: &Processes, text: &str) {
    until(text, || async { rig.logs().contains(text).then_some(()) }).await;
}

pub async fn until_gone(log: &Path) {
    until("the log gone", || async { (!log.exists()).then_some(()) }).await;
}
