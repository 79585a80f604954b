//! What a clock that was wrong for a while leaves behind in the database, and that it does not last as long as the jump
//! was.

use std::time::Duration;

use sea_orm::{ConnectionTrait, Database, TransactionTrait};
use wxpay_worker::clock::Timestamp;
use wxpay_worker::ids::EventId;
use wxpay_worker::order::{Queries, next_query};
use wxpay_worker::store::{DbKind, Fenced, JobOutcome, JobRun, Lease, NewOrder, StoredMessage};

use super::store::orders::{merchant, new_order};
use super::store::web::{NOW, seconds};
use crate::harness::db::TestDb;
use crate::harness::sql::number;
use crate::harness::store::TestStore;

const DAY: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3600);

impl TestStore {
    async fn minute_lease(&self, name: &'static str) -> Lease {
        self.store.lease(name, "one", seconds(60)).await.unwrap().unwrap()
    }

    /// When the one order there is is asked about next.
    async fn next(&self) -> Timestamp {
        Timestamp::from_ms(number(self.store.db(), "SELECT next_query_at_ms FROM orders").await)
    }
}

on_both_databases! {
    async fn a_due_time_of_a_clock_that_was_a_day_ahead_stops_no_job(stage) {
        let store = &stage.store;
        let lease = stage.minute_lease("retention").await;
        let next = NOW.after(HOUR);
        store.register_job("retention", "0 7 * * * *", 60_000, NOW, next).await.unwrap();
        let run_at = async |at: Timestamp, next: Timestamp| {
            let run = JobRun { started_at: at, ended_at: at, outcome: JobOutcome::Done, done: 1, detail: None };
            store.report_job(&lease, None, &run, next).await.unwrap();
        };
        run_at(NOW, next).await;
        // Another host's clock may differ a little: its due time is believed.
        run_at(NOW, next.after(seconds(10))).await;
        assert!(!store.is_job_due("retention", NOW, next).await.unwrap());
        store.register_job("retention", "0 7 * * * *", 60_000, NOW, next).await.unwrap();
        assert_eq!(store.jobs().await.unwrap()[0].next_due, next.after(seconds(10)));

        run_at(NOW.after(DAY), next.after(DAY)).await;
        assert!(store.is_job_due("retention", NOW, next).await.unwrap(), "not due for a day");
        store.register_job("retention", "0 7 * * * *", 60_000, NOW, next).await.unwrap();
        assert_eq!(store.jobs().await.unwrap()[0].next_due, next, "put right");
        assert!(!store.is_job_due("retention", NOW, next).await.unwrap(), "and run once, not again and again");
    }

    async fn a_lease_of_a_database_whose_clock_was_a_day_ahead_is_taken_over(stage) {
        let first = stage.minute_lease("relay").await;
        let take = async || stage.store.lease("relay", "two", seconds(60)).await.unwrap();
        assert_eq!(take().await, None);
        stage.execute("UPDATE leases SET expires_at_ms = expires_at_ms + 50000").await.unwrap();
        assert_eq!(take().await, None, "a small step of the clock takes no lease away");
        stage.execute("UPDATE leases SET expires_at_ms = expires_at_ms + 86400000").await.unwrap();
        assert_eq!(take().await.unwrap().term, first.term + 1);
    }

    async fn a_question_set_by_a_process_a_day_ahead_is_asked_now_and_what_the_schedule_sets_is_left_alone(stage) {
        // A busy machine may take longer than a minute for all of it.
        let lease = stage.store.lease("far_times", "one", HOUR).await.unwrap().unwrap();
        let recall = async |now| match stage.store.recall_far_times(&lease, now).await.unwrap() {
            Fenced::Done(count) => count,
            Fenced::Lost => panic!("the lease is held"),
        };
        let mut recalled = 0;
        for (n, expiry) in [2 * HOUR, 7 * DAY].into_iter().enumerate() {
            stage.execute("DELETE FROM attempts; DELETE FROM orders").await.unwrap();
            let n = u32::try_from(n).unwrap();
            let new = NewOrder { expires_at: NOW.after(expiry), ..new_order(n, 100) };
            let no = new.content.order_no.clone();
            stage.store.record_orders(&[new]).await.unwrap();
            let order = stage.store.order(&merchant(), &no).await.unwrap().unwrap().order;
            for age in [Duration::ZERO, HOUR / 2, 2 * HOUR, 3 * HOUR, DAY - HOUR, DAY, 8 * DAY] {
                for done in 0..9 {
                    let now = NOW.after(age);
                    let plan = next_query(&order, done, now);
                    let queries = Queries { done, next_at: Some(plan), answered_at: None };
                    let due = Some(stage.next().await);
                    stage.store.schedule_query(order.id, order.version, due, queries).await.unwrap();
                    assert_eq!(recall(now).await, 0, "{age:?}, {done} done: {plan}");
                    let plan = next_query(&order, done, now.after(DAY));
                    let queries = Queries { done, next_at: Some(plan), answered_at: None };
                    let due = Some(stage.next().await);
                    stage.store.schedule_query(order.id, order.version, due, queries).await.unwrap();
                    recalled += recall(now).await;
                    let waits = stage.next().await.since(now);
                    let longest = if age < DAY { HOUR } else { DAY } + seconds(60);
                    let at_expiry = stage.next().await == order.expires_at;
                    assert!(waits <= longest || at_expiry, "{age:?}, {done} done: waits {waits:?}");
                }
            }
        }
        assert!(recalled > 60, "{recalled}");
        stage.store.release(&lease).await.unwrap();
        stage.store.lease("far_times", "two", seconds(60)).await.unwrap();
        stage.execute("UPDATE orders SET next_query_at_ms = next_query_at_ms + 864000000000").await.unwrap();
        let far = stage.next().await;
        assert_eq!(stage.store.recall_far_times(&lease, NOW).await.unwrap(), Fenced::Lost);
        assert_eq!(stage.next().await, far, "one that lost its lease changes nothing");
    }

    async fn a_message_deferred_by_a_process_a_day_ahead_is_published_now_and_one_of_the_next_hour_is_left(stage) {
        let lease = stage.minute_lease("far_times").await;
        let message = StoredMessage {
            event_id: EventId::new().to_string(),
            consumer: "settle".into(),
            subject: "pay.in.notify.main".into(),
            headers: Vec::new(),
            payload: b"{}".to_vec(),
            attempts: 7,
            first_error: "away".into(),
            last_error: "away".into(),
        };
        stage.store.defer(&message, NOW.after(HOUR), NOW).await.unwrap();
        assert_eq!(stage.store.recall_far_times(&lease, NOW).await.unwrap(), Fenced::Done(0));
        assert_eq!(stage.store.due_messages(NOW, 10).await.unwrap().len(), 0);
        stage.store.defer(&message, NOW.after(DAY), NOW).await.unwrap();
        assert_eq!(stage.store.recall_far_times(&lease, NOW).await.unwrap(), Fenced::Done(1));
        assert_eq!(stage.store.due_messages(NOW, 10).await.unwrap()[0].event_id, message.event_id);
    }

    async fn more_times_than_one_write_changes_are_all_repaired(stage) {
        let lease = stage.minute_lease("far_times").await;
        let far = NOW.after(DAY).as_ms();
        let sql = format!(
            "WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 4500)
             INSERT INTO deferred (event_id, consumer, subject, headers, payload, attempts, first_error, last_error,
               next_attempt_at_ms)
             SELECT 'far-' || n, 'settle', 'pay.in.notify.main', '[]', '', 1, '', '', {far} FROM s"
        );
        stage.execute(&sql).await.unwrap();
        let mut left = 0;
        if stage.store.db().kind() == DbKind::Postgres {
            // A row that another transaction has is not waited for.
            let other = Database::connect(stage.db.url()).await.unwrap();
            let lock = other.begin().await.unwrap();
            lock.execute_unprepared("SELECT * FROM deferred WHERE event_id = 'far-7' FOR UPDATE").await.unwrap();
            assert_eq!(stage.store.recall_far_times(&lease, NOW).await.unwrap(), Fenced::Done(4499));
            lock.commit().await.unwrap();
            left = 4499;
        }
        assert_eq!(stage.store.recall_far_times(&lease, NOW).await.unwrap(), Fenced::Done(4500 - left));
        assert_eq!(stage.count(&format!("deferred WHERE next_attempt_at_ms = {}", NOW.as_ms())).await, 4500);
    }
}

/// All open orders are read for it, of which there may be millions: it must not hold up writes.
#[tokio::test]
async fn nothing_is_written_and_no_writer_waited_for_while_no_time_is_too_far_ahead() {
    let stage = TestStore::open(TestDb::sqlite()).await;
    let lease = stage.minute_lease("far_times").await;
    stage.store.record_orders(&[new_order(1, 100)]).await.unwrap();
    let locked = rusqlite::Connection::open(stage.db.url().trim_start_matches("sqlite://")).unwrap();
    locked.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(stage.store.recall_far_times(&lease, NOW).await.unwrap(), Fenced::Done(0));
    locked.execute_batch("UPDATE orders SET next_query_at_ms = next_query_at_ms + 864000000000; COMMIT").unwrap();
    assert_eq!(stage.store.recall_far_times(&lease, NOW).await.unwrap(), Fenced::Done(1));
}
