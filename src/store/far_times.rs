//! Repairs due times further ahead than any schedule allows. A process wrote them under clock skew; until they pass, no
//! process would query a lost payment, advance a refund or redeliver a message.
//!
//! It is not a second schedule: what is found becomes due at once, and its handler sets the next time.

use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, QueryTrait, Value};

use super::Store;
use super::db::{DbError, DbKind};
use super::dead_letters::{PARKED, due_query};
use super::leases::{Fenced, Lease, holds};
use super::order::poll_schedule;
use super::outbox::unrelayed_query;
use super::payment::commit::REFUNDED;
use super::refund::record;
use super::unmatched_notifications::{NOT_ENTERED, forgotten_sql};
use super::writer::WriteTx;
use crate::clock::Timestamp;
use crate::order::{AFTER_EXPIRY, DAILY, HOURLY};
use crate::refund::{BETWEEN_REFUNDS, SEND_WITHIN};

/// For jitter, and for hosts whose clocks differ a little.
const SLACK: Duration = Duration::from_secs(60);

/// A refund's call to two hosts, with the longest time limit that can be configured for each.
const LONGEST_CALL: Duration = SEND_WITHIN.saturating_add(Duration::from_secs(120));

impl Store {
    /// Makes due what is impossibly far ahead and returns how many rows that were; nothing is written when the lease is
    /// lost.
    ///
    /// By their schedules an order waits for its expiry, or like a refund for an hour in its first day and a day after
    /// that; a deferred message waits for an hour at most. The call slot for a payment's refunds lies a minute ahead at
    /// most, and the end of a call as far as the longest one lasts; both start anew, because a call may have been made
    /// just now. A call that had no answer at a time that is still to come had none until now.
    pub async fn recall_far_times(&self, lease: &Lease, now: Timestamp) -> Result<Fenced<u64>, DbError> {
        let mut recalled = 0;
        let begun = Instant::now();
        for kind in 0..FarTimes::all(now).len() {
            for merchant in self.merchants_with_far(now, kind).await? {
                match self.recall_all(lease, now, (kind, merchant), begun).await? {
                    // What was changed before is reported: a clock is wrong.
                    Fenced::Lost if recalled == 0 => return Ok(Fenced::Lost),
                    Fenced::Lost => return Ok(Fenced::Done(recalled)),
                    Fenced::Done(changed) => recalled += changed,
                }
            }
        }
        Ok(Fenced::Done(recalled))
    }

    /// Whether there is anything for [`Store::recall_far_times`] to do.
    pub async fn has_far_times(&self, now: Timestamp) -> Result<bool, DbError> {
        for kind in 0..FarTimes::all(now).len() {
            if !self.merchants_with_far(now, kind).await?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The merchants of orders that are asked about too late; of other kinds, one nothing if there is any row. Nearly
    /// always there is none, and the open orders that are read for it may be millions: the writer would be held for all
    /// of them.
    async fn merchants_with_far(&self, now: Timestamp, kind: usize) -> Result<Vec<Option<String>>, DbError> {
        let Some(far) = FarTimes::all(now).into_iter().nth(kind) else { return Ok(Vec::new()) };
        let values = far.bounds.iter().map(|ms| (*ms).into());
        let rows = self.db.read().query_all_raw(self.db.statement(far.any_sql(), values)).await?;
        let merchant =
            |row: sea_orm::QueryResult| Ok(if far.is_of_orders() { row.try_get("", "merchant")? } else { None });
        rows.into_iter().map(merchant).collect()
    }

    async fn recall_all(&self, lease: &Lease, now: Timestamp, of: Of, begun: Instant) -> Result<Fenced<u64>, DbError> {
        let mut recalled = 0;
        loop {
            let write = (lease.clone(), now, of.clone());
            let step =
                self.db.write("times.recall", write, |tx, (lease, now, of)| Box::pin(recall(tx, lease, *now, of)));
            match step.await? {
                Fenced::Lost if recalled == 0 => return Ok(Fenced::Lost),
                Fenced::Lost => return Ok(Fenced::Done(recalled)),
                Fenced::Done(changed) => {
                    recalled += changed;
                    if changed < STEP || begun.elapsed() >= WITHIN {
                        return Ok(Fenced::Done(recalled));
                    }
                }
            }
        }
    }
}

/// A kind of times, by its place; of orders, the merchant.
type Of = (usize, Option<String>);

/// Less than the run of the job may take: the next one goes on, and what was changed is reported.
const WITHIN: Duration = Duration::from_secs(20);

/// Rows of one write: a million at once would take longer than a statement may, and so never be changed.
const STEP: u64 = 2000;

async fn recall(tx: &WriteTx, lease: &Lease, now: Timestamp, (kind, merchant): &Of) -> Result<Fenced<u64>, DbError> {
    if !holds(tx, lease).await? {
        return Ok(Fenced::Lost);
    }
    let Some(far) = FarTimes::all(now).into_iter().nth(*kind) else { return Ok(Fenced::Done(0)) };
    let numbers = far.bounds.iter().chain([&far.due]).map(|ms| (*ms).into());
    let values: Vec<Value> = numbers.chain(merchant.as_deref().map(Value::from)).collect();
    Ok(Fenced::Done(tx.execute(&far.recall_sql(tx.kind()), values).await?))
}

/// Times of one kind that may be too far ahead.
struct FarTimes {
    table: &'static str,
    key: &'static str,
    columns: &'static [&'static str],
    /// Its parameters are `bounds`.
    is_far: String,
    bounds: Vec<i64>,
    /// What takes the place of a time that is too far ahead.
    due: i64,
}

impl FarTimes {
    fn all(now: Timestamp) -> [Self; 6] {
        let ms = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
        let (now_ms, day_ago) = (now.as_ms(), now.as_ms() - ms(DAILY));
        let ahead = |d: Duration| now.after(d + SLACK).as_ms();
        let (hour, day) = (ahead(HOURLY), ahead(DAILY));
        let by_age = |at: &str| format!("{at} > $1 AND {at} > CASE WHEN created_at_ms > $2 THEN $1 ELSE $3 END");
        let of = |(table, key), columns, is_far: String, bounds: &[i64], due| {
            let bounds = bounds.to_vec();
            Self { table, key, columns, is_far, bounds, due }
        };
        let (orders, refunds) = (("orders", "id"), ("refunds", "id"));
        let totals = ("refund_totals", "merchant, transaction_id");
        let due = poll_schedule::DUE;
        let order = format!("{} AND {due} NOT BETWEEN expires_at_ms AND expires_at_ms + $4", by_age(due));
        let later = now.after(BETWEEN_REFUNDS).as_ms();
        // Of open refunds alone: there is a row per refunded payment, for ever, and no index over the time.
        let open = |at: &str| format!("next_at_ms IS NOT NULL AND {at} > $1");
        [
            of(refunds, &["next_at_ms"], by_age("next_at_ms"), &[hour, day_ago, day], now_ms),
            of(totals, &["next_call_at_ms"], SLOTS.into(), &[ahead(BETWEEN_REFUNDS)], later),
            of(refunds, &["call_open_until_ms"], open("call_open_until_ms"), &[ahead(LONGEST_CALL)], later),
            of(refunds, &["unanswered_at_ms"], open("unanswered_at_ms"), &[ahead(Duration::ZERO)], now_ms),
            of(
                ("deferred", "event_id, consumer"),
                &["next_attempt_at_ms"],
                "next_attempt_at_ms > $1".into(),
                &[hour],
                now_ms,
            ),
            // The last, because there may be millions.
            of(orders, poll_schedule::DUE_COLUMNS, order, &[hour, day_ago, day, ms(AFTER_EXPIRY)], now_ms),
        ]
    }

    /// A row if there is one that is too far ahead.
    fn any_sql(&self) -> String {
        if self.is_of_orders() {
            return poll_schedule::merchants_with(&self.is_far);
        }
        format!("SELECT 1 AS far FROM {} WHERE {} LIMIT 1", self.table, self.is_far)
    }

    fn is_of_orders(&self) -> bool {
        self.table == "orders"
    }

    /// Of a part of the rows; of orders, those of a merchant that are furthest ahead, by the index over the times. Rows
    /// that another transaction changes at this moment are left to the next run.
    fn recall_sql(&self, kind: DbKind) -> String {
        let due = self.bounds.len() + 1;
        let set = self.columns.iter().map(|at| format!("{at} = CASE WHEN {at} IS NOT NULL THEN ${due} END"));
        let (of, order) = if self.is_of_orders() {
            (format!("merchant = ${} AND ", due + 1), format!(" ORDER BY {} DESC", poll_schedule::DUE))
        } else {
            (String::new(), String::new())
        };
        format!(
            "WITH far AS MATERIALIZED (SELECT {key} FROM {table} WHERE {of}{}{order} LIMIT {STEP}{})
             UPDATE {table} SET {} WHERE ({key}) IN (SELECT {key} FROM far)",
            self.is_far,
            kind.skip_locked(),
            set.collect::<Vec<_>>().join(", "),
            table = self.table,
            key = self.key,
        )
    }
}

/// What the scheduler and the relay run all the time, by name, for a test of the plans.
#[doc(hidden)]
pub fn due_statements(kind: DbKind) -> Vec<(&'static str, String)> {
    let at = Timestamp::from_ms(0);
    vec![
        ("orders.has_due", poll_schedule::has_due_sql()),
        ("orders.take_due", poll_schedule::take_sql(kind)),
        ("orders.merchants", poll_schedule::merchants_sql()),
        ("refunds.has_due", record::HAS_DUE.to_owned()),
        ("refunds.take_due", record::take_sql(kind)),
        ("deferred.due", due_query(at, 200).build(kind.backend()).sql),
        ("notifications.forgotten", forgotten_sql()),
        ("orphaned_payments.not_entered", NOT_ENTERED.to_owned()),
        ("payments.refunded", REFUNDED.to_owned()),
        ("outbox.unrelayed", unrelayed_query(200).build(kind.backend()).sql),
        ("dead_letters.parked", PARKED.to_owned()),
        ("orders.far", FarTimes::all(at).last().map(FarTimes::any_sql).unwrap_or_default()),
    ]
}

const SLOTS: &str = "next_call_at_ms > $1
    AND (merchant, transaction_id) IN (SELECT merchant, transaction_id FROM refunds WHERE next_at_ms IS NOT NULL)";
