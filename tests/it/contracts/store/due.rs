//! What is due is read in the order of an index: with many rows due, nothing sorts or scans them.

use std::time::Duration;

use sea_orm::{ConnectionTrait, Database, TransactionTrait};
use wxpay_worker::clock::Timestamp;
use wxpay_worker::order::Queries;
use wxpay_worker::store::{DbKind, Fenced, due_statements};

use super::orders::{NOW, merchant, order_no};
use crate::harness::db::TestDb;
use crate::harness::store::TestStore;

/// Orders that are due; of everything else a tenth or a quarter of it.
const ROWS: u32 = 200_000;

const ORDERS: &str = "
     INSERT INTO orders (merchant, order_no, app, state, version, amount_fen, currency, content, content_hash,
                         requested_by, order_token, outcome_unknown, paid_late, paid_twice, amount_mismatch,
                         created_at_ms, expires_at_ms, updated_at_ms, queries_done, next_query_at_ms, next_look_at_ms,
                         transaction_id, paid_at_ms)
     WITH RECURSIVE n (i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last})
     SELECT CASE WHEN i % 10 = 0 THEN 'other' ELSE 'main' END, 'D' || i, 'shop',
            CASE WHEN i % 4 = 0 THEN 'paid' ELSE 'payable' END, 1, 1, 'CNY', '{}', 'h', 'r', 't', FALSE, FALSE, FALSE,
            FALSE, 1, 1, 1, 0, CASE WHEN i % 4 <> 0 THEN i * 7919 % 1000003 END,
            CASE WHEN i % 4 = 0 THEN i * 7919 % 1000003 END, CASE WHEN i % 4 = 0 THEN '' || i END,
            CASE WHEN i % 4 = 0 THEN 1 END FROM n";

const FILL: [&str; 8] = [
    "INSERT INTO refund_totals (merchant, transaction_id, out_trade_no, order_id, paid_fen, reserved_fen, refunded_fen,
                                count, next_call_at_ms)
     SELECT merchant, order_no, order_no, id, 1, 1, 0, 1, 0 FROM orders WHERE id % 4 = 0",
    "INSERT INTO refunds (merchant, refund_no, order_id, order_no, out_trade_no, transaction_id, version, state, origin,
                          amount_fen, total_fen, requested_by, content_hash, params, sign_type, delayed, calls,
                          queries_done, next_at_ms, created_at_ms, updated_at_ms)
     SELECT merchant, transaction_id, order_id, out_trade_no, out_trade_no, transaction_id, 1, 'requested', 'api', 1, 1,
            'r', 'h', '{}', 'MD5', FALSE, 0, 0, order_id * 7919 % 1000003, 1, 1 FROM refund_totals",
    "INSERT INTO notifications (event_id, merchant, kind, body, headers, remote_addr, received_at_ms, processed_at_ms,
                                verdict)
     SELECT order_no, merchant, 'pay', '', '[]', '', 1, id * 7919 % 1000003,
            CASE WHEN id % 20 = 0 THEN 'waiting' ELSE 'settled' END FROM orders WHERE id % 5 = 0",
    "INSERT INTO payments (merchant, transaction_id, version, class, reason, order_id, order_no, out_trade_no, mch_id,
                           appid, amount_fen, currency, paid_at_ms, recorded_at_ms, updated_at_ms)
     SELECT merchant, order_no, 1, CASE WHEN id % 5000 = 0 THEN 'held' ELSE 'credited' END,
            CASE WHEN id % 5000 = 0 THEN 'late' END, id, order_no, order_no, 'm', 'a', 1, 'CNY', 1, 1, 1
     FROM orders WHERE id % 4 = 0",
    "INSERT INTO orphaned_payments (merchant, transaction_id, notification_id, told_at_ms, entered)
     SELECT merchant, order_no, order_no, id, id % 10000 <> 0 FROM orders WHERE id % 5 = 0",
    "INSERT INTO outbox (event_id, merchant, subject, event_type, payload, created_at_ms, position)
     SELECT order_no, merchant, 's', 't', '{}', 1, id FROM orders WHERE id % 10 = 0",
    "INSERT INTO dead_letters (event_id, consumer, subject, headers, payload, reason, first_error, last_error, attempts,
                               parked_at_ms, state)
     SELECT order_no, 'c', 's', '[]', '', 'r', 'e', 'e', 1, 1, CASE WHEN id % 50 = 0 THEN 'parked' ELSE 'replayed' END
     FROM orders WHERE id % 10 = 0",
    "INSERT INTO deferred (event_id, consumer, subject, headers, payload, attempts, first_error, last_error,
                          next_attempt_at_ms)
    SELECT order_no, 'c', 's', '[]', '', 1, 'e', 'e', id * 7919 % 1000003 FROM orders WHERE id % 10 = 0",
];

/// With values in place of the parameters.
fn explained(kind: DbKind, name: &str, sql: &str) -> String {
    let values: &[&str] = match name {
        "orders.has_due" => &["'main'", "2000000"],
        "orders.far" => &["5600000", "0", "90000000", "600000"],
        "orders.take_due" => &["'main'", "2000000", "3000000", "300"],
        "orders.merchants" | "refunds.has_due" => &["2000000"],
        "refunds.take_due" => &["2000000", "3000000", "200"],
        "notifications.forgotten" => &["2000000", "3000000", "200"],
        "deferred.due" => &["2000000", "200"],
        "outbox.unrelayed" | "orphaned_payments.not_entered" | "payments.refunded" => &["200"],
        _ => &[],
    };
    let explain = match kind {
        DbKind::Sqlite => "EXPLAIN QUERY PLAN",
        DbKind::Postgres => "EXPLAIN",
    };
    let mut sql = format!("{explain} {sql}");
    for (i, value) in values.iter().enumerate().rev() {
        sql = sql.replace(&format!("${}", i + 1), value);
    }
    // The driver's own statements on SQLite.
    for value in values {
        sql = sql.replacen('?', value, 1);
    }
    sql
}

/// The lines of a plan that read a whole table or sort.
fn wasteful(kind: DbKind, plan: &[String]) -> Vec<&String> {
    let is_wasteful = |line: &&String| match kind {
        DbKind::Postgres => line.contains("Seq Scan") || line.contains("Sort"),
        DbKind::Sqlite => {
            let tables = ["orders", "refunds", "deferred", "notifications", "outbox", "dead_letters", "p", "o", "t"];
            let scans = tables.iter().any(|table| line.starts_with(&format!("SCAN {table}")));
            line.contains("TEMP B-TREE") || scans && !line.contains(" USING ")
        }
    };
    plan.iter().filter(is_wasteful).collect()
}

on_both_databases! {
    async fn what_is_due_is_read_in_the_order_of_an_index(stage) {
        let kind = stage.store.db().kind();
        for first in (1..=ROWS).step_by(20_000) {
            let last = first + 19_999;
            let sql = ORDERS.replace("{first}", &first.to_string()).replace("{last}", &last.to_string());
            stage.execute(&sql).await.unwrap();
        }
        for sql in FILL {
            stage.execute(sql).await.unwrap();
        }
        stage.analyze().await;
        for (name, sql) in due_statements(kind) {
            let sql = explained(kind, name, &sql);
            let rows = stage.store.db().read().query_all_raw(stage.store.db().statement(sql, [])).await.unwrap();
            let column = if kind == DbKind::Postgres { "QUERY PLAN" } else { "detail" };
            let plan: Vec<String> = rows.iter().map(|row| row.try_get("", column).unwrap()).collect();
            assert_eq!(wasteful(kind, &plan), [] as [&String; 0], "{name}: {plan:#?}");
        }
        let known = stage.store.merchants_to_ask_about(NOW).await.unwrap();
        assert_eq!(known.iter().map(ToString::to_string).collect::<Vec<_>>(), ["main", "other"]);
    }

    async fn a_poll_requested_while_an_order_is_polled_stays(stage) {
        stage.recorded(1).await;
        let order = stage.store.order(&merchant(), &order_no(1)).await.unwrap().unwrap().order;
        let (id, version, read) = (order.id, order.version, order.queries.next_at);
        let at = |seconds| Some(NOW.after(Duration::from_secs(seconds)));
        let due = async || stage.store.order(&merchant(), &order_no(1)).await.unwrap().unwrap().order.queries.next_at;
        let schedule = async |read, next_at| {
            let queries = Queries { next_at, ..order.queries };
            stage.store.schedule_query(id, version, read, queries).await.unwrap();
        };
        schedule(read, at(3000)).await;
        assert_eq!(due().await, at(3000));
        stage.store.poll_order_by(id, NOW.after(Duration::from_secs(60))).await.unwrap();
        for later in [at(600), None] {
            schedule(at(3000), later).await;
            assert_eq!(due().await, at(60), "{later:?}");
        }
        schedule(at(3000), at(20)).await;
        assert_eq!(due().await, at(20));
        schedule(at(20), None).await;
        assert_eq!(due().await, None);
    }

    async fn orders_are_taken_in_the_order_in_which_they_were_due_whatever_their_state(stage) {
        for n in 1..=4 {
            stage.recorded(n).await;
        }
        for (n, seconds, state) in [(1, 30, "payable"), (2, 10, "closed"), (3, 20, "payable")] {
            let order = stage.store.order(&merchant(), &order_no(n)).await.unwrap().unwrap();
            let at = NOW.after(Duration::from_secs(seconds));
            let sql = "UPDATE orders SET next_query_at_ms = NULL, state = $2 WHERE id = $1";
            stage.store.db().execute("test", String::from(sql), [order.order.id.into(), state.into()]).await.unwrap();
            let queries = Queries { next_at: Some(at), ..order.order.queries };
            stage.store.schedule_query(order.order.id, order.order.version, None, queries).await.unwrap();
        }
        let lease = stage.store.lease("pending_queries", "me", Duration::from_secs(60)).await.unwrap().unwrap();
        let at = NOW.after(Duration::from_secs(25));
        assert!(stage.store.has_due_query(&merchant(), at).await.unwrap());
        let put_off = Duration::from_secs(600);
        for expected in [Some(2), Some(3), None] {
            let taken = stage.store.take_due_queries(&lease, &merchant(), at, put_off, 1).await.unwrap();
            assert_eq!(taken, Fenced::Done(expected.map(order_no).into_iter().collect::<Vec<_>>()));
        }
        assert!(!stage.store.has_due_query(&merchant(), at).await.unwrap());
    }

    async fn of_many_open_orders_each_is_asked_about_and_what_was_done_before_an_error_stays(stage) {
        // Several steps of one merchant; 6000 of them are open.
        stage.execute(&ORDERS.replace("{first}", "1").replace("{last}", "8000")).await.unwrap();
        for sql in &FILL[..2] {
            stage.execute(sql).await.unwrap();
        }
        let [refuse, take] = match stage.store.db().kind() {
            DbKind::Sqlite => [
                "CREATE TRIGGER refused BEFORE UPDATE ON orders WHEN NEW.order_no = 'D5001'
                 BEGIN SELECT RAISE(ABORT, 'refused'); END",
                "DROP TRIGGER refused",
            ],
            DbKind::Postgres => [
                "ALTER TABLE orders ADD CONSTRAINT refused
                 CHECK (order_no <> 'D5001' OR next_query_at_ms > 0) NOT VALID",
                "ALTER TABLE orders DROP CONSTRAINT refused",
            ],
        };
        stage.execute(refuse).await.unwrap();
        let now = Timestamp::from_ms(0);
        stage.store.ask_about_all_open(now).await.unwrap_err();
        let asked = stage.count("orders WHERE next_query_at_ms = 0").await;
        assert!((1..6000).contains(&asked), "{asked} of 6000 are asked about");
        stage.execute(take).await.unwrap();
        stage.store.ask_about_all_open(now).await.unwrap();
        assert_eq!(stage.count("orders WHERE state = 'payable' AND next_query_at_ms = 0").await, 6000);
        assert_eq!(stage.count("orders WHERE state = 'paid' AND next_query_at_ms IS NULL").await, 2000);
        assert_eq!(stage.count("refunds WHERE next_at_ms = 0").await, 2000);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stays_locked_keeps_nothing_else_from_being_asked_about() {
    let stage = TestStore::open(TestDb::postgres().await).await;
    stage.execute(&ORDERS.replace("{first}", "1").replace("{last}", "8000")).await.unwrap();
    for sql in &FILL[..2] {
        stage.execute(sql).await.unwrap();
    }
    // In the first step and in the last one of their merchant.
    let other = Database::connect(stage.db.url()).await.unwrap();
    let lock = other.begin().await.unwrap();
    let locked = "SELECT * FROM orders WHERE order_no IN ('D1', 'D7999') FOR UPDATE";
    lock.execute_unprepared(locked).await.unwrap();
    let now = Timestamp::from_ms(0);
    let error = stage.store.ask_about_all_open(now).await.unwrap_err();
    assert!(error.is_of_one_statement(), "{error}");
    assert_eq!(stage.count("orders WHERE state = 'payable' AND next_query_at_ms = 0").await, 5998);
    assert_eq!(stage.count("refunds WHERE next_at_ms = 0").await, 2000);
    lock.rollback().await.unwrap();
    stage.store.ask_about_all_open(now).await.unwrap();
    assert_eq!(stage.count("orders WHERE state = 'payable' AND next_query_at_ms = 0").await, 6000);
}
