//! Days whose bill is not there.

use crate::ids::MerchantKey;
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::order::rows::broken;
use crate::store::writer::Row;

/// The trade bills of a merchant that were asked for and are not there, or cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingBills {
    pub merchant: MerchantKey,
    pub days: i64,
    pub oldest: String,
    pub newest: String,
}

impl Store {
    /// Those of days from `from` up to `to`, by merchant.
    pub async fn missing_bill_days(&self, (from, to): (&str, &str)) -> Result<Vec<MissingBills>, DbError> {
        let sql = "SELECT merchant, COUNT(*) AS n, MIN(day) AS oldest, MAX(day) AS newest FROM bills
                   WHERE kind = 'trades' AND state IN ('waiting', 'failed') AND day >= $1 AND day <= $2
                   GROUP BY merchant ORDER BY merchant";
        let rows = self.db.reader().rows(sql, [from.into(), to.into()]).await?;
        let bills = |row: &Row| {
            Ok(MissingBills {
                merchant: MerchantKey::parse(row.get::<String>("merchant")?).map_err(broken("merchant"))?,
                days: row.get("n")?,
                oldest: row.get("oldest")?,
                newest: row.get("newest")?,
            })
        };
        rows.iter().map(bills).collect()
    }
}
