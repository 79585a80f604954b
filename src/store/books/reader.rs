//! A database opened to compare its books: nothing is written, and no process of the service is needed.

use sea_orm::Database;

use crate::clock::Timestamp;
use crate::config;
use crate::ids::MerchantKey;
use crate::store::Store;
use crate::store::db::{Db, DbError, DbKind, read_only};
use crate::store::order::rows::broken;
use crate::store::writer::{ReadPool, Reader};

/// What the comparison of the books reads. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BooksReader {
    kind: DbKind,
    pool: ReadPool,
}

impl Store {
    /// The books for a comparison.
    pub fn books(&self) -> BooksReader {
        BooksReader { kind: self.db.kind(), pool: self.db.read().clone() }
    }
}

/// Opens the books at `store.url`; none where the file of SQLite does not exist.
pub async fn open_books(settings: &config::Store) -> Result<Option<BooksReader>, DbError> {
    let Some(file) = settings.sqlite_file() else {
        let db = Db::connect_postgres(settings).await?;
        return Ok(Some(BooksReader { kind: DbKind::Postgres, pool: db.read().clone() }));
    };
    if !file.exists() {
        return Ok(None);
    }
    let pool = ReadPool::new(Database::connect(read_only(&file)).await?, None, None);
    Ok(Some(BooksReader { kind: DbKind::Sqlite, pool }))
}

impl BooksReader {
    pub(super) fn reader(&self) -> Reader<'_> {
        Reader::Pool(&self.pool)
    }

    /// The database's clock.
    pub async fn now(&self) -> Result<Timestamp, DbError> {
        let rows = self.reader().rows(&format!("SELECT {} AS now_ms", self.kind.now_ms_sql()), []).await?;
        let row = rows.first().ok_or_else(|| DbError::Defect("no clock".into()))?;
        Ok(Timestamp::from_ms(row.get("now_ms")?))
    }

    /// Every merchant that has money in the ledger.
    pub async fn merchants(&self) -> Result<Vec<MerchantKey>, DbError> {
        let rows = self.reader().rows(MERCHANTS, []).await?;
        rows.iter().map(|row| MerchantKey::parse(row.get::<String>("merchant")?).map_err(broken("merchant"))).collect()
    }

    /// When a merchant's first row entered a ledger, or its first order was placed; none where it has neither.
    pub async fn first_moment(&self, merchant: &MerchantKey) -> Result<Option<Timestamp>, DbError> {
        let sql = "SELECT MIN(at_ms) AS at_ms FROM (
                     SELECT MIN(recorded_at_ms) AS at_ms FROM ledger WHERE merchant = $1
                     UNION ALL SELECT MIN(recorded_at_ms) AS at_ms FROM refund_ledger WHERE merchant = $1
                     UNION ALL SELECT MIN(created_at_ms) AS at_ms FROM orders WHERE merchant = $1) AS f";
        let rows = self.reader().rows(sql, [merchant.as_str().into()]).await?;
        let first = rows.first().map(|row| row.get::<Option<i64>>("at_ms")).transpose()?.flatten();
        Ok(first.map(Timestamp::from_ms))
    }
}

/// One step in the index per merchant.
const MERCHANTS: &str = "
WITH RECURSIVE found (merchant) AS (
  SELECT MIN(merchant) FROM ledger
  UNION ALL
  SELECT (SELECT MIN(merchant) FROM ledger WHERE merchant > found.merchant) FROM found
  WHERE found.merchant IS NOT NULL)
SELECT merchant FROM found WHERE merchant IS NOT NULL";
