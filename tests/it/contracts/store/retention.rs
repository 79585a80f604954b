//! What is kept for a time: old rows go in small steps, and what is parked, held, unmatched or open stays.

use std::time::Duration;

use sea_orm::{ConnectionTrait, Database, DatabaseTransaction, TransactionTrait, Value};
use wxpay_worker::clock::Timestamp;
use wxpay_worker::event::fact::{Fact, Payment};
use wxpay_worker::store::{Fenced, Kept};

use super::orders::{NOW, change, event, payment};
use crate::harness::db::TestDb;
use crate::harness::store::{TestStore, commit};

const DAY: Duration = Duration::from_secs(86_400);
/// By the clock of the database: the audit's trigger goes by it.
const LONG_AGO: i64 = 1_000_000_000_000;

impl TestStore {
    /// Removes to the end; how many went, and in how many steps.
    async fn removed(&self, kept: Kept, before: Timestamp) -> (u64, u32) {
        let (mut removed, mut steps, mut from) = (0, 0, None);
        loop {
            let step = self.store.remove_expired(kept, from, before).await.unwrap();
            (removed, steps) = (removed + step.removed, steps + 1);
            assert!(step.removed <= 500, "one step keeps other writes waiting");
            match step.next {
                Some(next) => from = Some(next),
                None => return (removed, steps),
            }
        }
    }

    async fn run(&self, sql: &str, values: impl Into<Vec<Value>>) {
        self.store.db().execute("test", sql.to_owned(), values.into()).await.unwrap();
    }

    /// What is left, by name.
    async fn left(&self, table: &str, column: &str) -> Vec<String> {
        let sql = format!("SELECT {column} AS name FROM {table} ORDER BY {column}");
        let rows = self.store.db().read().query_all_raw(self.store.db().statement(sql, [])).await.unwrap();
        rows.iter().map(|row| row.try_get("", "name").unwrap()).collect()
    }
}

/// A table that no other connection can write until this is dropped.
enum Locked {
    Sqlite { _connection: rusqlite::Connection },
    Postgres { _transaction: DatabaseTransaction },
}

impl Locked {
    async fn by_another(db: &TestDb, table: &str) -> Locked {
        if let Some(file) = db.url().strip_prefix("sqlite://") {
            let connection = rusqlite::Connection::open(file).unwrap();
            connection.execute_batch("BEGIN IMMEDIATE").unwrap();
            return Locked::Sqlite { _connection: connection };
        }
        let transaction = Database::connect(db.url()).await.unwrap().begin().await.unwrap();
        transaction.execute_unprepared(&format!("LOCK TABLE {table} IN SHARE MODE")).await.unwrap();
        Locked::Postgres { _transaction: transaction }
    }
}

const EVENTS: &str = "INSERT INTO outbox (event_id, merchant, subject, event_type, payload, created_at_ms, position,
                                          relayed_at_ms)
     WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1300)
     SELECT 'e' || i, 'main', 's', 't', '{}', i, CASE WHEN i < 1300 THEN i END, CASE WHEN i < 1200 THEN i END FROM n";

on_both_databases! {
    async fn the_feed_loses_its_oldest_events_in_order_and_none_that_the_bus_has_not_got(stage) {
        stage.run(EVENTS, []).await;
        assert_eq!(stage.removed(Kept::Outbox, Timestamp::from_ms(800)).await, (799, 2));
        assert_eq!(stage.store.event_id_at(799).await.unwrap(), None);
        assert_eq!(stage.store.event_id_at(800).await.unwrap().as_deref(), Some("e800"));
        // A clock that was ahead wrote one of an event's times, not both.
        stage.run("UPDATE outbox SET created_at_ms = 99999999999 WHERE position = 900", []).await;
        assert_eq!(stage.removed(Kept::Outbox, Timestamp::from_ms(1_000_000)).await.0, 400);
        assert_eq!(stage.count("outbox WHERE relayed_at_ms IS NULL").await, 101, "1200 to 1299 and the one unplaced");
        assert_eq!(stage.count("outbox").await, 101);
    }

    async fn the_last_event_stays_and_no_position_is_given_out_again(stage) {
        stage.run("INSERT INTO outbox (event_id, merchant, subject, event_type, payload, created_at_ms, position,
                                       relayed_at_ms) VALUES ('a', 'main', 's', 't', '{}', 1, 7, 1),
                                                             ('b', 'main', 's', 't', '{}', 1, 8, 1)", []).await;
        assert_eq!(stage.removed(Kept::Outbox, NOW).await.0, 1);
        assert_eq!(stage.left("outbox", "event_id").await, ["b"]);
        let data = event(1);
        let order = stage.recorded(1).await;
        let mut paid = change(&order, 1, Fact::Paid(payment(1, 1)));
        paid.events = vec![data.clone()];
        commit(&stage.store, &[paid], NOW).await.unwrap();
        let lease = stage.store.lease("relay", "me", DAY).await.unwrap().unwrap();
        assert!(matches!(stage.store.place_events(&lease, 10).await.unwrap(), Fenced::Done(_)));
        assert_eq!(stage.store.event_id_at(9).await.unwrap(), Some(data.id.to_string()));
    }

    async fn notifications_of_what_is_parked_held_unmatched_or_open_stay(stage) {
        let mut orders = Vec::new();
        for n in 1..=4 {
            orders.push(stage.recorded(n).await);
        }
        let late = |n| Payment { time_end: NOW.after(DAY), ..payment(n, n) };
        let [first, second, fourth] = [(1, payment(1, 1)), (2, late(2)), (4, payment(4, 4))];
        for (order, (n, paid)) in [(&orders[0], first), (&orders[1], second), (&orders[3], fourth)] {
            commit(&stage.store, &[change(order, n, Fact::Paid(paid))], NOW).await.unwrap();
        }
        stage.run("DELETE FROM notifications", []).await;
        stage.run("INSERT INTO payments (merchant, transaction_id, version, class, out_trade_no, mch_id, appid,
                                         amount_fen, currency, paid_at_ms, recorded_at_ms, updated_at_ms)
                   VALUES ('main', 'unmatched', 1, 'unmatched', 'X', 'm', 'a', 1, 'CNY', 1, 1, 1)", []).await;
        let sql = "INSERT INTO notifications (event_id, merchant, kind, body, headers, remote_addr, received_at_ms,
                                              processed_at_ms, verdict, transaction_id, order_id)
                   VALUES ($1, 'main', 'pay', '', '[]', '', $2, 1, $3, $4, $5)";
        let transaction = |n| Some(payment(n, n).transaction_id.to_string());
        let (paid, held, open) = (orders[0].order.id, orders[1].order.id, orders[2].order.id);
        for (name, at, verdict, transaction, order) in [
            ("1 gone", 1, "settled", transaction(1), Some(paid)),
            ("2 gone", 1, "duplicate", transaction(1), None),
            ("3 gone", 1, "rejected", None, None),
            ("4 waits", 1, "waiting", None, None),
            ("5 parked", 1, "parked", None, None),
            ("6 held", 1, "settled", transaction(2), Some(held)),
            ("7 unmatched", 1, "no_payment", Some("unmatched".into()), None),
            ("8 open", 1, "no_payment", None, Some(open)),
            ("9 young", 5, "settled", transaction(1), Some(paid)),
        ] {
            let at: i64 = at;
            let values: [Value; 5] = [name.into(), at.into(), verdict.into(), transaction.into(), order.into()];
            stage.run(sql, values).await;
        }
        let proof = (stage.count("ledger").await, stage.count("evidence").await, stage.count("payments").await);
        assert_eq!(stage.removed(Kept::Notifications, Timestamp::from_ms(5)).await.0, 3);
        let left = ["4 waits", "5 parked", "6 held", "7 unmatched", "8 open", "9 young"];
        assert_eq!(stage.left("notifications", "event_id").await, left);
        // A refund of the order that is under way.
        stage.run("INSERT INTO refund_totals VALUES ('main', 'T4', 'A000004', $1, 1, 1, 0, 1, 0, NULL)",
                  [orders[3].order.id.into()]).await;
        stage.run("INSERT INTO refunds (merchant, refund_no, order_id, order_no, out_trade_no, transaction_id, version,
                     state, origin, amount_fen, total_fen, requested_by, content_hash, params, sign_type, delayed,
                     calls, queries_done, next_at_ms, created_at_ms, updated_at_ms)
                   VALUES ('main', 'R1', $1, 'A000004', 'A000004', 'T4', 1, 'requested', 'api', 1, 1, 'r', 'h', '{}',
                           'MD5', FALSE, 0, 0, 1, 1, 1)", [orders[3].order.id.into()]).await;
        stage.run("UPDATE notifications SET order_id = $1, transaction_id = NULL WHERE event_id = '9 young'",
                  [orders[3].order.id.into()]).await;
        assert_eq!(stage.removed(Kept::Notifications, NOW).await.0, 0);
        let now = (stage.count("ledger").await, stage.count("evidence").await, stage.count("payments").await);
        assert_eq!(now, proof, "the books stay");
    }

    async fn many_old_rows_go_in_steps(stage) {
        stage.run("INSERT INTO notifications (event_id, merchant, kind, body, headers, remote_addr, received_at_ms,
                                              processed_at_ms, verdict)
                   WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1700)
                   SELECT 'n' || (10000 + i), 'main', 'pay', '', '[]', '', i, i,
                          CASE WHEN i % 10 = 0 THEN 'parked' ELSE 'settled' END FROM n", []).await;
        assert_eq!(stage.removed(Kept::Notifications, Timestamp::from_ms(1601)).await, (1440, 4));
        assert_eq!(stage.count("notifications").await, 160 + 100);
    }

    async fn young_deliveries_cost_no_write(stage) {
        // All ended lately; the first 700 were made long ago.
        stage.run("INSERT INTO webhook_deliveries (endpoint_id, merchant, event_id, event_type, position, state,
                                                   attempts, tries, due_at_ms, created_at_ms, ended_at_ms)
                   WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2200)
                   SELECT 'e', 'main', 'v' || i, 't', i, 'delivered', 1, 1, 1,
                          CASE WHEN i <= 700 THEN 1 ELSE 2000 END, 2000 FROM n", []).await;
        let before = Timestamp::from_ms(1000);
        let young = {
            let _locked = Locked::by_another(&stage.db, "webhook_deliveries").await;
            stage.removed(Kept::WebhookDeliveries, before).await
        };
        assert_eq!(young, (0, 3), "up to the first 500 that were made since");
        stage.run("UPDATE webhook_deliveries SET ended_at_ms = 999 WHERE event_id IN ('v3', 'v600')", []).await;
        assert_eq!(stage.removed(Kept::WebhookDeliveries, before).await, (2, 3));
        assert_eq!(stage.count("webhook_deliveries").await, 2198);
    }

    async fn idempotency_keys_outlive_their_period_while_their_order_is_open(stage) {
        let orders = [stage.recorded(1).await, stage.recorded(2).await, stage.recorded(3).await];
        commit(&stage.store, &[change(&orders[0], 1, Fact::Paid(payment(1, 1)))], NOW).await.unwrap();
        let late = Payment { time_end: NOW.after(DAY), ..payment(2, 2) };
        commit(&stage.store, &[change(&orders[1], 2, Fact::Paid(late))], NOW).await.unwrap();
        for (key, order_no, at) in [("1 gone", "A000001", 1), ("2 held", "A000002", 1), ("3 open", "A000003", 1),
                                    ("4 young", "A000001", 5)] {
            let at: i64 = at;
            stage.run("INSERT INTO idempotency_keys VALUES ('shop', $1, 'h', 'main', $2, $3)",
                      [key.into(), order_no.into(), at.into()]).await;
        }
        for (number, order, at) in [("R1 gone", 0, 1), ("R2 held", 1, 1), ("R3 open", 2, 1), ("R4 young", 0, 5)] {
            let (id, at): (i64, i64) = (orders[order].order.id, at);
            stage.run("INSERT INTO refund_targets VALUES ('main', $1, $2, 'T', $3)",
                      [number.into(), id.into(), at.into()]).await;
        }
        let before = Timestamp::from_ms(5);
        assert_eq!(stage.removed(Kept::IdempotencyKeys, before).await.0, 1);
        assert_eq!(stage.left("idempotency_keys", "idempotency_key").await, ["2 held", "3 open", "4 young"]);
        assert_eq!(stage.removed(Kept::RefundTargets, before).await.0, 1);
        assert_eq!(stage.left("refund_targets", "refund_no").await, ["R2 held", "R3 open", "R4 young"]);
    }

    async fn a_dead_letter_s_period_begins_when_it_was_replayed_or_discarded(stage) {
        for (id, state) in [("1", "parked"), ("2", "replayed"), ("3", "discarded")] {
            stage.run("INSERT INTO dead_letters (event_id, consumer, subject, headers, payload, reason, first_error,
                                                 last_error, attempts, parked_at_ms, state)
                       VALUES ($1, 'c', 's', '[]', '', 'r', 'e', 'e', 1, 1, $2)", [id.into(), state.into()]).await;
        }
        assert_eq!(stage.removed(Kept::DeadLetters, NOW).await.0, 0, "parked long ago, ended only now");
        assert_eq!(stage.store.date_dead_letters(NOW).await.unwrap(), 2);
        assert_eq!(stage.store.date_dead_letters(NOW.after(DAY)).await.unwrap(), 0);
        assert_eq!(stage.removed(Kept::DeadLetters, NOW).await.0, 0);
        assert_eq!(stage.removed(Kept::DeadLetters, NOW.after(DAY)).await.0, 2);
        assert_eq!(stage.left("dead_letters", "event_id").await, ["1"]);
    }

    async fn the_audit_loses_old_rows_alone_and_the_database_itself_keeps_those_of_a_year(stage) {
        let now = stage.store.db().now().await.unwrap();
        for (who, at) in [("old", LONG_AGO), ("recent", now.as_ms())] {
            stage.run("INSERT INTO audit (at_ms, actor, remote_addr, action, merchant, result)
                       VALUES ($1, $2, '', 'a', 'main', 'r')", [at.into(), who.into()]).await;
        }
        assert_eq!(stage.removed(Kept::Audit, Timestamp::from_ms(LONG_AGO + 1)).await.0, 1);
        assert_eq!(stage.left("audit", "actor").await, ["recent"]);
        for sql in ["DELETE FROM audit", "UPDATE audit SET actor = 'x'"] {
            let refused = stage.execute(sql).await.unwrap_err().to_string();
            assert!(refused.contains("audit is append-only"), "{refused}");
        }
    }

    async fn payers_are_forgotten_a_while_after_their_last_login(stage) {
        for (id, at) in [(1, 1), (2, 1), (3, 5)] {
            let (id, at): (i64, i64) = (id, at);
            stage.run("INSERT INTO users (id, app, openid, is_snapshot, created_at_ms, updated_at_ms)
                       VALUES ($1, 'shop', CAST($1 AS TEXT), FALSE, 1, $2)", [id.into(), at.into()]).await;
        }
        stage.run("INSERT INTO login_codes VALUES ('c', 'shop', 's', 1, 'logged_in', 2, FALSE, 1)", []).await;
        assert_eq!(stage.removed(Kept::Users, Timestamp::from_ms(5)).await.0, 1);
        assert_eq!(stage.left("users", "openid").await, ["2", "3"], "a code of the last hour names its user");
        assert_eq!(stage.removed(Kept::Quarantine, NOW).await.0, 0);
    }
}
