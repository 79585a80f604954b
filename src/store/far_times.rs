//! Repairs due times further ahead than any schedule allows. A process wrote them under clock skew; until they pass, no
//! process would query a lost payment, advance a refund or redeliver a message.
//!
//! It is not a second schedule: what is found becomes due at once, and its handler sets the next time.

use std::time::Duration;

use sea_orm::QueryTrait;

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
        let write = (lease.clone(), now);
        self.db.write("times.recall", write, |tx, (lease, now)| Box::pin(recall(tx, lease, *now))).await
    }
}

async fn recall(tx: &WriteTx, lease: &Lease, now: Timestamp) -> Result<Fenced<u64>, DbError> {
    if !holds(tx, lease).await? {
        return Ok(Fenced::Lost);
    }
    let ms = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
    let (now_ms, day_ago) = (now.as_ms(), now.as_ms() - ms(DAILY));
    let ahead = |d: Duration| now.after(d + SLACK).as_ms();
    let (hour, day) = (ahead(HOURLY), ahead(DAILY));
    let by_age = |at: &str| format!("{at} > $2 AND {at} > CASE WHEN created_at_ms > $3 THEN $2 ELSE $4 END");
    let order = |at: &str| {
        let far = by_age(at);
        format!("UPDATE orders SET {at} = $1 WHERE {far} AND {at} NOT BETWEEN expires_at_ms AND expires_at_ms + $5")
    };
    let refund = format!("UPDATE refunds SET next_at_ms = $1 WHERE {}", by_age("next_at_ms"));
    // Of open refunds alone: there is a row per refunded payment, for ever, and no index over the time.
    let slot = SLOTS.to_owned();
    let open = "UPDATE refunds SET call_open_until_ms = $1
                    WHERE next_at_ms IS NOT NULL AND call_open_until_ms > $2"
        .to_owned();
    let unanswered = "UPDATE refunds SET unanswered_at_ms = $1
                          WHERE next_at_ms IS NOT NULL AND unanswered_at_ms > $2"
        .to_owned();
    let message = "UPDATE deferred SET next_attempt_at_ms = $1 WHERE next_attempt_at_ms > $2".to_owned();
    let by_age = [now_ms, hour, day_ago, day];
    let of_order = [now_ms, hour, day_ago, day, ms(AFTER_EXPIRY)];
    let delay_next_call = [now.after(BETWEEN_REFUNDS).as_ms(), ahead(BETWEEN_REFUNDS)];
    let open_calls = [now.after(BETWEEN_REFUNDS).as_ms(), ahead(LONGEST_CALL)];
    let mut recalled = 0;
    for (sql, values) in [
        (order("next_query_at_ms"), &of_order[..]),
        (order("next_look_at_ms"), &of_order),
        (refund, &by_age),
        (slot, &delay_next_call),
        (open, &open_calls),
        (unanswered, &[now_ms, ahead(Duration::ZERO)]),
        (message, &[now_ms, hour]),
    ] {
        let values = values.iter().map(|v| (*v).into());
        recalled += tx.execute(&sql, values).await?;
    }
    Ok(Fenced::Done(recalled))
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
    ]
}

const SLOTS: &str = "UPDATE refund_totals SET next_call_at_ms = $1
    WHERE next_call_at_ms > $2
      AND (merchant, transaction_id) IN (SELECT merchant, transaction_id FROM refunds WHERE next_at_ms IS NOT NULL)";
