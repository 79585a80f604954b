//! Refused notifications that name an attempt of ours which is not paid: WeChat may have sent them, and a replay after
//! a correction needs them whole.
//!
//! What must stay true: identical bodies share one; of an attempt and reason there are a few different bodies at most.
//! Which of them goes is the caller's policy.

use std::collections::HashMap;

use sea_orm::Value;

use super::filter::Conditions;
use crate::clock::Timestamp;
use crate::ids::{EventId, MerchantKey, OutTradeNo};
use crate::money::Fen;
use crate::store::Store;
use crate::store::db::{DbError, DbKind, placeholders};
use crate::store::evidence::NotificationKind;
use crate::store::order::rows::unreadable;
use crate::store::writer::{Row, WriteTx};

/// Different bodies of an attempt and reason.
const BODIES: i64 = 8;
/// Rows of one body; further arrivals are counted.
const ARRIVALS: i64 = 20;

/// An attempt that is not paid, and what it was placed with.
#[derive(Debug, Clone)]
pub struct UnpaidAttempt {
    pub order_id: i64,
    pub mch_id: String,
    pub appid: String,
    pub amount: Fen,
}

/// A different body of an attempt and reason.
#[derive(Debug, Clone)]
pub struct KeptBody {
    pub body: Vec<u8>,
    /// Who sent it first.
    pub remote_addr: String,
    /// The id of its first arrival: ids are in the order of time.
    pub first_id: String,
    pub last_received_at: Timestamp,
}

/// Which body of an attempt goes where there are too many; the first one has just come.
pub type Displaced = fn(&UnpaidAttempt, &[KeptBody]) -> Option<usize>;

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
    pub attempt: UnpaidAttempt,
}

impl Store {
    /// Which of these numbers are attempts that are not paid.
    pub async fn unpaid_attempts(
        &self,
        numbers: &[(MerchantKey, OutTradeNo)],
    ) -> Result<HashMap<(String, String), UnpaidAttempt>, DbError> {
        if numbers.is_empty() {
            return Ok(HashMap::new());
        }
        let keys = placeholders(numbers.len(), 2, 0);
        let sql = format!(
            "SELECT a.merchant, a.out_trade_no, a.order_id, a.mch_id, a.appid, o.amount_fen
             FROM attempts AS a JOIN orders AS o ON o.id = a.order_id
             WHERE (a.merchant, a.out_trade_no) IN (VALUES {keys}) AND a.state <> 'paid'"
        );
        let values = numbers.iter().flat_map(|(merchant, no)| [merchant.as_str().into(), no.as_str().into()]);
        let rows = self.db.reader().rows(&sql, values).await?;
        let attempt = |row: &Row| {
            let attempt = UnpaidAttempt {
                order_id: row.get("order_id")?,
                mch_id: row.get("mch_id")?,
                appid: row.get("appid")?,
                amount: Fen::from_i64(row.get("amount_fen")?),
            };
            Ok(((row.get("merchant")?, row.get("out_trade_no")?), attempt))
        };
        rows.iter().map(attempt).collect()
    }

    /// Keeps refused notifications whole, in one transaction, in the order of their orders: each insert locks its order
    /// for its foreign key, as changes of orders do in that order.
    pub async fn keep_refused(
        &self,
        mut refused: Vec<RefusedNotification>,
        displaced: Displaced,
    ) -> Result<(), DbError> {
        refused.sort_by_key(|one| one.attempt.order_id);
        self.db
            .write("notification.refused", (refused, displaced), |tx, (refused, displaced)| {
                Box::pin(async move {
                    if tx.kind() == DbKind::Postgres {
                        // A body must not be removed while another process refers to it.
                        tx.execute_unprepared("SELECT pg_advisory_xact_lock(7722019)").await?;
                    }
                    for one in refused {
                        keep(tx, one, *displaced).await?;
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

async fn keep(tx: &WriteTx, one: &RefusedNotification, displaced: Displaced) -> Result<(), DbError> {
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
    for _ in BODIES..bodies(tx, &of_attempt, &attempt_values).await? {
        let (mut hashes, mut kept) = kept_bodies(tx, &of_attempt, &attempt_values).await?;
        if let Some(place) = hashes.iter().position(|hash| *hash == one.hash) {
            hashes.swap(0, place);
            kept.swap(0, place);
        }
        let Some(hash) = displaced(&one.attempt, &kept).and_then(|place| hashes.get(place)) else { return Ok(()) };
        let sql = "DELETE FROM refused_notifications
                   WHERE merchant = $1 AND out_trade_no = $2 AND reason = $3 AND hash = $4";
        tx.execute(sql, attempt_values.iter().cloned().chain([hash.as_str().into()])).await?;
        let sql = "DELETE FROM refused_bodies WHERE merchant = $1 AND hash = $2
                   AND NOT EXISTS (SELECT 1 FROM refused_notifications WHERE merchant = $1 AND hash = $2)";
        tx.execute(sql, [one.merchant.as_str().into(), hash.as_str().into()]).await?;
    }
    Ok(())
}

async fn bodies(tx: &WriteTx, of_attempt: &str, values: &[Value]) -> Result<i64, DbError> {
    let sql = format!("SELECT COUNT(DISTINCT hash) AS n FROM refused_notifications WHERE {of_attempt}");
    tx.one(&sql, values.iter().cloned()).await?.map_or(Ok(0), |row| row.get("n"))
}

/// The different bodies of an attempt and reason with their hashes: as many as are kept, and what came now.
async fn kept_bodies(
    tx: &WriteTx,
    of_attempt: &str,
    values: &[Value],
) -> Result<(Vec<String>, Vec<KeptBody>), DbError> {
    let sql = format!(
        "SELECT f.hash, f.first_id, f.last_ms, r.remote_addr, b.body
         FROM (SELECT hash, MIN(id) AS first_id, MAX(last_received_at_ms) AS last_ms
               FROM refused_notifications WHERE {of_attempt} GROUP BY hash) AS f
         JOIN refused_notifications AS r ON r.id = f.first_id
         JOIN refused_bodies AS b ON b.merchant = r.merchant AND b.hash = f.hash
         ORDER BY f.last_ms DESC, f.first_id DESC LIMIT 1000"
    );
    let mut hashes = Vec::new();
    let mut kept = Vec::new();
    for row in tx.all(&sql, values.iter().cloned()).await? {
        hashes.push(row.get("hash")?);
        kept.push(KeptBody {
            body: row.get("body")?,
            remote_addr: row.get("remote_addr")?,
            first_id: row.get("first_id")?,
            last_received_at: Timestamp::from_ms(row.get("last_ms")?),
        });
    }
    Ok((hashes, kept))
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
        one.attempt.order_id.into(),
    ];
    tx.execute(sql, values).await?;
    Ok(())
}
