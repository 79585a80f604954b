//! The call slot: serialises calls to WeChat for refunds.
//!
//! A call is written down before it is made and again once its answer is durable. What must stay true: no two calls of
//! one refund are under way at a time, and a call whose end was never recorded counts as one that WeChat may still
//! carry out.

use std::time::Duration;

use super::lock::lock_refunds;
use super::rows::StoredRefund;
use crate::clock::Timestamp;
use crate::refund::{BETWEEN_REFUNDS, Refund};
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::writer::WriteTx;

/// Whether a call may be made now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallSlot {
    /// Yes.
    Call(OpenCall),
    /// A call of it is under way, or another refund of the payment was called for less than a minute ago.
    Wait {
        /// Until then, a minute at most.
        until: Timestamp,
    },
    /// The refund changed since it was read.
    Changed,
}

/// A call that is written down as under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenCall {
    /// Earlier calls; one of them may have been executed.
    pub before: u32,
    /// When it is over, whatever became of it.
    until: Timestamp,
}

impl Store {
    /// Takes the call slot for a refund: a minute must lie between the calls of two refunds of one payment, and one
    /// call of the same refund waits for the end of the other. The call counts as made, and as under way for `lasts` at
    /// most.
    ///
    /// An earlier call that is over without a recorded result counts as unanswered from now on.
    pub async fn take_call_slot(
        &self,
        stored: &StoredRefund,
        lasts: Duration,
        now: Timestamp,
    ) -> Result<CallSlot, DbError> {
        let write = (stored.clone(), now.after(lasts), now);
        self.db
            .write("refund.take_call", write, |tx, (stored, until, now)| {
                Box::pin(take_call_slot(tx, stored, *until, *now))
            })
            .await
    }

    /// A call for a refund was answered: the minute counts from now, because WeChat may have executed it as late as
    /// this. After one that was too often, the refund itself has to wait, too.
    pub async fn delay_next_call(&self, refund: &Refund, too_often: bool, now: Timestamp) -> Result<(), DbError> {
        let sql =
            "UPDATE refund_totals SET next_call_at_ms = $4, last_called = CASE WHEN $5 THEN NULL ELSE last_called END
                   WHERE merchant = $1 AND transaction_id = $2 AND (last_called = $3 OR $5)";
        let values = [
            refund.merchant.as_str().into(),
            refund.transaction_id.as_str().into(),
            refund.refund_no.as_str().into(),
            now.after(BETWEEN_REFUNDS).as_ms().into(),
            too_often.into(),
        ];
        self.db.execute("refund.next_call", sql, values).await?;
        Ok(())
    }

    /// A call is over and what became of it is durable, or it was never made.
    pub async fn close_call(&self, refund: &Refund, call: OpenCall) -> Result<(), DbError> {
        // Another one's, begun since, stays open.
        let sql = "UPDATE refunds SET call_open_until_ms = NULL WHERE id = $1 AND call_open_until_ms = $2";
        let values = [refund.id.into(), call.until.as_ms().into()];
        self.db.execute("refund.close_call", sql, values).await?;
        Ok(())
    }
}

/// Clock skew may have written any time: a waiter polls again after at most a minute.
fn at_most_a_minute(at: Timestamp, now: Timestamp) -> Timestamp {
    at.min(now.after(BETWEEN_REFUNDS))
}

async fn take_call_slot(
    tx: &WriteTx,
    stored: &StoredRefund,
    until: Timestamp,
    now: Timestamp,
) -> Result<CallSlot, DbError> {
    let refund = &stored.refund;
    lock_refunds(tx, stored.order_id, &refund.merchant, &refund.transaction_id).await?;
    let sql = "SELECT call_open_until_ms FROM refunds WHERE id = $1 AND version = $2";
    let row = tx.one(sql, [refund.id.into(), refund.version.into()]).await?;
    let Some(row) = row else { return Ok(CallSlot::Changed) };
    let open: Option<i64> = row.get("call_open_until_ms")?;
    if let Some(open) = open.map(Timestamp::from_ms).filter(|open| *open > now) {
        return Ok(CallSlot::Wait { until: at_most_a_minute(open, now) });
    }
    let sql = "UPDATE refund_totals SET next_call_at_ms = $4, last_called = $3
                   WHERE merchant = $1 AND transaction_id = $2 AND (next_call_at_ms <= $5 OR last_called = $3)";
    let values = [
        refund.merchant.as_str().into(),
        refund.transaction_id.as_str().into(),
        refund.refund_no.as_str().into(),
        now.after(BETWEEN_REFUNDS).as_ms().into(),
        now.as_ms().into(),
    ];
    if tx.execute(sql, values).await? == 0 {
        let sql = "SELECT next_call_at_ms FROM refund_totals WHERE merchant = $1 AND transaction_id = $2";
        let values = [refund.merchant.as_str().into(), refund.transaction_id.as_str().into()];
        let row = tx.one(sql, values).await?;
        let row = row.ok_or_else(|| DbError::Defect("a refund without its total".into()))?;
        let next = Timestamp::from_ms(row.get("next_call_at_ms")?);
        return Ok(CallSlot::Wait { until: at_most_a_minute(next, now) });
    }
    let sql = "UPDATE refunds SET calls = calls + 1, call_open_until_ms = $2,
                     unanswered_at_ms = CASE WHEN call_open_until_ms IS NULL THEN unanswered_at_ms ELSE $3 END
                   WHERE id = $1 RETURNING calls";
    let row = tx.one(sql, [refund.id.into(), until.as_ms().into(), now.as_ms().into()]).await?;
    let row = row.ok_or_else(|| DbError::Defect("a refund that is gone under its lock".into()))?;
    let calls: i64 = row.get("calls")?;
    let before = u32::try_from(calls.saturating_sub(1)).unwrap_or(u32::MAX);
    Ok(CallSlot::Call(OpenCall { before, until }))
}
