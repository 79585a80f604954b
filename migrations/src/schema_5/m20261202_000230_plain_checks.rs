//! On SQLite, checks of a column against a list as comparisons. For a list of three values and more SQLite makes a
//! table in memory each time a statement runs: ten of them for every notification that is settled.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, Statement};

#[derive(DeriveMigrationName)]
pub struct Migration;

/// The tables that orders, notifications and refunds write.
const TABLES: &[&str] =
    &["orders", "attempts", "notifications", "evidence", "payments", "ledger", "refunds", "refund_evidence"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        match manager.get_database_backend() {
            DbBackend::Sqlite => rewrite(manager).await,
            _ => Ok(()),
        }
    }
}

/// Edits the schema's text, as <https://sqlite.org/lang_altertable.html> section 7 allows for checks. What a check
/// accepts stays the same, so the rows need not be read; a text that SQLite cannot read fails the step, and with it the
/// transaction.
async fn rewrite(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let connection = manager.get_connection();
    let select = |sql: &str| Statement::from_string(DbBackend::Sqlite, sql.to_owned());
    let version = connection.query_one_raw(select("PRAGMA schema_version")).await?;
    let version: i64 = version.ok_or_else(|| DbErr::Migration("no schema_version".into()))?.try_get_by_index(0)?;
    let tables = connection.query_all_raw(select("SELECT name, sql FROM sqlite_schema WHERE type = 'table'")).await?;
    connection.execute_unprepared("PRAGMA writable_schema = ON").await?;
    for row in tables {
        let (name, sql): (String, String) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        if !TABLES.contains(&name.as_str()) {
            continue;
        }
        let update = "UPDATE sqlite_schema SET sql = $2 WHERE type = 'table' AND name = $1";
        let values = [name.into(), compared(&sql).into()];
        connection.execute_raw(Statement::from_sql_and_values(DbBackend::Sqlite, update, values)).await?;
    }
    // Other connections read the schema again, and so does this one.
    connection.execute_unprepared(&format!("PRAGMA schema_version = {}", version + 1)).await?;
    connection.execute_unprepared("PRAGMA writable_schema = RESET").await?;
    for table in TABLES {
        connection.query_one_raw(select(&format!("SELECT * FROM {table} LIMIT 1"))).await?;
    }
    Ok(())
}

/// `(a = 'x' OR a = 'y' OR a = 'z')` for each `a IN ('x', 'y', 'z')`; shorter lists and NOT IN stay.
fn compared(sql: &str) -> String {
    let mut text = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(at) = rest.find(" IN ('") {
        let (before, list) = rest.split_at(at);
        let column = before.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
        let inside = &list[" IN (".len()..];
        let end = inside.find(')').unwrap_or(inside.len());
        let values: Vec<&str> = inside[..end].split(',').map(str::trim).collect();
        if column.is_empty() || column == "NOT" || values.len() < 3 || end == inside.len() {
            text.push_str(&rest[..at + " IN (".len()]);
            rest = inside;
            continue;
        }
        text.push_str(&before[..before.len() - column.len()]);
        let equal: Vec<String> = values.iter().map(|value| format!("{column} = {value}")).collect();
        text.push_str(&format!("({})", equal.join(" OR ")));
        rest = &inside[end + 1..];
    }
    text + rest
}
