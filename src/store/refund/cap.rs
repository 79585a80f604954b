//! What each client of the API has asked to be refunded on a day, where there is a limit; what takes a second person.
//!
//! It is counted in the transaction that records the refund: requests of one client and day wait for each other's row.

use crate::clock::Timestamp;
use crate::ids::{MerchantKey, OutRefundNo, TransactionId};
use crate::money::Fen;
use crate::store::db::DbError;
use crate::store::writer::WriteTx;

/// The limit of one client and day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundCap {
    /// The client's stable name: it does not get more by replacing its key.
    pub api_key: String,
    /// The day in Beijing, as `20260102`.
    pub day: String,
    pub cap: Fen,
}

/// Counts `amount` if it fits; otherwise says what is left of the day.
pub(in crate::store) async fn count(tx: &WriteTx, cap: &RefundCap, amount: Fen) -> Result<Result<(), Fen>, DbError> {
    let key = || [cap.api_key.as_str().into(), cap.day.as_str().into()];
    let sql = "INSERT INTO refund_caps (api_key, day, requested_fen) VALUES ($1, $2, 0) ON CONFLICT DO NOTHING";
    if tx.execute(sql, key()).await? > 0 {
        // Its first of the day. Other processes may not have reached this day yet.
        let sql = "DELETE FROM refund_caps WHERE api_key = $1 AND day NOT IN (
                     SELECT day FROM refund_caps WHERE api_key = $1 ORDER BY day DESC LIMIT 7)";
        tx.execute(sql, [cap.api_key.as_str().into()]).await?;
    }
    let sql = "UPDATE refund_caps SET requested_fen = requested_fen + $3
               WHERE api_key = $1 AND day = $2 AND requested_fen + $3 <= $4";
    let amounts = [amount.as_i64().into(), cap.cap.as_i64().into()];
    if tx.execute(sql, key().into_iter().chain(amounts)).await? > 0 {
        return Ok(Ok(()));
    }
    let sql = "SELECT requested_fen FROM refund_caps WHERE api_key = $1 AND day = $2";
    let row = tx.one(sql, key()).await?;
    let requested: i64 = row.map_or(Ok(0), |row| row.get("requested_fen"))?;
    Ok(Err(Fen::from_i64((cap.cap.as_i64() - requested).max(0))))
}

/// A refund that no second person approved.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Alone<'a> {
    pub merchant: &'a MerchantKey,
    pub transaction_id: &'a TransactionId,
    pub refund_no: &'a OutRefundNo,
    pub amount: Fen,
    /// None where one person decides all.
    pub limit: Option<Fen>,
}

/// Whether it takes a second person: a request of its number waits or was refused, or the refunds of its payment that
/// no second person approved are more than one person may decide, with this one. Those of all callers count: one person
/// may have several keys. Of one that failed no money moved.
pub(in crate::store) async fn needs_approval(tx: &WriteTx, new: Alone<'_>, now: Timestamp) -> Result<bool, DbError> {
    let merchant = new.merchant.as_str();
    let sql = "SELECT 1 AS asked FROM approvals
               WHERE kind = 'refund' AND merchant = $1 AND refund_no = $2
                 AND (state = 'refused' OR state = 'waiting' AND expires_at_ms > $3)";
    if tx.one(sql, [merchant.into(), new.refund_no.as_str().into(), now.as_ms().into()]).await?.is_some() {
        return Ok(true);
    }
    let Some(limit) = new.limit else { return Ok(false) };
    // An approval of the same number that is another refund's does not count for this one.
    let sql = "SELECT COALESCE(CAST(SUM(r.amount_fen) AS BIGINT), 0) AS alone_fen FROM refunds AS r
               WHERE r.merchant = $1 AND r.transaction_id = $2 AND r.origin = 'api' AND r.state <> 'failed'
                 AND NOT EXISTS (SELECT 1 FROM approvals AS a
                                 WHERE a.kind = 'refund' AND a.merchant = r.merchant AND a.refund_no = r.refund_no
                                   AND a.transaction_id = r.transaction_id AND a.amount_fen = r.amount_fen
                                   AND a.state = 'approved')";
    let row = tx.one(sql, [merchant.into(), new.transaction_id.as_str().into()]).await?;
    let alone: i64 = row.map_or(Ok(0), |row| row.get("alone_fen"))?;
    Ok(alone.saturating_add(new.amount.as_i64()) > limit.as_i64())
}
