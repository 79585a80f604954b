//! The service on a host whose clock is hours off: it goes by the database's. The simulator and the database are right.

use std::time::Duration;

use serde_json::json;
use wxpay_worker::clock::{Clock, Timestamp};

use crate::harness::db::TestDb;
use crate::harness::service::{InProcess, TestService, jsapi};

const HOUR_MS: i64 = 3_600_000;

/// Every time that the service wrote of its own accord, with its place.
const WRITTEN: &[(&str, &str)] = &[
    ("orders", "created_at_ms"),
    ("orders", "updated_at_ms"),
    ("attempts", "created_at_ms"),
    ("attempts", "prepay_issued_at_ms"),
    ("evidence", "received_at_ms"),
    ("evidence", "recorded_at_ms"),
    ("ledger", "recorded_at_ms"),
    ("notifications", "received_at_ms"),
    ("notifications", "processed_at_ms"),
    ("outbox", "created_at_ms"),
    ("outbox", "relayed_at_ms"),
];

/// That everything in the database was written since `begin`, by the database's clock.
async fn all_written_since(service: &InProcess, begin: Timestamp) {
    let end = service.store.db().now().await.unwrap();
    for (table, column) in WRITTEN {
        let oldest = service.number(&format!("SELECT COALESCE(MIN({column}), 0) FROM {table}")).await;
        let newest = service.number(&format!("SELECT COALESCE(MAX({column}), 0) FROM {table}")).await;
        // A busy machine learns the database's time a little late; the host is hours off.
        let (begin, end) = (begin.as_ms() - 60_000, end.as_ms() + 60_000);
        assert!(begin <= oldest && newest <= end, "{table}.{column}: {oldest} to {newest} is not in {begin} to {end}");
    }
}

async fn is_paid_in_time_on_a_host_off_by(hours: i64) {
    let mut service = TestService::new().on(TestDb::postgres().await).clock(Clock::system()).in_process().await;
    let begin = service.store.db().now().await.unwrap();
    let mut order = jsapi("H100001", 100);
    order["expires_at"] = json!(begin.after(Duration::from_secs(7200)));
    let (status, placed) = service.post("/v1/orders", &order).await;
    assert_eq!(status, 200, "{placed}");
    // Old enough to be closed, were it expired.
    let db = service.store.db().clone();
    let older = "UPDATE attempts SET created_at_ms = created_at_ms - 400000";
    db.execute("test", older, []).await.unwrap();

    service.move_to_host(Clock::host_off_by(hours * HOUR_MS)).await;
    let answered = service.number("SELECT COALESCE(MAX(answered_at_ms), 0) FROM orders").await;
    let (status, order) = service.get("/v1/orders/H100001?merchant=main&refresh=1").await;
    assert_eq!((status, &order["state"]), (200, &json!("payable")), "{order}");
    service
        .until("an answer", "H100001", |s| s.order.queries.answered_at.is_some_and(|at| at.as_ms() > answered))
        .await;
    assert_eq!(service.wechat_order("H100001").await["state"], "NOTPAY", "closed before its time");
    service.pay("H100001").await;
    let paid = service.until_state("H100001", "paid").await;
    assert!(!paid.order.flags.paid_late, "it was in time");

    // And one that is placed there.
    let mut order = jsapi("H100002", 100);
    order["expires_at"] = json!(begin.after(Duration::from_secs(7200)));
    let (status, placed) = service.post("/v1/orders", &order).await;
    assert_eq!(status, 200, "{placed}");
    service.pay("H100002").await;
    service.until_state("H100002", "paid").await;
    let newer = "UPDATE attempts SET created_at_ms = created_at_ms + 400000 WHERE out_trade_no = 'H100001'";
    db.execute("test", newer, []).await.unwrap();
    let (_, page) = service.get("/v1/events?types=wxpay.order.paid.v1&wait=30").await;
    assert!(!page["events"].as_array().unwrap().is_empty(), "{page}");
    all_written_since(&service, begin).await;
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_on_a_host_three_hours_ahead_is_not_closed_before_its_time() {
    is_paid_in_time_on_a_host_off_by(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_host_three_hours_behind_writes_has_the_time_of_the_database() {
    is_paid_in_time_on_a_host_off_by(-3).await;
}
