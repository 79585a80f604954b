//! Sums by currency in bounded memory.
//!
//! What must stay true: SQLite sorts the rows that it groups in memory, so that nothing groups rows without a limit.

use sea_orm::Value;

use crate::store::db::DbError;
use crate::store::writer::Reader;

/// Number and sum of the rows that `rows` names (`table WHERE …`), by currency. Yuan apart, which almost all rows are
/// of.
pub(in crate::store) async fn sums_by_currency(
    reader: Reader<'_>,
    rows: &str,
    values: Vec<Value>,
) -> Result<Vec<(String, i64, i64)>, DbError> {
    let yuan = format!(
        "SELECT COUNT(*) AS all_n,
           CAST(COALESCE(SUM(CASE WHEN currency = 'CNY' THEN 1 ELSE 0 END), 0) AS BIGINT) AS n,
           CAST(COALESCE(SUM(CASE WHEN currency = 'CNY' THEN amount_fen ELSE 0 END), 0) AS BIGINT) AS fen
         FROM {rows}"
    );
    let (mut sums, mut has_others) = (Vec::new(), false);
    for row in reader.rows(&yuan, values.clone()).await? {
        let (all, n): (i64, i64) = (row.get("all_n")?, row.get("n")?);
        has_others = n < all;
        if n > 0 {
            sums.push(("CNY".to_owned(), n, row.get("fen")?));
        }
    }
    if has_others {
        let others = format!(
            "SELECT currency, COUNT(*) AS n, CAST(SUM(amount_fen) AS BIGINT) AS fen FROM {rows}
             AND currency <> 'CNY' GROUP BY currency"
        );
        for row in reader.rows(&others, values).await? {
            sums.push((row.get("currency")?, row.get("n")?, row.get("fen")?));
        }
    }
    Ok(sums)
}
