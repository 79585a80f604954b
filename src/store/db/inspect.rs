//! The state of a database, read without changing anything: no file is made and no schema brought up to date.

use std::collections::BTreeSet;
use std::path::Path;

use sea_orm::{ConnectOptions, ConnectionTrait, Database, QueryResult};

use super::connection::{Db, POSTGRES_HEALTH};
use super::error::DbError;
use super::kind::DbKind;
use crate::clock::Timestamp;
use crate::config;
use crate::store::writer::ReadPool;

/// What was found of a database.
#[derive(Debug, Clone)]
pub struct DbFindings {
    pub kind: DbKind,
    /// Its clock.
    pub now: Timestamp,
    /// Not when PostgreSQL is a standby or read-only. Of SQLite only a write would show it.
    pub takes_writes: bool,
    /// Whether standbys are attached for none of which a commit waits.
    pub is_asynchronous: bool,
    /// Migrations that are not applied, the oldest first.
    pub missing: Vec<String>,
    /// The streams of the embedded bus, and the bytes that each holds.
    pub streams: Vec<(String, i64)>,
}

/// Reads the database of `store.url`; none where the file of SQLite does not exist.
pub async fn inspect_database(settings: &config::Store) -> Result<Option<DbFindings>, DbError> {
    let Some(file) = settings.sqlite_file() else {
        let db = Db::connect_postgres(settings).await?;
        return read(DbKind::Postgres, db.read()).await.map(Some);
    };
    if !file.exists() {
        return Ok(None);
    }
    let pool = ReadPool::new(Database::connect(read_only(&file)).await?, None, None);
    read(DbKind::Sqlite, &pool).await.map(Some)
}

pub(in crate::store) fn read_only(file: &Path) -> ConnectOptions {
    let mut options = ConnectOptions::new(format!("sqlite://{}?mode=ro", file.display()));
    options.max_connections(1).sqlx_logging(false).map_sqlx_sqlite_opts(|o| o.pragma("query_only", "ON"));
    options
}

/// What the database of SQLite knows of its intake logs.
#[derive(Debug, Clone, Default)]
pub struct IntakeFindings {
    /// The id that their headers name; made with the first of them.
    pub database: Option<String>,
    /// Their cursors. One whose log was settled to its end is not among them.
    pub cursors: Vec<(String, i64)>,
}

/// Reads what a file of SQLite knows of intake logs; nothing where there is no such file or it has no such tables.
pub async fn inspect_intake(file: &Path) -> Result<IntakeFindings, DbError> {
    let mut found = IntakeFindings::default();
    if !file.exists() {
        return Ok(found);
    }
    let pool = ReadPool::new(Database::connect(read_only(file)).await?, None, None);
    let all = async |sql: &str| pool.query_all_raw(DbKind::Sqlite.statement(sql, [])).await;
    let tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name IN ('intake_database', 'intake_logs')";
    if all(tables).await?.len() < 2 {
        return Ok(found);
    }
    for row in all("SELECT id FROM intake_database").await? {
        found.database = Some(row.try_get("", "id")?);
    }
    for row in all("SELECT log, position FROM intake_logs WHERE ended_at_ms IS NULL ORDER BY log").await? {
        found.cursors.push((row.try_get("", "log")?, row.try_get("", "position")?));
    }
    Ok(found)
}

async fn read(kind: DbKind, pool: &ReadPool) -> Result<DbFindings, DbError> {
    let one = async |sql: &str| -> Result<QueryResult, DbError> {
        let row = pool.query_one_raw(kind.statement(sql, [])).await?;
        row.ok_or_else(|| DbError::Defect("a statement without a row".into()))
    };
    let now = one(&format!("SELECT {} AS now_ms", kind.now_ms_sql())).await?.try_get("", "now_ms")?;
    let (takes_writes, is_asynchronous) = match kind {
        DbKind::Sqlite => (true, false),
        DbKind::Postgres => {
            let row = one(POSTGRES_HEALTH).await?;
            (row.try_get("", "takes_writes")?, row.try_get("", "is_asynchronous")?)
        }
    };
    let tables = match kind {
        DbKind::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table'",
        DbKind::Postgres => "SELECT CAST(tablename AS TEXT) AS name FROM pg_tables WHERE schemaname = current_schema()",
    };
    let texts = async |sql: &str, column: &str| -> Result<BTreeSet<String>, DbError> {
        let rows = pool.query_all_raw(kind.statement(sql, [])).await?;
        rows.iter().map(|row| Ok(row.try_get("", column)?)).collect()
    };
    let tables = texts(tables, "name").await?;
    let applied = if tables.contains("seaql_migrations") {
        texts("SELECT version FROM seaql_migrations", "version").await?
    } else {
        BTreeSet::new()
    };
    let mut streams = Vec::new();
    if tables.contains("bus_streams") {
        for row in pool.query_all_raw(kind.statement("SELECT stream, size_bytes FROM bus_streams", [])).await? {
            streams.push((row.try_get("", "stream")?, row.try_get("", "size_bytes")?));
        }
    }
    let missing = migrations::names().into_iter().filter(|name| !applied.contains(name)).collect();
    Ok(DbFindings { kind, now: Timestamp::from_ms(now), takes_writes, is_asynchronous, missing, streams })
}
