//! Balances at the ends of days, so that no reader sums up from the beginning.
//!
//! What must stay true: a closing is what the rows before it come to. It is written once the day has been over for some
//! time; a row that is recorded before it nevertheless removes it (a trigger), and the sum is made again. No sum is of
//! more rows than a slice has: on PostgreSQL others wait for the lock under which it is made.

use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::store::Store;
use crate::store::db::{DbError, DbKind, placeholders};
use crate::store::writer::{Reader, WriteTx};

/// A merchant's balance by currency.
pub type Balances = BTreeMap<String, i64>;

/// How often a sum is made anew because a row entered beside it.
const TRIES: usize = 3;

/// A sum that was made outside of a transaction, and the last rows of both ledgers before it.
type Summed = (Balances, [i64; 2]);

impl Store {
    /// What the rows recorded before `at` come to.
    pub async fn balances_before(&self, merchant: &MerchantKey, at: Timestamp) -> Result<Balances, DbError> {
        balances(self.db.reader(), merchant, at).await
    }

    /// Keeps every merchant's balances at the end of a day, where they are not kept. Returns of how many merchants; the
    /// first error, once all were tried.
    pub async fn close_day(&self, end: Timestamp) -> Result<u64, DbError> {
        let (mut closed, mut failed) = (0, None);
        for merchant in self.books().merchants().await? {
            match self.close_merchant(&merchant, end).await {
                Ok(is_closed) => closed += u64::from(is_closed),
                Err(e) => {
                    tracing::warn!(%merchant, error = %e, "the balances at the end of a day are not kept");
                    failed = failed.or(Some(e));
                }
            }
        }
        failed.map_or(Ok(closed), Err)
    }

    /// Goes on from the last balances in steps of so many rows as one statement may sum up, and keeps each of them:
    /// what a run does not come to, the next one does. False: they are kept, or there is nothing to keep.
    async fn close_merchant(&self, merchant: &MerchantKey, end: Timestamp) -> Result<bool, DbError> {
        loop {
            let kept = "SELECT MAX(at_ms) AS at_ms FROM ledger_closings WHERE merchant = $1 AND at_ms <= $2";
            let rows = self.db.reader().rows(kept, [merchant.as_str().into(), end.as_ms().into()]).await?;
            let kept = rows.first().map(|row| row.get::<Option<i64>>("at_ms")).transpose()?.flatten();
            let from = Timestamp::from_ms(kept.unwrap_or(0));
            if from == end {
                return Ok(false);
            }
            let at = self.end_of_slice(merchant, from, end).await?;
            if !self.keep_balances(merchant, at).await? {
                return Ok(false);
            }
            if at == end {
                return Ok(true);
            }
        }
    }

    /// Keeps the balances at a moment. False: there are none, or rows entered beside each of the sums.
    async fn keep_balances(&self, merchant: &MerchantKey, at: Timestamp) -> Result<bool, DbError> {
        for _ in 0..TRIES {
            let write = (merchant.clone(), at, self.summed(merchant, at).await?);
            let done = self.db.write("ledger.close", write, |tx, (merchant, at, summed)| {
                Box::pin(close(tx, merchant, *at, summed.as_ref()))
            });
            if let Some(is_kept) = done.await? {
                return Ok(is_kept);
            }
        }
        Ok(false)
    }

    /// The sum of SQLite, whose one writer must not wait for it. PostgreSQL makes it in the transaction: outside, a row
    /// with a smaller number may be committed behind the sum.
    async fn summed(&self, merchant: &MerchantKey, end: Timestamp) -> Result<Option<Summed>, DbError> {
        if self.db.kind() == DbKind::Postgres {
            return Ok(None);
        }
        let last = "SELECT COALESCE((SELECT MAX(id) FROM ledger), 0) AS payments,
                           COALESCE((SELECT MAX(id) FROM refund_ledger), 0) AS refunds";
        let rows = self.db.reader().rows(last, []).await?;
        let row = rows.first().ok_or_else(|| DbError::Defect("a statement without a row".into()))?;
        let last = [row.get("payments")?, row.get("refunds")?];
        Ok(Some((self.balances_before(merchant, end).await?, last)))
    }
}

async fn balances(reader: Reader<'_>, merchant: &MerchantKey, at: Timestamp) -> Result<Balances, DbError> {
    let values = [merchant.as_str().into(), at.as_ms().into()];
    let sql = BALANCES.replace("{yuan}", &CHANGES.replace("{is}", "= 'CNY'"));
    let sql = sql.replace("{others}", &CHANGES.replace("{is}", "<> 'CNY'"));
    let rows = reader.rows(&sql, values).await?;
    rows.iter().map(|row| Ok((row.get("currency")?, row.get("balance_fen")?))).collect()
}

/// Keeps a sum; whether there was one. None: a row entered before `end` since it was made.
async fn close(
    tx: &WriteTx,
    merchant: &MerchantKey,
    end: Timestamp,
    summed: Option<&Summed>,
) -> Result<Option<bool>, DbError> {
    let balances = match summed {
        Some((balances, [payments, refunds])) => {
            let since = "SELECT 1 AS one FROM ledger WHERE id > $1 AND merchant = $3 AND recorded_at_ms < $4
                         UNION ALL
                         SELECT 1 AS one FROM refund_ledger WHERE id > $2 AND merchant = $3 AND recorded_at_ms < $4";
            let values = [(*payments).into(), (*refunds).into(), merchant.as_str().into(), end.as_ms().into()];
            if tx.one(since, values).await?.is_some() {
                return Ok(None);
            }
            balances.clone()
        }
        None => {
            // The trigger of a late row takes the same lock, shared: it is committed by now, or finds this closing.
            tx.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({CLOSINGS_LOCK})")).await?;
            balances(Reader::Write(tx), merchant, end).await?
        }
    };
    if balances.is_empty() {
        return Ok(Some(false));
    }
    let sql = format!(
        "INSERT INTO ledger_closings (merchant, at_ms, currency, balance_fen) VALUES {} ON CONFLICT DO NOTHING",
        placeholders(balances.len(), 4, 0)
    );
    let mut values = Vec::with_capacity(balances.len() * 4);
    for (currency, balance) in balances {
        values.extend([merchant.as_str().into(), end.as_ms().into(), currency.into(), balance.into()]);
    }
    tx.execute(&sql, values).await?;
    Ok(Some(true))
}

/// As in the migration `m20261201_000030_book_checks`.
const CLOSINGS_LOCK: i64 = 7_722_019;

// In one statement: a closing that a row takes away meanwhile is not mixed with that row.
const BALANCES: &str = "
WITH kept (at_ms) AS (SELECT MAX(at_ms) FROM ledger_closings WHERE merchant = $1 AND at_ms <= $2),
     since (at_ms) AS (SELECT COALESCE(at_ms, 0) FROM kept)
SELECT currency, balance_fen FROM (
  SELECT 'CNY' AS currency, CAST(SUM(change_fen) AS BIGINT) AS balance_fen, COUNT(*) AS n FROM ({yuan}) AS y
) AS yuan WHERE n > 0
UNION ALL
SELECT currency, CAST(SUM(change_fen) AS BIGINT) AS balance_fen FROM ({others}) AS o GROUP BY currency";

// SQLite sorts what it groups in memory: yuan, which almost all rows are of, is summed up alone.
const CHANGES: &str = "
  SELECT currency, balance_fen AS change_fen FROM ledger_closings
  WHERE merchant = $1 AND at_ms = (SELECT at_ms FROM kept) AND currency {is}
  UNION ALL
  SELECT currency, amount_fen AS change_fen FROM ledger
  WHERE merchant = $1 AND recorded_at_ms >= (SELECT at_ms FROM since) AND recorded_at_ms < $2 AND entry = 'payment'
    AND currency {is}
  UNION ALL
  SELECT currency, -amount_fen AS change_fen FROM refund_ledger
  WHERE merchant = $1 AND recorded_at_ms >= (SELECT at_ms FROM since) AND recorded_at_ms < $2 AND currency {is}";
