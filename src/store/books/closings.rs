//! Balances at the ends of days, so that no reader sums up from the beginning.
//!
//! What must stay true: a closing is what the rows before it come to. It is written once the day has been over for some
//! time; a row that is recorded before it nevertheless removes it (a trigger), and the sum is made again.

use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::store::Store;
use crate::store::db::{DbError, placeholders};
use crate::store::order::rows::broken;

/// A merchant's balance by currency.
pub type Balances = BTreeMap<String, i64>;

impl Store {
    /// What the rows recorded before `at` come to.
    pub async fn balances_before(&self, merchant: &MerchantKey, at: Timestamp) -> Result<Balances, DbError> {
        let values = [merchant.as_str().into(), at.as_ms().into()];
        let rows = self.db.reader().rows(BALANCES, values).await?;
        rows.iter().map(|row| Ok((row.get("currency")?, row.get("balance_fen")?))).collect()
    }

    /// Keeps every merchant's balances at the end of a day, where they are not kept. Returns of how many merchants.
    pub async fn close_day(&self, end: Timestamp) -> Result<u64, DbError> {
        let mut closed = 0;
        for merchant in self.book_merchants().await? {
            let kept = "SELECT 1 AS one FROM ledger_closings WHERE merchant = $1 AND at_ms = $2 LIMIT 1";
            let key = [merchant.as_str().into(), end.as_ms().into()];
            if !self.db.reader().rows(kept, key).await?.is_empty() {
                continue;
            }
            let balances = self.balances_before(&merchant, end).await?;
            if balances.is_empty() {
                continue;
            }
            let sql = format!(
                "INSERT INTO ledger_closings (merchant, at_ms, currency, balance_fen) VALUES {}
                 ON CONFLICT DO NOTHING",
                placeholders(balances.len(), 4, 0)
            );
            let mut values = Vec::with_capacity(balances.len() * 4);
            for (currency, balance) in balances {
                values.extend([merchant.as_str().into(), end.as_ms().into(), currency.into(), balance.into()]);
            }
            self.db.execute("ledger.close", sql, values).await?;
            closed += 1;
        }
        Ok(closed)
    }

    /// Every merchant that has money in the ledger.
    pub async fn book_merchants(&self) -> Result<Vec<MerchantKey>, DbError> {
        let rows = self.db.reader().rows(MERCHANTS, []).await?;
        rows.iter().map(|row| MerchantKey::parse(row.get::<String>("merchant")?).map_err(broken("merchant"))).collect()
    }
}

// In one statement: a closing that a row takes away meanwhile is not mixed with that row.
const BALANCES: &str = "
WITH kept (at_ms) AS (SELECT MAX(at_ms) FROM ledger_closings WHERE merchant = $1 AND at_ms <= $2),
     since (at_ms) AS (SELECT COALESCE(at_ms, 0) FROM kept)
SELECT currency, CAST(SUM(change_fen) AS BIGINT) AS balance_fen FROM (
  SELECT currency, balance_fen AS change_fen FROM ledger_closings
  WHERE merchant = $1 AND at_ms = (SELECT at_ms FROM kept)
  UNION ALL
  SELECT currency, amount_fen AS change_fen FROM ledger
  WHERE merchant = $1 AND recorded_at_ms >= (SELECT at_ms FROM since) AND recorded_at_ms < $2 AND entry = 'payment'
  UNION ALL
  SELECT currency, -amount_fen AS change_fen FROM refund_ledger
  WHERE merchant = $1 AND recorded_at_ms >= (SELECT at_ms FROM since) AND recorded_at_ms < $2) AS c
GROUP BY currency";

/// One step in the index per merchant.
const MERCHANTS: &str = "
WITH RECURSIVE found (merchant) AS (
  SELECT MIN(merchant) FROM ledger
  UNION ALL
  SELECT (SELECT MIN(merchant) FROM ledger WHERE merchant > found.merchant) FROM found
  WHERE found.merchant IS NOT NULL)
SELECT merchant FROM found WHERE merchant IS NOT NULL";
