//! What the rows of a database say.

use sea_orm::ConnectionTrait;
use wxpay_worker::store::Db;

/// One number from a database.
pub async fn number(db: &Db, sql: &str) -> i64 {
    let row = db.read().query_one_raw(db.statement(format!("SELECT ({sql}) AS n"), [])).await.unwrap().unwrap();
    row.try_get("", "n").unwrap()
}

/// Rows of one text column.
pub async fn texts(db: &Db, sql: &str) -> Vec<String> {
    let rows = db.read().query_all_raw(db.statement(sql, [])).await.unwrap();
    rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
}
