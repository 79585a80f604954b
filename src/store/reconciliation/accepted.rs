//! When WeChat accepted a refund, as its bill says.
//!
//! What must stay true: the time of acceptance decides in which month a refund counts, so that no refund enters or
//! leaves the month of a closing that was made after it was recorded: it would count twice, or never.

use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::store::Store;
use crate::store::db::{DbError, DbKind};
use crate::store::writer::WriteTx;

impl Store {
    /// Notes when WeChat accepted a refund, by its bill. Moves no money. False: it keeps its time, because one of the
    /// two months was closed after the refund was recorded.
    pub async fn note_refund_accepted(
        &self,
        merchant: &MerchantKey,
        refund_no: &str,
        at: Timestamp,
    ) -> Result<bool, DbError> {
        let write = (merchant.clone(), refund_no.to_owned(), at);
        let run = self.db.write("refund.accepted", write, |tx, (merchant, refund_no, at)| {
            Box::pin(note(tx, (merchant, refund_no.as_str()), *at))
        });
        run.await
    }
}

async fn note(tx: &WriteTx, (merchant, refund_no): (&MerchantKey, &str), at: Timestamp) -> Result<bool, DbError> {
    if tx.kind() == DbKind::Postgres {
        // No month is closed until the end of the transaction; the closing finds in `refund_moves` that one was moved.
        tx.execute_unprepared("LOCK TABLE period_closings IN ROW EXCLUSIVE MODE").await?;
    }
    let sql = "SELECT COALESCE(f.accepted_at_ms, f.created_at_ms) AS at_ms, r.recorded_at_ms AS recorded_at_ms
               FROM refunds AS f
               LEFT JOIN refund_ledger AS r ON r.merchant = f.merchant AND r.refund_no = f.refund_no
               WHERE f.merchant = $1 AND f.refund_no = $2";
    let Some(row) = tx.one(sql, [merchant.as_str().into(), refund_no.into()]).await? else { return Ok(false) };
    let (from, to) = (month_of(Timestamp::from_ms(row.get("at_ms")?)), month_of(at));
    // What is not recorded counts nowhere yet.
    if let Some(recorded_at) = row.get::<Option<i64>>("recorded_at_ms")?.filter(|_| from != to) {
        let sql = "SELECT 1 AS one FROM period_closings
                   WHERE merchant = $1 AND month IN ($2, $3) AND reopened_at_ms IS NULL AND cut_at_ms > $4 LIMIT 1";
        if tx.one(sql, [merchant.as_str().into(), from.into(), to.into(), recorded_at.into()]).await?.is_some() {
            return Ok(false);
        }
    }
    let sql = "UPDATE refunds SET accepted_at_ms = $3 WHERE merchant = $1 AND refund_no = $2";
    Ok(tx.execute(sql, [merchant.as_str().into(), refund_no.into(), at.as_ms().into()]).await? > 0)
}

/// `2026-11`.
fn month_of(at: Timestamp) -> String {
    let mut day = at.to_beijing_day();
    day.truncate(7);
    day
}
