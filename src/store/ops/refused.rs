//! Refused notifications that name an attempt of ours which is not paid: WeChat may have sent them, and a replay after
//! a correction needs them whole.
//!
//! What must stay true: identical bodies share one; of an attempt and reason there are a few different bodies at most,
//! those that came last, so that a repeat of a true one brings it back whatever was forged meanwhile.

use std::collections::HashMap;

use super::filter::Conditions;
use crate::clock::Timestamp;
use crate::ids::{EventId, MerchantKey, OutTradeNo};
use crate::store::Store;
use crate::store::db::{DbError, DbKind, placeholders};
use crate::store::evidence::NotificationKind;
use crate::store::order::rows::unreadable;
use crate::store::writer::WriteTx;

/// Different bodies of an attempt and reason.
const BODIES: i64 = 8;
/// Rows of one body; further arrivals are counted.
const ARRIVALS: i64 = 20;

/// A refused notification that is kept whole.
#[derive(Clone)]
pub struct RefusedNotification {
    pub id: EventId,
    pub merchant: MerchantKey,
    pub kind: NotificationKind,
    pub reason: &'static str,
    /// SHA-256 of the body, lower-case hex.
    pub hash: String,
    pub body: Vec<u8>,
    pub headers: Vec<(String, String)>,
    pub remote_addr: String,
    pub received_at: Timestamp,
    /// The attempt that it names.
    pub out_trade_no: OutTradeNo,
    /// The payment that it names.
    pub transaction_id: Option<String>,
    /// The attempt's order.
    pub order_id: i64,
}

impl Store {
    /// Which of these numbers are attempts that are not paid, with their orders.
    pub async fn unpaid_attempts(
        &self,
        numbers: &[(MerchantKey, OutTradeNo)],
    ) -> Result<HashMap<(String, String), i64>, DbError> {
        if numbers.is_empty() {
            return Ok(HashMap::new());
        }
        let keys = placeholders(numbers.len(), 2, 0);
        let sql = format!(
            "SELECT merchant, out_trade_no, order_id FROM attempts
             WHERE (merchant, out_trade_no) IN (VALUES {keys}) AND state <> 'paid'"
        );
        let values = numbers.iter().flat_map(|(merchant, no)| [merchant.as_str().into(), no.as_str().into()]);
        let rows = self.db.reader().rows(&sql, values).await?;
        let attempt =
            |row: &crate::store::Row| Ok(((row.get("merchant")?, row.get("out_trade_no")?), row.get("order_id")?));
        rows.iter().map(attempt).collect()
    }

    /// Keeps refused notifications whole, in one transaction.
    pub async fn keep_refused(&self, refused: Vec<RefusedNotification>) -> Result<(), DbError> {
        self.db
            .write("notification.refused", refused, |tx, refused| {
                Box::pin(async move {
                    if tx.kind() == DbKind::Postgres {
                        // A body must not be removed while another process refers to it.
                        tx.execute_unprepared("SELECT pg_advisory_xact_lock(7722019)").await?;
                    }
                    for one in refused {
                        keep(tx, one).await?;
                    }
                    Ok(())
                })
            })
            .await
    }

    /// Forgets bodies that no refused notification refers to any more.
    pub async fn purge_refused_bodies(&self, before: Timestamp, limit: u64) -> Result<u64, DbError> {
        let sql = "DELETE FROM refused_bodies WHERE (merchant, hash) IN (
                     SELECT b.merchant, b.hash FROM refused_bodies AS b
                     WHERE b.created_at_ms < $1
                       AND NOT EXISTS (SELECT 1 FROM refused_notifications AS r
                                       WHERE r.merchant = b.merchant AND r.hash = b.hash)
                     LIMIT $2)";
        self.purge(sql, before, limit).await
    }
}

async fn keep(tx: &WriteTx, one: &RefusedNotification) -> Result<(), DbError> {
    let mut same = Conditions::default();
    same.add("merchant = {}", one.merchant.as_str());
    same.add("out_trade_no = {}", one.out_trade_no.as_str());
    same.add("reason = {}", one.reason);
    let of_attempt = same.text();
    let attempt_values = same.values();
    same.add("hash = {}", one.hash.as_str());
    let sql = format!(
        "SELECT COUNT(*) AS n, COALESCE(MAX(id), '') AS newest FROM refused_notifications WHERE {}",
        same.text()
    );
    let known = tx.one(&sql, same.values()).await?;
    let (arrivals, newest): (i64, String) = match known {
        Some(row) => (row.get("n")?, row.get("newest")?),
        None => (0, String::new()),
    };
    if arrivals >= ARRIVALS {
        let sql = "UPDATE refused_notifications SET copies = copies + 1, last_received_at_ms = $2 WHERE id = $1";
        tx.execute(sql, [newest.into(), one.received_at.as_ms().into()]).await?;
        return Ok(());
    }
    insert(tx, one).await?;
    if arrivals > 0 {
        return Ok(());
    }
    let sql = format!(
        "SELECT hash FROM refused_notifications WHERE {of_attempt} GROUP BY hash
         ORDER BY MAX(last_received_at_ms) DESC, MAX(id) DESC LIMIT 1000 OFFSET {BODIES}"
    );
    for row in tx.all(&sql, attempt_values.clone()).await? {
        let hash: String = row.get("hash")?;
        let sql = "DELETE FROM refused_notifications
                   WHERE merchant = $1 AND out_trade_no = $2 AND reason = $3 AND hash = $4";
        tx.execute(sql, attempt_values.iter().cloned().chain([hash.as_str().into()])).await?;
        let sql = "DELETE FROM refused_bodies WHERE merchant = $1 AND hash = $2
                   AND NOT EXISTS (SELECT 1 FROM refused_notifications WHERE merchant = $1 AND hash = $2)";
        tx.execute(sql, [one.merchant.as_str().into(), hash.as_str().into()]).await?;
    }
    Ok(())
}

async fn insert(tx: &WriteTx, one: &RefusedNotification) -> Result<(), DbError> {
    let sql = "INSERT INTO refused_bodies (merchant, hash, body, created_at_ms) VALUES ($1, $2, $3, $4)
               ON CONFLICT DO NOTHING";
    let (merchant, hash, at) = (one.merchant.as_str(), one.hash.as_str(), one.received_at.as_ms());
    tx.execute(sql, [merchant.into(), hash.into(), one.body.clone().into(), at.into()]).await?;
    let sql =
        "INSERT INTO refused_notifications (id, merchant, kind, reason, hash, headers, remote_addr, received_at_ms,
                 last_received_at_ms, copies, out_trade_no, transaction_id, order_id, state)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, 1, $9, $10, $11, 'refused') ON CONFLICT DO NOTHING";
    let headers = serde_json::to_string(&one.headers).map_err(|e| unreadable("headers", &e))?;
    let values = [
        one.id.to_string().into(),
        merchant.into(),
        one.kind.as_str().into(),
        one.reason.into(),
        hash.into(),
        headers.into(),
        one.remote_addr.clone().into(),
        at.into(),
        one.out_trade_no.as_str().into(),
        one.transaction_id.clone().into(),
        one.order_id.into(),
    ];
    tx.execute(sql, values).await?;
    Ok(())
}
