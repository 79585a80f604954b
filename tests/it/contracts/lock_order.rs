//! Groups of changes on PostgreSQL whose orders other processes change at the same time: which rows they lock in which
//! order, and what they compare once they have them. SQLite has one writer.

use std::collections::HashSet;

use sea_orm::{ConnectionTrait, Database, TransactionTrait};
use tokio::task::JoinHandle;
use wxpay_worker::event::fact::Fact;
use wxpay_worker::ids::EventId;
use wxpay_worker::order::OrderState;
use wxpay_worker::store::{
    DbError, NotificationKind, OrderCommit, RefusedNotification, Store, StoredOrder, UnpaidAttempt,
};

use super::store::orders::{NOW, change, merchant, order_no, payment};
use crate::harness::db::TestDb;
use crate::harness::store::{TestStore, commit};
use crate::harness::within_timeout;

const WAITING: &str = "pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";

/// Orders 1 to 3. The first one's row was written last: a scan of the table finds it behind the others.
async fn three_orders() -> (TestStore, [StoredOrder; 3]) {
    let stage = TestStore::open(TestDb::postgres().await).await;
    let orders = [stage.recorded(1).await, stage.recorded(2).await, stage.recorded(3).await];
    stage.execute("UPDATE orders SET updated_at_ms = updated_at_ms WHERE order_no = 'A000001'").await.unwrap();
    (stage, orders)
}

/// The payment of each order, the first one's number being `first`.
fn payments(first: u32, orders: &[StoredOrder]) -> Vec<OrderCommit> {
    (first..).zip(orders).map(|(n, order)| change(order, n, Fact::Paid(payment(n, n)))).collect()
}

type Group = JoinHandle<Result<HashSet<i64>, DbError>>;

fn commits(store: &Store, changes: Vec<OrderCommit>) -> Group {
    let store = store.clone();
    tokio::spawn(async move { commit(&store, &changes, NOW).await })
}

async fn until_one_waits(stage: &TestStore, group: &Group) {
    within_timeout("a group that waits for a lock", async {
        while stage.count(WAITING).await == 0 && !group.is_finished() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// What became of a group; nothing where a busy machine held the lock for longer than a statement waits for it.
async fn outcome(group: Group) -> Option<HashSet<i64>> {
    match within_timeout("the group", group).await.unwrap() {
        Ok(conflicts) => Some(conflicts),
        Err(error) if error.is_of_one_statement() => None,
        Err(error) => panic!("{error}"),
    }
}

async fn state(stage: &TestStore, n: u32) -> (OrderState, i64) {
    let order = stage.store.order(&merchant(), &order_no(n)).await.unwrap().unwrap().order;
    (order.state, order.version)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_waits_for_its_first_order_holds_none_of_the_others() {
    while waits_for_its_first_order().await.is_none() {}
}

async fn waits_for_its_first_order() -> Option<()> {
    let (stage, orders) = three_orders().await;
    let other = Database::connect(stage.db.url()).await.unwrap();
    let lock = other.begin().await.unwrap();
    lock.execute_unprepared("SELECT * FROM orders WHERE order_no = 'A000001' FOR UPDATE").await.unwrap();
    let mut changes = payments(1, &orders);
    changes.reverse();
    let group = commits(&stage.store, changes);
    until_one_waits(&stage, &group).await;
    let free = "(SELECT id FROM orders WHERE order_no <> 'A000001' FOR UPDATE SKIP LOCKED) AS free";
    assert_eq!(stage.count(free).await, 2, "another process that has the first one may go on to them");
    lock.commit().await.unwrap();
    assert!(outcome(group).await?.is_empty());
    for n in 1..=3 {
        assert_eq!(state(&stage, n).await, (OrderState::Paid, 2), "order {n}");
    }
    Some(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_notifications_that_wait_for_their_first_order_hold_none_of_the_others() {
    let (stage, orders) = three_orders().await;
    let other = Database::connect(stage.db.url()).await.unwrap();
    let lock = other.begin().await.unwrap();
    lock.execute_unprepared("SELECT * FROM orders WHERE order_no = 'A000001' FOR UPDATE").await.unwrap();
    let refused = orders.iter().rev().map(refused).collect();
    let keeping = tokio::spawn({
        let store = stage.store.clone();
        async move { store.keep_refused(refused, |_, _| None).await }
    });
    within_timeout("notes that wait for a lock", async {
        while stage.count(WAITING).await == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let free = "(SELECT id FROM orders WHERE order_no <> 'A000001' FOR UPDATE SKIP LOCKED) AS free";
    assert_eq!(stage.count(free).await, 2, "another process that has the first one may go on to them");
    lock.commit().await.unwrap();
    within_timeout("the notes", keeping).await.unwrap().unwrap();
    assert_eq!(stage.count("refused_notifications").await, 3);
}

fn refused(order: &StoredOrder) -> RefusedNotification {
    let attempt = order.order.current().unwrap();
    RefusedNotification {
        id: EventId::new(),
        merchant: merchant(),
        kind: NotificationKind::Pay,
        reason: "amount_mismatch",
        hash: "0".repeat(64),
        body: b"<xml></xml>".to_vec(),
        headers: Vec::new(),
        remote_addr: "127.0.0.1".into(),
        received_at: NOW,
        out_trade_no: attempt.out_trade_no.clone(),
        transaction_id: None,
        attempt: UnpaidAttempt {
            order_id: order.order.id,
            mch_id: "1900000109".into(),
            appid: "wx8888888888888888".into(),
            amount: order.order.amount,
        },
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_waited_for_an_order_compares_its_last_version_and_loses_no_other_change_of_it() {
    while compares_the_last_version().await.is_none() {}
}

async fn compares_the_last_version() -> Option<()> {
    let (stage, orders) = three_orders().await;
    let other = Database::connect(stage.db.url()).await.unwrap();
    let held = other.begin().await.unwrap();
    for sql in [
        // A claim: no change of the order.
        "UPDATE orders SET placing_until_ms = 7, placing_version = version WHERE order_no = 'A000001'",
        "UPDATE orders SET version = version + 1 WHERE order_no = 'A000002'",
    ] {
        held.execute_unprepared(sql).await.unwrap();
    }
    let group = commits(&stage.store, payments(1, &orders));
    until_one_waits(&stage, &group).await;
    held.commit().await.unwrap();
    let conflicts = outcome(group).await?;
    assert_eq!(conflicts, HashSet::from([orders[1].order.id]));
    assert_eq!(state(&stage, 1).await, (OrderState::Paid, 2));
    assert_eq!(stage.count("orders WHERE order_no = 'A000001' AND placing_until_ms = 7").await, 1, "the claim is kept");
    assert_eq!(state(&stage, 2).await, (OrderState::Requested, 2), "as the other process left it");
    assert_eq!(state(&stage, 3).await, (OrderState::Paid, 2));
    for table in ["payments", "ledger", "evidence", "notifications", "outbox"] {
        assert_eq!(stage.count(table).await, 2, "{table}");
    }
    Some(())
}

/// Two processes of this version and one of the version before, which locks its orders with a statement of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_change_the_same_orders_change_each_once() {
    const ROUNDS: u32 = 10;
    const ORDERS: u32 = 8;
    let stage = TestStore::open(TestDb::postgres().await).await;
    let second = Store::open(&stage.db.settings()).await.unwrap();
    let before = Database::connect(stage.db.url()).await.unwrap();
    for round in 0..ROUNDS {
        let first = round * ORDERS + 1;
        let mut orders = Vec::new();
        for n in first..first + ORDERS {
            orders.push(stage.recorded(n).await);
        }
        let (changes, mut crosswise) = (payments(first, &orders), payments(first, &orders));
        crosswise.reverse();
        let (from, to) = (orders[0].order.id, orders[7].order.id);
        let older = async {
            let held = before.begin().await.unwrap();
            let lock = format!("SELECT id FROM orders WHERE id BETWEEN {from} AND {to} ORDER BY id FOR UPDATE");
            held.execute_unprepared(&lock).await.unwrap();
            let sql = format!("UPDATE orders SET version = 2 WHERE id IN ({from}, {to}) AND version = 1");
            let changed = held.execute_unprepared(&sql).await.unwrap().rows_affected();
            held.commit().await.unwrap();
            changed
        };
        let all = async { tokio::join!(commits(&stage.store, changes), commits(&second, crosswise), older) };
        let (one, two, older) = within_timeout("three processes", all).await;
        let lost = (one.unwrap().unwrap().len() + two.unwrap().unwrap().len()) as u64;
        assert_eq!(2 * u64::from(ORDERS) - lost + older, u64::from(ORDERS), "each was changed by one of the three");
        assert_eq!(stage.count(&format!("orders WHERE id >= {from} AND version = 2")).await, i64::from(ORDERS));
        let paid = u64::from(ORDERS) - older;
        let sql = format!("payments WHERE order_id BETWEEN {from} AND {to}");
        assert_eq!(u64::try_from(stage.count(&sql).await).unwrap(), paid);
    }
}
