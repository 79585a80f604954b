//! When WeChat accepted a refund, as its bill says.
//!
//! What must stay true: the time of acceptance decides in which month a refund counts, so that no refund enters or
//! leaves the month of a closing that was made after it was recorded: it would count twice, or never.

use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::store::Store;
use crate::store::db::{DbError, DbKind};
use crate::store::writer::WriteTx;

/// A refund as a bill has it.
#[derive(Debug, Clone)]
pub struct BilledRefund {
    pub merchant: MerchantKey,
    pub refund_no: String,
    /// When WeChat accepted it.
    pub at: Timestamp,
    /// The day whose bill has it.
    pub day: String,
    /// Days before this one are not compared again: WeChat does not keep their bills.
    pub oldest: String,
    pub now: Timestamp,
}

impl Store {
    /// Notes when WeChat accepted a refund, by its bill. Moves no money. The day that counted it before, where that is
    /// another one with a result, is asked for in the same transaction: whatever becomes of the run that found this,
    /// its repeat would find the refund in its place. False: it keeps its time, because one of the two months was
    /// closed after the refund was recorded.
    pub async fn note_refund_accepted(&self, refund: &BilledRefund) -> Result<bool, DbError> {
        self.db.write("refund.accepted", refund.clone(), |tx, refund| Box::pin(note(tx, refund))).await
    }
}

async fn note(tx: &WriteTx, refund: &BilledRefund) -> Result<bool, DbError> {
    let (merchant, refund_no, at) = (refund.merchant.as_str(), refund.refund_no.as_str(), refund.at);
    if tx.kind() == DbKind::Postgres {
        // No month is closed until the end of the transaction; the closing finds in `refund_moves` that one was moved.
        tx.execute_unprepared("LOCK TABLE period_closings IN ROW EXCLUSIVE MODE").await?;
    }
    let sql = "SELECT COALESCE(f.accepted_at_ms, f.created_at_ms) AS at_ms, r.recorded_at_ms AS recorded_at_ms
               FROM refunds AS f
               LEFT JOIN refund_ledger AS r ON r.merchant = f.merchant AND r.refund_no = f.refund_no
               WHERE f.merchant = $1 AND f.refund_no = $2";
    let Some(row) = tx.one(sql, [merchant.into(), refund_no.into()]).await? else { return Ok(false) };
    let day = Timestamp::from_ms(row.get("at_ms")?).to_beijing_day();
    let (from, to) = (month_of(&day), month_of(&at.to_beijing_day()));
    // What is not recorded counts nowhere yet.
    if let Some(recorded_at) = row.get::<Option<i64>>("recorded_at_ms")?.filter(|_| from != to) {
        let sql = "SELECT 1 AS one FROM period_closings
                   WHERE merchant = $1 AND month IN ($2, $3) AND reopened_at_ms IS NULL AND cut_at_ms > $4 LIMIT 1";
        if tx.one(sql, [merchant.into(), from.into(), to.into(), recorded_at.into()]).await?.is_some() {
            return Ok(false);
        }
    }
    let sql = "UPDATE refunds SET accepted_at_ms = $3 WHERE merchant = $1 AND refund_no = $2";
    let is_noted = tx.execute(sql, [merchant.into(), refund_no.into(), at.as_ms().into()]).await? > 0;
    if is_noted && day != refund.day && day >= refund.oldest {
        let sql = "UPDATE reconciliations SET work = 'pending', asked_by = NULL, asked_at_ms = $3, next_at_ms = $3
                   WHERE merchant = $1 AND day = $2 AND work = 'idle' AND run > 0";
        tx.execute(sql, [merchant.into(), day.into(), refund.now.as_ms().into()]).await?;
    }
    Ok(is_noted)
}

/// `2026-11`.
fn month_of(day: &str) -> String {
    day.chars().take(7).collect()
}
