//! A row that the database refuses each time, with a code that is like an outage's or another order's, or that others
//! have locked.

use sea_orm::{ConnectionTrait, Database, TransactionTrait};
use serde_json::Value;

use crate::harness::db::TestDb;
use crate::harness::service::{InProcess, TestService, jsapi};
use crate::harness::within_timeout;

/// An outage would not count.
const DELIVERIES: &str = "SELECT COALESCE(MAX(deliveries), 0) FROM bus_deliveries WHERE consumer = 'settle'";

async fn execute(service: &InProcess, sql: &'static str) {
    service.store.db().execute("test", sql, []).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_refused_each_time_holds_up_no_other_and_uses_up_its_own_attempts() {
    let service = TestService::new().on(TestDb::postgres().await).in_process().await;
    let orders: Vec<String> = (0..6).map(|n| format!("GOOD-{n}")).collect();
    for order_no in orders.iter().map(String::as_str).chain(["POISON"]) {
        service.place(order_no).await;
    }
    execute(
        &service,
        "CREATE FUNCTION refuse_poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           IF NEW.order_no = 'POISON' THEN RAISE EXCEPTION 'refused' USING ERRCODE = 'XX000'; END IF;
           RETURN NEW; END $$",
    )
    .await;
    let trigger = "CREATE TRIGGER refuse_poison BEFORE UPDATE ON orders
                   FOR EACH ROW EXECUTE FUNCTION refuse_poison()";
    execute(&service, trigger).await;
    service.pay("POISON").await;
    for order_no in &orders {
        service.pay(order_no).await;
    }
    for order_no in &orders {
        service.until_state(order_no, "paid").await;
    }
    service.until_number("a second attempt at POISON", DELIVERIES, |n| n >= 2).await;
    execute(&service, "DROP TRIGGER refuse_poison ON orders").await;
    service.until_state("POISON", "paid").await;
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unique_rule_is_no_other_orders_transaction_until_that_is_found() {
    let service = TestService::new().on(TestDb::postgres().await).in_process().await;
    service.place("CLASH-1").await;
    execute(
        &service,
        "CREATE FUNCTION clash() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           RAISE EXCEPTION 'taken' USING ERRCODE = '23505'; END $$",
    )
    .await;
    execute(&service, "CREATE TRIGGER clash BEFORE INSERT ON payments FOR EACH ROW EXECUTE FUNCTION clash()").await;
    service.pay("CLASH-1").await;
    service.until_number("a second attempt", DELIVERIES, |n| n >= 2).await;
    assert!(!service.stored("CLASH-1").await.order.flags.amount_mismatch, "no order has its transaction");
    execute(&service, "DROP TRIGGER clash ON payments").await;
    service.until_state("CLASH-1", "paid").await;
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_of_an_order_whose_row_is_locked_is_put_off_alone_and_settles_once_it_is_not() {
    let service = TestService::embedded_postgres().await.processes().await;
    let process = service.run_all().await;
    let others: Vec<String> = (0..6).map(|n| format!("FREE-{n}")).collect();
    for order_no in others.iter().map(String::as_str).chain(["LOCKED"]) {
        service.place(&process.base, order_no, 100).await;
    }
    // As in an open transaction of psql.
    let other = Database::connect(service.db.url()).await.unwrap();
    let lock = other.begin().await.unwrap();
    lock.execute_unprepared("SELECT * FROM orders WHERE order_no = 'LOCKED' FOR UPDATE").await.unwrap();
    service.pay("LOCKED").await;
    for order_no in &others {
        service.pay(order_no).await;
    }
    within_timeout("the end of a wait for the lock", async {
        while !service.logs().contains("SQLSTATE 55P03") {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    for order_no in &others {
        service.until_state(&process.base, order_no, "paid").await;
    }
    let (_, order) = service.get(&process.base, "/v1/orders/LOCKED?merchant=main").await;
    assert_eq!(order["state"], "payable", "{order}");
    lock.rollback().await.unwrap();
    service.until_state(&process.base, "LOCKED", "paid").await;
    service.until_drained().await;
    service.finish().await;
    let logs = service.logs();
    assert!(!logs.contains("waits for the database"), "a lock is no outage: {logs}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_table_is_locked_orders_that_wait_together_are_refused_together() {
    const ORDERS: usize = 12;
    let service = TestService::embedded_postgres().await.processes().await;
    let process = service.run_all().await;
    // As CREATE INDEX does; reads go on.
    let other = Database::connect(service.db.url()).await.unwrap();
    let lock = other.begin().await.unwrap();
    lock.execute_unprepared("LOCK TABLE orders IN SHARE MODE").await.unwrap();
    let bodies: Vec<Value> = (0..ORDERS).map(|n| jsapi(&format!("WAITS-{n}"), 100)).collect();
    let posted = bodies.iter().map(|body| service.post(&process.base, "/v1/orders", body));
    for (status, problem) in futures_util::future::join_all(posted).await {
        assert_eq!(status, 503, "{problem}");
    }
    // Of each batch, of which there are two or three and on a busy machine more, one order was tried alone.
    within_timeout("the words on the orders that were not tried", async {
        while service.logs().matches("the database is not available").count() < ORDERS / 2 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    assert!(!service.logs().contains("the database did not answer"), "a batch came to its limit");
    lock.rollback().await.unwrap();
    service.place(&process.base, "WAITS-0", 100).await;
    service.finish().await;
}
