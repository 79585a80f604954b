//! Months: closed in their order, each with the figures of its days as they were then.
//!
//! What must stay true: at most one closing of a month is in force; the figures of a closing never change (triggers);
//! only the last closed month is reopened, so that no month counts what another one counts as an adjustment; and the
//! refunds of a closing are those of its month at the moment of the closing, whatever a bill moved meanwhile.

use sea_orm::DbErr;

use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::store::Store;
use crate::store::db::{DbError, DbKind};
use crate::store::order::rows::broken;
use crate::store::payment::audit::{AuditEntry, write_audit};
use crate::store::writer::{Row, WriteTx};

/// A month that is or was closed.
#[derive(Debug, Clone)]
pub struct PeriodClosing {
    pub id: i64,
    pub merchant: MerchantKey,
    /// `2026-11`.
    pub month: String,
    pub closed_at: Timestamp,
    /// What was recorded before is in its figures.
    pub cut_at: Timestamp,
    pub closed_by: String,
    pub reason: String,
    /// The figures as JSON, and the SHA-256 of that text.
    pub figures: String,
    pub hash: String,
    /// When, by whom and why it was reopened.
    pub reopened: Option<(Timestamp, String, String)>,
}

/// A month to close.
#[derive(Debug, Clone)]
pub struct NewClosing {
    pub merchant: MerchantKey,
    pub month: String,
    /// The month before it.
    pub month_before: String,
    pub closed_at: Timestamp,
    pub cut_at: Timestamp,
    /// [`Store::refund_moves`] from before the figures were read.
    pub refund_moves: i64,
    pub figures: String,
    pub hash: String,
    pub audit: AuditEntry,
}

/// What became of a request to close or reopen a month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeriodChange {
    Done,
    /// It is closed, or open, already.
    Already,
    /// Months are closed in their order and reopened in the other: this one is the last that is closed.
    OutOfOrder {
        last: String,
    },
}

/// A closing that is in force, for rows of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedMonth {
    pub month: String,
    pub cut_at: Timestamp,
}

const COLUMNS: &str = "id, merchant, month, closed_at_ms, cut_at_ms, closed_by, reason, figures, hash, reopened_at_ms,
                       reopened_by, reopen_reason";

impl Store {
    /// Closings of these merchants (of all, where none are named), newest months first.
    pub async fn period_closings(
        &self,
        merchants: Option<&[MerchantKey]>,
        month: Option<&str>,
        limit: u32,
    ) -> Result<Vec<PeriodClosing>, DbError> {
        let mut values: Vec<sea_orm::Value> = vec![i64::from(limit).into()];
        let mut only = vec!["1 = 1".to_owned()];
        if let Some(merchants) = merchants {
            let numbers: Vec<String> = (0..merchants.len()).map(|n| format!("${}", n + 2)).collect();
            only.push(if numbers.is_empty() {
                "1 = 0".into()
            } else {
                format!("merchant IN ({})", numbers.join(", "))
            });
            values.extend(merchants.iter().map(|merchant| merchant.as_str().into()));
        }
        if let Some(month) = month {
            values.push(month.into());
            only.push(format!("month = ${}", values.len()));
        }
        let sql = format!(
            "SELECT {COLUMNS} FROM period_closings WHERE {} ORDER BY month DESC, merchant, id DESC LIMIT $1",
            only.join(" AND ")
        );
        self.db.reader().rows(&sql, values).await?.iter().map(closing).collect()
    }

    /// The months of a merchant that are closed.
    pub async fn closed_months(&self, merchant: &MerchantKey) -> Result<Vec<ClosedMonth>, DbError> {
        let sql = "SELECT month, cut_at_ms FROM period_closings WHERE merchant = $1 AND reopened_at_ms IS NULL";
        let rows = self.db.reader().rows(sql, [merchant.as_str().into()]).await?;
        let month =
            |row: &Row| Ok(ClosedMonth { month: row.get("month")?, cut_at: Timestamp::from_ms(row.get("cut_at_ms")?) });
        rows.iter().map(month).collect()
    }

    /// How often a refund that is in the books was moved to another day.
    pub async fn refund_moves(&self, merchant: &MerchantKey) -> Result<i64, DbError> {
        let sql = "SELECT moves FROM refund_moves WHERE merchant = $1";
        let rows = self.db.reader().rows(sql, [merchant.as_str().into()]).await?;
        rows.first().map_or(Ok(0), |row| row.get("moves"))
    }

    /// Closes a month behind the last one that is closed.
    pub async fn close_period(&self, new: NewClosing) -> Result<PeriodChange, DbError> {
        self.db.write("period.close", new, |tx, new| Box::pin(close(tx, new))).await
    }

    /// Reopens the last month that is closed. Its figures stay in its closing.
    pub async fn reopen_period(
        &self,
        merchant: &MerchantKey,
        month: &str,
        audit: AuditEntry,
    ) -> Result<PeriodChange, DbError> {
        let write = (merchant.clone(), month.to_owned(), audit);
        let run = self
            .db
            .write("period.reopen", write, |tx, (merchant, month, audit)| Box::pin(reopen(tx, merchant, month, audit)));
        run.await
    }
}

/// The last month that is closed. No other change of a month runs until the end of the transaction.
async fn last_closed(tx: &WriteTx, merchant: &MerchantKey) -> Result<Option<String>, DbError> {
    if tx.kind() == DbKind::Postgres {
        tx.execute_unprepared("LOCK TABLE period_closings IN SHARE ROW EXCLUSIVE MODE").await?;
    }
    let sql = "SELECT MAX(month) AS month FROM period_closings WHERE merchant = $1 AND reopened_at_ms IS NULL";
    let row = tx.one(sql, [merchant.as_str().into()]).await?;
    Ok(row.map(|row| row.get::<Option<String>>("month")).transpose()?.flatten())
}

/// How often a refund was moved. Locks the count: a move that is not committed is waited for, and none follows before
/// the end of the transaction.
async fn moves_until_now(tx: &WriteTx, merchant: &MerchantKey) -> Result<i64, DbError> {
    let sql = "INSERT INTO refund_moves (merchant, moves) VALUES ($1, 0)
               ON CONFLICT (merchant) DO UPDATE SET moves = refund_moves.moves RETURNING moves";
    tx.one(sql, [merchant.as_str().into()]).await?.map_or(Ok(0), |row| row.get("moves"))
}

async fn close(tx: &WriteTx, new: &NewClosing) -> Result<PeriodChange, DbError> {
    match last_closed(tx, &new.merchant).await? {
        Some(last) if last == new.month => return Ok(PeriodChange::Already),
        Some(last) if last != new.month_before => return Ok(PeriodChange::OutOfOrder { last }),
        Some(_) | None => {}
    }
    // A bill may have moved a refund since the figures were read. Behind this, none of the month is moved.
    if moves_until_now(tx, &new.merchant).await? != new.refund_moves {
        let moved = "a bill moved refunds while the month was closed";
        return Err(DbError::Unavailable(DbErr::Custom(moved.into())));
    }
    let sql = "INSERT INTO period_closings (merchant, month, closed_at_ms, cut_at_ms, closed_by, reason, figures, hash)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let values = [
        new.merchant.as_str().into(),
        new.month.as_str().into(),
        new.closed_at.as_ms().into(),
        new.cut_at.as_ms().into(),
        new.audit.actor.as_str().into(),
        new.audit.reason.as_str().into(),
        new.figures.as_str().into(),
        new.hash.as_str().into(),
    ];
    tx.execute(sql, values).await?;
    write_audit(tx, &new.audit).await?;
    Ok(PeriodChange::Done)
}

async fn reopen(
    tx: &WriteTx,
    merchant: &MerchantKey,
    month: &str,
    audit: &AuditEntry,
) -> Result<PeriodChange, DbError> {
    let last = match last_closed(tx, merchant).await? {
        Some(last) if last == month => last,
        Some(last) if last.as_str() > month => return Ok(PeriodChange::OutOfOrder { last }),
        Some(_) | None => return Ok(PeriodChange::Already),
    };
    let sql = "UPDATE period_closings SET reopened_at_ms = $3, reopened_by = $4, reopen_reason = $5
               WHERE merchant = $1 AND month = $2 AND reopened_at_ms IS NULL";
    let values = [
        merchant.as_str().into(),
        last.into(),
        audit.at.as_ms().into(),
        audit.actor.as_str().into(),
        audit.reason.as_str().into(),
    ];
    tx.execute(sql, values).await?;
    write_audit(tx, audit).await?;
    Ok(PeriodChange::Done)
}

fn closing(row: &Row) -> Result<PeriodClosing, DbError> {
    let reopened = match row.get::<Option<i64>>("reopened_at_ms")? {
        None => None,
        Some(at) => Some((
            Timestamp::from_ms(at),
            row.get::<Option<String>>("reopened_by")?.unwrap_or_default(),
            row.get::<Option<String>>("reopen_reason")?.unwrap_or_default(),
        )),
    };
    Ok(PeriodClosing {
        id: row.get("id")?,
        merchant: MerchantKey::parse(row.get::<String>("merchant")?).map_err(broken("merchant"))?,
        month: row.get("month")?,
        closed_at: Timestamp::from_ms(row.get("closed_at_ms")?),
        cut_at: Timestamp::from_ms(row.get("cut_at_ms")?),
        closed_by: row.get("closed_by")?,
        reason: row.get("reason")?,
        figures: row.get("figures")?,
        hash: row.get("hash")?,
        reopened,
    })
}
