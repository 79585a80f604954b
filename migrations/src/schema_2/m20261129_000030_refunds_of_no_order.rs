//! Refunds of payments that have no order, and refunds in other currencies than CNY.
//!
//! The version before works on the new tables. It cannot read a refund without an order, which only this version
//! writes, and books a refund in another currency as CNY.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, Statement};

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        match manager.get_database_backend() {
            DbBackend::Postgres => dialect::run(manager, &format!("{LOCK}--;{CURRENCY}--;{RELAX_POSTGRES}")).await,
            _ => {
                dialect::run(manager, CURRENCY).await?;
                relax_sqlite(manager).await
            }
        }
    }
}

/// What changes refunds reads or locks an order first, and is awaited here: it holds none of the tables below.
const LOCK: &str = "
LOCK TABLE orders IN ACCESS EXCLUSIVE MODE
";

const CURRENCY: &str = "
ALTER TABLE refunds ADD COLUMN currency TEXT NOT NULL DEFAULT 'CNY'
--;
UPDATE refunds SET currency = (
  SELECT p.currency FROM payments p WHERE p.merchant = refunds.merchant AND p.transaction_id = refunds.transaction_id)
WHERE EXISTS (
  SELECT 1 FROM payments p
  WHERE p.merchant = refunds.merchant AND p.transaction_id = refunds.transaction_id AND p.currency <> 'CNY')
";

const RELAX_POSTGRES: &str = "
ALTER TABLE refund_totals ALTER COLUMN order_id DROP NOT NULL
--;
ALTER TABLE refunds ALTER COLUMN order_id DROP NOT NULL, ALTER COLUMN order_no DROP NOT NULL
--;
ALTER TABLE refund_ledger ALTER COLUMN order_id DROP NOT NULL, ALTER COLUMN order_no DROP NOT NULL,
  DROP CONSTRAINT refund_ledger_currency_check
";

/// Tables with a part of their SQL, and what takes its place.
const RELAX_SQLITE: &[(&str, &str, &str)] = &[
    ("refund_totals", "order_id BIGINT NOT NULL REFERENCES", "order_id BIGINT REFERENCES"),
    ("refunds", "order_id BIGINT NOT NULL REFERENCES", "order_id BIGINT REFERENCES"),
    ("refunds", "order_no TEXT NOT NULL,", "order_no TEXT,"),
    ("refund_ledger", "order_id BIGINT NOT NULL REFERENCES", "order_id BIGINT REFERENCES"),
    ("refund_ledger", "order_no TEXT NOT NULL,", "order_no TEXT,"),
    ("refund_ledger", "currency TEXT NOT NULL CHECK (currency = 'CNY'),", "currency TEXT NOT NULL,"),
];

/// Removes constraints by editing the schema's text, as <https://sqlite.org/lang_altertable.html> section 7 allows for
/// those that do not change how rows are stored. Inside a transaction a table that others refer to cannot be replaced.
async fn relax_sqlite(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let connection = manager.get_connection();
    let version = text(connection, "PRAGMA schema_version").await?;
    let version: i64 = version.parse().map_err(|_| DbErr::Migration("no schema_version".into()))?;
    connection.execute_unprepared("PRAGMA writable_schema = ON").await?;
    for (table, part, instead) in RELAX_SQLITE {
        let sql = "UPDATE sqlite_schema SET sql = replace(sql, $2, $3)
                   WHERE type = 'table' AND name = $1 AND instr(sql, $2) > 0";
        let values = [table, part, instead].map(|&value| value.into());
        let edited = connection.execute_raw(Statement::from_sql_and_values(DbBackend::Sqlite, sql, values)).await?;
        if edited.rows_affected() != 1 {
            return Err(DbErr::Migration(format!("the table {table} has no {part:?}")));
        }
    }
    // Other connections read the schema again, and so does this one.
    connection.execute_unprepared(&format!("PRAGMA schema_version = {}", version + 1)).await?;
    connection.execute_unprepared("PRAGMA writable_schema = RESET").await?;
    for table in ["refund_totals", "refunds", "refund_ledger"] {
        let found = text(connection, &format!("PRAGMA integrity_check({table})")).await?;
        if found != "ok" {
            return Err(DbErr::Migration(format!("integrity_check of {table}: {found}")));
        }
    }
    Ok(())
}

/// The first value of a pragma's first row, as text.
async fn text(connection: &SchemaManagerConnection<'_>, pragma: &str) -> Result<String, DbErr> {
    let row = connection.query_one_raw(Statement::from_string(DbBackend::Sqlite, pragma.to_owned())).await?;
    let row = row.ok_or_else(|| DbErr::Migration(format!("{pragma} answers nothing")))?;
    match row.try_get_by_index::<String>(0) {
        Ok(text) => Ok(text),
        Err(_) => row.try_get_by_index::<i64>(0).map(|number| number.to_string()),
    }
}
