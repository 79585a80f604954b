//! Refunds that WeChat accepted in one month and that ended in another: each counts in the figures of one month, or
//! beside those of a later one, whatever is closed and whatever a bill says of their day.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement, TransactionTrait};
use serde_json::{Value, json};
use wxpay_worker::clock::Timestamp;
use wxpay_worker::ops::reports::{Figures, Month, ledger_page, period};
use wxpay_worker::store::{BilledRefund, BookRange, PeriodChange};

use super::months::{at, close, closing, main, reopen};
use crate::harness::db::TestDb;
use crate::harness::service::TestService;
use crate::harness::sql::number;
use crate::harness::store::TestStore;
use crate::harness::within_timeout;
use crate::reconcile::assert_proof;
use crate::settling::on_both;

const NOW: &str = "2027-02-01 00:00:00";
const MONTHS: [&str; 5] = ["2026-10", "2026-11", "2026-12", "2027-01", "2027-02"];

/// A refund that WeChat accepted and that has not ended.
async fn accepted(stage: &TestStore, refund_no: &str, fen: i64, accepted_at: &str) {
    let at = at(accepted_at).as_ms();
    let sql = format!(
        "INSERT INTO refund_totals (merchant, transaction_id, out_trade_no, paid_fen, reserved_fen, refunded_fen, count,
                                    next_call_at_ms)
         VALUES ('main', 'T{refund_no}', 'N{refund_no}', {fen}, {fen}, 0, 1, 0);
         INSERT INTO refunds (merchant, refund_no, out_trade_no, transaction_id, version, state, origin, amount_fen,
                              total_fen, requested_by, content_hash, params, sign_type, refund_id, delayed, calls,
                              queries_done, next_at_ms, created_at_ms, updated_at_ms, accepted_at_ms)
         VALUES ('main', '{refund_no}', 'N{refund_no}', 'T{refund_no}', 1, 'processing', 'api', {fen}, {fen}, 'r', 'h',
                 '{{}}', 'MD5', 'W{refund_no}', FALSE, 1, 0, 1, {at}, {at}, {at})"
    );
    stage.execute(&sql).await.unwrap();
}

/// The payer has the money, which is recorded at the same moment.
async fn ended(stage: &TestStore, refund_no: &str, ended_at: &str) {
    let at = at(ended_at).as_ms();
    let sql = format!(
        "UPDATE refunds SET state = 'succeeded', succeeded_at_ms = {at}, next_at_ms = NULL
         WHERE refund_no = '{refund_no}';
         INSERT INTO refund_ledger (merchant, refund, refund_version, out_trade_no, transaction_id, refund_no,
                                    refund_id, amount_fen, currency, occurred_at_ms, recorded_at_ms)
         SELECT merchant, id, 2, out_trade_no, transaction_id, refund_no, refund_id, amount_fen, currency, {at}, {at}
         FROM refunds WHERE refund_no = '{refund_no}'"
    );
    stage.execute(&sql).await.unwrap();
}

/// A refund as the bill of its day has it.
fn of_bill(refund_no: &str, at: Timestamp) -> BilledRefund {
    let (merchant, day) = (main(), at.to_beijing_day());
    BilledRefund { merchant, refund_no: refund_no.to_owned(), at, day, oldest: String::new(), now: at }
}

/// The bill has a refund at another time than our books: whether they take it on.
async fn billed(stage: &TestStore, refund_no: &str, billed_at: &str) -> bool {
    stage.store.note_refund_accepted(&of_bill(refund_no, at(billed_at))).await.unwrap()
}

/// What the months come to, each with what counts beside its figures; and that it is what the ledger says.
async fn months(stage: &TestStore) -> BTreeMap<&'static str, i64> {
    let mut months = BTreeMap::new();
    for month in MONTHS {
        let view = period(&stage.store, &main(), Month::parse(month).unwrap(), at(NOW)).await.unwrap();
        let figures: Figures = serde_json::from_str(view.figures.get()).unwrap();
        let beside: i64 = view.adjustments.iter().map(|adjustment| adjustment.amount_fen).sum();
        months.insert(month, figures.payments_fen - figures.refunds_fen + beside);
    }
    let range = BookRange { merchant: main(), from: Timestamp::from_ms(0), to: at(NOW) };
    let mut by_row: BTreeMap<&str, i64> = MONTHS.iter().map(|month| (*month, 0)).collect();
    for line in ledger_page(&stage.store, &range, None, 1000).await.unwrap().lines {
        *by_row.get_mut(line.period.month.as_str()).unwrap() += line.row.change_fen;
    }
    assert_eq!(months, by_row, "figures and adjustments, and the rows' own months");
    let ledger = "SELECT CAST(COALESCE(SUM(amount_fen), 0) AS BIGINT) FROM refund_ledger";
    assert_eq!(months.values().sum::<i64>(), -number(stage.store.db(), ledger).await, "all of the ledger, once");
    months.retain(|_, fen| *fen != 0);
    months
}

fn expected<const N: usize>(months: [(&'static str, i64); N]) -> BTreeMap<&'static str, i64> {
    months.into()
}

on_both! {
    async fn a_refund_counts_once_whenever_it_ends(db: TestDb) {
        let stage = TestStore::open(db).await;
        // Ended within its month, before the closing of it, after it, and after the closing of the next one.
        accepted(&stage, "R1", 1, "2026-11-10 10:00:00").await;
        accepted(&stage, "R2", 2, "2026-11-30 21:00:00").await;
        accepted(&stage, "R3", 4, "2026-11-30 20:00:00").await;
        accepted(&stage, "R4", 8, "2026-11-29 20:00:00").await;
        accepted(&stage, "R5", 16, "2026-12-02 10:00:00").await;
        // Of a month that was never closed.
        accepted(&stage, "R6", 32, "2026-10-31 10:00:00").await;
        ended(&stage, "R1", "2026-11-10 10:00:03").await;
        ended(&stage, "R2", "2026-12-01 02:00:00").await;
        assert_eq!(months(&stage).await, expected([("2026-11", -3)]));
        assert_eq!(close(&stage, "2026-11", "2026-12-01 12:30:00").await, PeriodChange::Done);
        ended(&stage, "R3", "2026-12-03 09:00:00").await;
        ended(&stage, "R5", "2026-12-03 09:00:01").await;
        ended(&stage, "R6", "2026-12-03 09:00:02").await;
        let counted = expected([("2026-10", -32), ("2026-11", -3), ("2026-12", -20)]);
        assert_eq!(months(&stage).await, counted);
        assert_eq!(close(&stage, "2026-12", "2027-01-01 12:30:00").await, PeriodChange::Done);
        assert_eq!(months(&stage).await, counted);
        ended(&stage, "R4", "2027-01-02 09:00:00").await;
        let counted = expected([("2026-10", -32), ("2026-11", -3), ("2026-12", -20), ("2027-01", -8)]);
        assert_eq!(months(&stage).await, counted);

        let december = period(&stage.store, &main(), Month::parse("2026-12").unwrap(), at(NOW)).await.unwrap();
        let adjusts: Vec<_> =
            december.adjustments.iter().map(|a| (a.number.as_str(), a.adjusts.as_str(), a.amount_fen)).collect();
        assert_eq!(adjusts, [("R3", "2026-11-30", -4)]);
        let range = BookRange { merchant: main(), from: Timestamp::from_ms(0), to: at(NOW) };
        let lines = ledger_page(&stage.store, &range, None, 100).await.unwrap().lines;
        let periods: BTreeMap<_, _> = lines
            .iter()
            .map(|line| (line.row.refund_no.as_deref().unwrap(), (&*line.period.month, line.period.adjusts.as_deref())))
            .collect();
        let rows = [
            ("R1", ("2026-11", None)),
            ("R2", ("2026-11", None)),
            ("R3", ("2026-12", Some("2026-11-30"))),
            ("R4", ("2027-01", Some("2026-11-29"))),
            ("R5", ("2026-12", None)),
            ("R6", ("2026-10", None)),
        ];
        assert_eq!(periods, BTreeMap::from(rows));

        // What was an adjustment is part of a month that is reopened.
        assert_eq!(reopen(&stage, "2026-12").await, PeriodChange::Done);
        assert_eq!(reopen(&stage, "2026-11").await, PeriodChange::Done);
        assert_eq!(months(&stage).await, expected([("2026-10", -32), ("2026-11", -15), ("2026-12", -16)]));
    }

    async fn a_bill_moves_no_refund_that_a_closed_month_counts(db: TestDb) {
        let stage = TestStore::open(db).await;
        accepted(&stage, "R1", 1, "2026-11-30 23:59:59").await;
        ended(&stage, "R1", "2026-12-01 00:00:04").await;
        accepted(&stage, "R2", 2, "2026-12-01 00:00:00").await;
        ended(&stage, "R2", "2026-12-01 00:00:05").await;
        accepted(&stage, "R3", 4, "2026-11-30 23:59:58").await;
        accepted(&stage, "R4", 8, "2026-11-30 00:00:01").await;
        ended(&stage, "R4", "2026-11-30 00:00:05").await;
        accepted(&stage, "R5", 16, "2026-11-30 23:59:57").await;
        assert_eq!(close(&stage, "2026-11", "2026-12-01 12:30:00").await, PeriodChange::Done);
        ended(&stage, "R3", "2026-12-02 09:00:00").await;
        let counted = expected([("2026-11", -9), ("2026-12", -6)]);
        assert_eq!(months(&stage).await, counted);
        // Counted in November's figures; and not in them, recorded before they were closed.
        assert!(!billed(&stage, "R1", "2026-12-01 00:00:00").await, "it would count twice");
        assert!(!billed(&stage, "R2", "2026-11-30 23:59:59").await, "it would never count");
        assert_eq!(months(&stage).await, counted);
        // Within its month; an adjustment that is none; one that has not ended.
        assert!(billed(&stage, "R4", "2026-11-29 23:59:59").await);
        assert!(billed(&stage, "R3", "2026-12-01 00:00:00").await);
        assert!(billed(&stage, "R5", "2026-12-01 00:00:00").await);
        assert!(!billed(&stage, "none", "2026-12-01 00:00:00").await);
        assert_eq!(months(&stage).await, counted);
        ended(&stage, "R5", "2026-12-02 09:00:01").await;
        assert_eq!(months(&stage).await, expected([("2026-11", -9), ("2026-12", -22)]));
        assert_eq!(reopen(&stage, "2026-11").await, PeriodChange::Done);
        assert!(billed(&stage, "R1", "2026-12-01 00:00:00").await);
        assert!(billed(&stage, "R2", "2026-11-30 23:59:59").await);
        assert_eq!(months(&stage).await, expected([("2026-11", -10), ("2026-12", -21)]));
    }

    async fn a_month_is_not_closed_with_a_refund_that_was_moved_meanwhile(db: TestDb) {
        let stage = TestStore::open(db).await;
        accepted(&stage, "R1", 1, "2026-11-30 23:59:59").await;
        ended(&stage, "R1", "2026-12-01 00:00:04").await;
        let read = closing(&stage, "2026-11", "2026-12-01 12:30:00").await;
        assert!(billed(&stage, "R1", "2026-12-01 00:00:00").await, "nothing is closed");
        let error = stage.store.close_period(read).await.unwrap_err().to_string();
        assert!(error.contains("not available"), "{error}");
        assert_eq!(close(&stage, "2026-11", "2026-12-01 12:30:00").await, PeriodChange::Done);
        assert_eq!(months(&stage).await, expected([("2026-12", -1)]));
    }

    async fn a_month_is_closed_by_what_was_moved_and_not_by_its_sums(db: TestDb) {
        let stage = TestStore::open(db).await;
        for (refund_no, accepted_at) in [("R1", "2026-11-30 23:59:59"), ("R2", "2026-12-01 00:00:01")] {
            accepted(&stage, refund_no, 1, accepted_at).await;
            ended(&stage, refund_no, "2026-12-01 00:00:04").await;
        }
        accepted(&stage, "R3", 2, "2026-11-30 23:59:58").await;
        // One goes and one of the same amount comes: the sums are as before, the refunds are not.
        let read = closing(&stage, "2026-11", "2026-12-01 12:30:00").await;
        assert!(billed(&stage, "R1", "2026-12-01 00:00:00").await);
        assert!(billed(&stage, "R2", "2026-11-30 23:59:59").await);
        stage.store.close_period(read).await.unwrap_err();
        // Another day of the month, by a process of the version before.
        let read = closing(&stage, "2026-11", "2026-12-01 12:30:00").await;
        let day_before = at("2026-11-29 12:00:00").as_ms();
        let sql = format!("UPDATE refunds SET accepted_at_ms = {day_before} WHERE refund_no = 'R2'");
        stage.execute(&sql).await.unwrap();
        stage.store.close_period(read).await.unwrap_err();
        // Within its day; and one that has not ended, which no month counts.
        let read = closing(&stage, "2026-11", "2026-12-01 12:30:00").await;
        assert!(billed(&stage, "R2", "2026-11-29 23:59:59").await);
        assert!(billed(&stage, "R3", "2026-12-01 00:00:00").await);
        assert_eq!(stage.store.close_period(read).await.unwrap(), PeriodChange::Done);
        assert_eq!(months(&stage).await, expected([("2026-11", -1), ("2026-12", -1)]));
    }

    async fn a_refund_that_a_closed_month_counts_is_carried_in_the_bill_of_the_next(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        let day = service.begin_day().await;
        service.paid("LR000001").await;
        service.refunding("LR000001", "LRR1", 30).await;
        service.ends("LRR1", "SUCCESS").await;
        service.until_refunded("LRR1", "succeeded").await;
        service.end_day().await;
        // By our books it was accepted at the end of the month before, which is closed.
        let month = Month::parse(&day[..7]).unwrap();
        let accepted_at = month.begins_at.as_ms() - 1;
        let (cut_at, before) = (service.clock.now().as_ms(), month.before().unwrap().text);
        let sql = format!(
            "UPDATE refunds SET accepted_at_ms = {accepted_at} WHERE refund_no = 'LRR1';
             INSERT INTO period_closings (merchant, month, closed_at_ms, cut_at_ms, closed_by, reason, figures, hash)
             VALUES ('main', '{before}', {cut_at}, {cut_at}, 'test', 'test', '{{}}', 'h')"
        );
        let write = |sql: String| service.store.db().write("test", sql, |tx, sql| {
            Box::pin(tx.execute_unprepared(sql))
        });
        write(sql).await.unwrap();
        let at = "SELECT accepted_at_ms FROM refunds WHERE refund_no = 'LRR1'";
        let result = service.reconciled(&day).await;
        let carried = json!({"matched": 1, "carried": 1});
        assert_eq!((&result["state"], &result["classes"]), (&json!("balanced"), &carried), "{result}");
        let lines = service.lines(&day).await;
        let last = json!(Timestamp::from_ms(accepted_at).to_beijing_day());
        assert_eq!((&lines[0]["refund_no"], &lines[0]["other_day"]), (&json!("LRR1"), &last), "{lines:?}");
        assert_proof(&result, &lines);
        assert_eq!(service.number(at).await, accepted_at);
        // Once that month is open, the refund has the day of the bill.
        write("UPDATE period_closings SET reopened_at_ms = 1, reopened_by = 'test', reopen_reason = 'test'".into())
            .await
            .unwrap();
        let result = service.reconciled(&day).await;
        assert_eq!((&result["state"], &result["classes"]), (&json!("balanced"), &json!({"matched": 2})), "{result}");
        assert_eq!(service.lines(&day).await, Vec::<Value>::new());
        assert!(service.number(at).await > accepted_at);
        service.finish().await;
    }
}

/// Awaits that so many sessions of the store wait for a lock.
async fn until_waiting(other: &DatabaseConnection, count: i64) {
    let sql = "SELECT COUNT(*) AS n FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = 'wxpay-worker' AND wait_event_type = 'Lock'";
    within_timeout("sessions that wait for a lock", async {
        loop {
            let row = other.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await.unwrap().unwrap();
            if row.try_get::<i64>("", "n").unwrap() >= count {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// One payment's refund that is in November's books, and a connection beside the store's. On PostgreSQL: a file has
/// one writer.
async fn in_november() -> (TestStore, DatabaseConnection) {
    let stage = TestStore::open(TestDb::postgres().await).await;
    accepted(&stage, "R1", 1, "2026-11-30 23:59:59").await;
    ended(&stage, "R1", "2026-12-01 00:00:04").await;
    let other = Database::connect(stage.db.url()).await.unwrap();
    (stage, other)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_month_is_not_closed_beside_a_move_that_is_not_committed() {
    const OWN_LOCK: &str = "LOCK TABLE period_closings IN ROW EXCLUSIVE MODE";
    let (stage, other) = in_november().await;
    // By a process of the version before, which locks no months, when none was moved yet; by one of this version; and
    // by one of the version before again.
    for (lock, to) in
        [("SELECT 1", "2026-12-01 00:00:00"), (OWN_LOCK, "2026-11-30 12:00:00"), ("SELECT 1", "2026-12-01 12:00:00")]
    {
        let read = closing(&stage, "2026-11", "2026-12-01 12:30:00").await;
        let moving = other.begin().await.unwrap();
        moving.execute_unprepared(lock).await.unwrap();
        let sql = format!("UPDATE refunds SET accepted_at_ms = {} WHERE refund_no = 'R1'", at(to).as_ms());
        moving.execute_unprepared(&sql).await.unwrap();
        let store = stage.store.clone();
        let closes = tokio::spawn(async move { store.close_period(read).await });
        until_waiting(&other, 1).await;
        moving.commit().await.unwrap();
        let error = within_timeout("the closing", closes).await.unwrap().unwrap_err().to_string();
        assert!(error.contains("not available"), "{error}");
        assert_eq!(stage.count("period_closings").await, 0, "{to}");
    }
    assert_eq!(close(&stage, "2026-11", "2026-12-01 12:30:00").await, PeriodChange::Done);
    assert_eq!(months(&stage).await, expected([("2026-12", -1)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_beside_a_closing_that_is_not_committed_waits_for_it_and_is_refused() {
    let (stage, other) = in_november().await;
    let read = closing(&stage, "2026-11", "2026-12-01 12:30:00").await;
    // A closing writes its audit last: it has its own locks by then.
    let holding = other.begin().await.unwrap();
    holding.execute_unprepared("LOCK TABLE audit IN SHARE MODE").await.unwrap();
    let store = stage.store.clone();
    let closes = tokio::spawn(async move { store.close_period(read).await });
    until_waiting(&other, 1).await;
    let store = stage.store.clone();
    let to = of_bill("R1", at("2026-12-01 00:00:00"));
    let moves = tokio::spawn(async move { store.note_refund_accepted(&to).await });
    until_waiting(&other, 2).await;
    holding.rollback().await.unwrap();
    assert_eq!(within_timeout("the closing", closes).await.unwrap().unwrap(), PeriodChange::Done);
    assert!(!within_timeout("the move", moves).await.unwrap().unwrap(), "it would count twice");
    assert_eq!(months(&stage).await, expected([("2026-11", -1)]));
}
