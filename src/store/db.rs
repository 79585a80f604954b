//! The database connection: one API over SQLite and PostgreSQL, with the settings that money needs.
//!
//! SQLite has one writer (see [`super::writer`]) and a pool of read-only connections. PostgreSQL has one pool with
//! `synchronous_commit=on` and timeouts on statements and locks, which is not the driver's default.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::sqlx;
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr, Statement, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::writer::{BUSY_TIMEOUT, Limits, Row, WriteTx, Writer, Writing};
use crate::clock::Timestamp;
use crate::config;

/// How long a connection to PostgreSQL is used. After a switchover the old primary may stay up and refuse every write:
/// a process still connected to it finds the new primary by reconnecting.
const CONNECTION_LIFE: Duration = Duration::from_secs(45);

/// How long it counts whether SQLite takes writes: finding out is a write.
const PROBE_COUNTS: Duration = Duration::from_secs(1);

/// Why the database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// Not reachable, locked, out of space, cut off: the same call may succeed later.
    #[error("database not available{}", said(.0))]
    Unavailable(#[source] DbErr),
    /// A unique rule says the row exists already.
    #[error("a row with this key exists")]
    Exists(#[source] DbErr),
    /// The rows do not say what this version of the program understands, or a constraint was broken: a defect.
    #[error("database refused: {0}")]
    Defect(String),
}

impl From<DbErr> for DbError {
    fn from(e: DbErr) -> DbError {
        match e.sql_err() {
            Some(sea_orm::SqlErr::UniqueConstraintViolation(_)) => DbError::Exists(e),
            _ if is_unique_violation(&e) => DbError::Exists(e),
            Some(sea_orm::SqlErr::ForeignKeyConstraintViolation(_)) => DbError::Defect(e.to_string()),
            // `SqlErr` is marked non-exhaustive; what it does not name is distinguished by the SQLSTATE alone.
            _ if is_check_violation(&e) => DbError::Defect(e.to_string()),
            _ => match unstorable(&e) {
                // Without the database's text, which may quote the value.
                Some(code) => DbError::Defect(format!("a value that cannot be stored, SQLSTATE {code}")),
                None => DbError::Unavailable(e),
            },
        }
    }
}

/// Why it is not available, in words that quote no value: SQLite's name no more than columns, of PostgreSQL's only the
/// SQLSTATE is taken.
fn said(e: &DbErr) -> String {
    let runtime = match e {
        DbErr::Conn(e) | DbErr::Exec(e) | DbErr::Query(e) => e,
        DbErr::ConnectionAcquire(sea_orm::ConnAcquireErr::Timeout) => return ": no connection in time".to_owned(),
        _ => return String::new(),
    };
    let sea_orm::RuntimeErr::SqlxError(sqlx) = runtime else { return String::new() };
    match sqlx.as_ref() {
        sqlx::Error::Database(told) => match told.code() {
            Some(state) if state.len() == 5 => format!(": SQLSTATE {state}"),
            Some(_) | None => format!(": {}", told.message()),
        },
        sqlx::Error::Io(e) => format!(": {}", e.kind()),
        sqlx::Error::Tls(_) => ": TLS could not be agreed on".to_owned(),
        sqlx::Error::Protocol(_) => ": it does not speak as expected".to_owned(),
        _ => String::new(),
    }
}

fn sqlite_options(path: &Path, connections: u32, query_only: &'static str) -> ConnectOptions {
    let mut o = ConnectOptions::new(format!("sqlite://{}?mode=rwc", path.display()));
    o.max_connections(connections)
        .min_connections(1)
        .acquire_timeout(Duration::from_secs(10))
        .test_before_acquire(false)
        .sqlx_logging(false)
        .map_sqlx_sqlite_opts(move |o| {
            o.pragma("journal_mode", "WAL")
                .pragma("synchronous", "FULL")
                .pragma("foreign_keys", "ON")
                .pragma("temp_store", "MEMORY")
                .pragma("query_only", query_only)
                .busy_timeout(BUSY_TIMEOUT)
        });
    o
}

/// SQLite does not wait its busy timeout for the one switch of a new file to WAL: of two processes that start at once,
/// one gets a "locked" error.
async fn connect_when_free(options: impl Fn() -> ConnectOptions) -> Result<DatabaseConnection, DbErr> {
    let mut tries = 0;
    loop {
        match Database::connect(options()).await {
            Err(_) if tries < 20 => {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            outcome => return outcome,
        }
    }
}

/// Of the writer on SQLite, whose errors `SqlErr` does not know: 1555 is SQLITE_CONSTRAINT_PRIMARYKEY, 2067 _UNIQUE.
fn is_unique_violation(e: &DbErr) -> bool {
    let DbErr::Exec(sea_orm::RuntimeErr::SqlxError(sqlx)) = e else { return false };
    let code = sqlx.as_database_error().and_then(|d| d.code());
    code.is_some_and(|code| matches!(code.as_ref(), "1555" | "2067"))
}

fn is_check_violation(e: &DbErr) -> bool {
    let runtime = match e {
        DbErr::Exec(e) | DbErr::Query(e) => e,
        _ => return matches!(e, DbErr::Type(_) | DbErr::TryIntoErr { .. } | DbErr::ConvertFromU64(_)),
    };
    let sea_orm::RuntimeErr::SqlxError(sqlx) = runtime else { return false };
    // 275: SQLITE_CONSTRAINT_CHECK, 787: _FOREIGNKEY, 1811: _TRIGGER; class 23/P0: PostgreSQL's integrity and raised
    // errors.
    sqlx.as_database_error().and_then(|d| d.code()).is_some_and(|code| {
        matches!(
            code.as_ref(),
            "275" | "787" | "1811" | "23514" | "23502" | "1299" | "P0001" | "42703" | "42P01" | "42601"
        )
    })
}

/// PostgreSQL's state when a value itself is refused, such as a NUL character in a text: class 22, and 54 for a limit
/// of the program. SQLite's codes are shorter.
fn unstorable(e: &DbErr) -> Option<String> {
    let (DbErr::Exec(sea_orm::RuntimeErr::SqlxError(sqlx)) | DbErr::Query(sea_orm::RuntimeErr::SqlxError(sqlx))) = e
    else {
        return None;
    };
    let code = sqlx.as_database_error()?.code()?;
    (code.len() == 5 && (code.starts_with("22") || code.starts_with("54"))).then(|| code.into_owned())
}

/// Which database this is; SQL differs in a few places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DbKind {
    /// A file on this machine.
    Sqlite,
    /// A server.
    Postgres,
}

impl DbKind {
    /// A statement of our own; parameters are written `$1`, `$2`, … for both databases.
    pub(super) fn statement(self, sql: impl Into<String>, values: impl IntoIterator<Item = Value>) -> Statement {
        Statement::from_sql_and_values(self.backend(), sql, values)
    }

    /// The dialect of SQL.
    pub(super) fn backend(self) -> DbBackend {
        match self {
            DbKind::Sqlite => DbBackend::Sqlite,
            DbKind::Postgres => DbBackend::Postgres,
        }
    }

    /// The expression of the database's own clock, in milliseconds: leases compare with this one, because the hosts'
    /// clocks may disagree.
    pub(super) fn now_ms_sql(self) -> &'static str {
        match self {
            DbKind::Sqlite => "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)",
            DbKind::Postgres => "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
        }
    }
}

/// Result of a health check of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Its clock.
    pub now: Timestamp,
    /// Whether it takes writes from this connection.
    pub takes_writes: bool,
}

/// An open database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Db {
    kind: DbKind,
    writer: Writer,
    read: DatabaseConnection,
    /// The file, when it is one.
    file: Option<Arc<Path>>,
    /// Whether SQLite took the latest write of [`Db::takes_writes`], and when.
    probed: Arc<Mutex<Option<(Instant, bool)>>>,
}

impl Db {
    /// Opens the database at `store.url`; a missing SQLite file is created with its folder.
    pub async fn connect(settings: &config::Store) -> Result<Db, DbError> {
        let url = settings.url.expose();
        if url.starts_with("sqlite:") {
            Db::connect_sqlite(url, settings.max_connections).await
        } else {
            Db::connect_postgres(url, settings.max_connections).await
        }
    }

    async fn connect_sqlite(url: &str, readers: u32) -> Result<Db, DbError> {
        let path = url.trim_start_matches("sqlite:").trim_start_matches("//");
        let path = Path::new(path.split('?').next().unwrap_or(path));
        if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)
                .map_err(|e| DbError::Defect(format!("folder of {}: {e}", path.display())))?;
        }
        let writer = Writer::sqlite(path, Limits::DEFAULT).await?;
        let read = connect_when_free(|| sqlite_options(path, readers.max(1), "ON")).await?;
        Ok(Db { kind: DbKind::Sqlite, writer, read, file: Some(path.into()), probed: Arc::default() })
    }

    async fn connect_postgres(url: &str, connections: u32) -> Result<Db, DbError> {
        let mut o = ConnectOptions::new(url);
        o.max_connections(connections.max(2))
            .acquire_timeout(Duration::from_secs(5))
            .connect_timeout(Duration::from_secs(5))
            .max_lifetime(CONNECTION_LIFE)
            // A ping before every use would double the round trips; one that just worked, works.
            .test_before_acquire_if_idle_for(Duration::from_secs(1))
            .sqlx_logging(false)
            .map_sqlx_postgres_opts(|o| {
                o.application_name("wxpay-worker").options([
                    ("synchronous_commit", "on"),
                    ("statement_timeout", "15s"),
                    ("lock_timeout", "5s"),
                    ("idle_in_transaction_session_timeout", "30s"),
                ])
            });
        let pool = Database::connect(o).await?;
        let writer = Writer::postgres(pool.clone(), Limits::DEFAULT);
        Ok(Db { kind: DbKind::Postgres, writer, read: pool, file: None, probed: Arc::default() })
    }

    /// Which database this is.
    pub fn kind(&self) -> DbKind {
        self.kind
    }

    /// A connection for reading.
    pub fn read(&self) -> &DatabaseConnection {
        &self.read
    }

    /// Hands a write to the writer and returns its result once that is durable. See [`Writer::write`].
    pub async fn write<D, T>(
        &self,
        kind: &'static str,
        data: D,
        run: for<'a> fn(&'a WriteTx, &'a D) -> Writing<'a, T>,
    ) -> Result<T, DbError>
    where
        D: Send + Sync + 'static,
        T: Send + 'static,
    {
        self.writer.write(kind, data, run).await
    }

    /// A write of one statement; returns how many rows it changed.
    pub async fn execute(
        &self,
        kind: &'static str,
        sql: impl Into<Cow<'static, str>>,
        values: impl Into<Vec<Value>>,
    ) -> Result<u64, DbError> {
        let write = (sql.into(), values.into());
        self.write(kind, write, |tx, (sql, values)| Box::pin(tx.execute(sql, values.iter().cloned()))).await
    }

    /// A write of one statement that returns a row at most.
    pub(super) async fn execute_returning(
        &self,
        kind: &'static str,
        sql: impl Into<Cow<'static, str>>,
        values: impl Into<Vec<Value>>,
    ) -> Result<Option<Row>, DbError> {
        let write = (sql.into(), values.into());
        self.write(kind, write, |tx, (sql, values)| Box::pin(tx.one(sql, values.iter().cloned()))).await
    }

    /// A statement of our own; parameters are written `$1`, `$2`, … for both databases.
    pub fn statement(&self, sql: impl Into<String>, values: impl IntoIterator<Item = Value>) -> Statement {
        self.kind.statement(sql, values)
    }

    /// See [`DbKind::now_ms_sql`].
    pub fn now_ms_sql(&self) -> &'static str {
        self.kind.now_ms_sql()
    }

    /// The database's clock and whether it takes writes: not when it is a standby, was made read-only, or has no room.
    pub async fn look(&self) -> Result<Look, DbError> {
        Ok(Look { now: self.now().await?, takes_writes: self.takes_writes().await? })
    }

    async fn takes_writes(&self) -> Result<bool, DbError> {
        if self.kind == DbKind::Postgres {
            let sql = "SELECT current_setting('transaction_read_only') = 'off' AS takes_writes";
            let row = self.read.query_one_raw(self.statement(sql, [])).await?;
            return Ok(row.ok_or_else(|| DbError::Defect("no setting".into()))?.try_get("", "takes_writes")?);
        }
        let mut probed = self.probed.lock().await;
        if let Some((at, took)) = *probed
            && at.elapsed() < PROBE_COUNTS
        {
            return Ok(took);
        }
        // Only a write shows whether the disk has room. This one writes a page and changes nothing: the number is
        // unused.
        let took = self.execute("db.probe", "PRAGMA user_version = 0", []).await.is_ok();
        *probed = Some((Instant::now(), took));
        Ok(took)
    }

    /// The database's clock.
    pub async fn now(&self) -> Result<Timestamp, DbError> {
        let sql = format!("SELECT {} AS now_ms", self.now_ms_sql());
        let row = self.read.query_one_raw(self.statement(sql, [])).await?;
        let row = row.ok_or_else(|| DbError::Defect("no clock".into()))?;
        Ok(Timestamp::from_ms(row.try_get("", "now_ms")?))
    }

    /// Brings the schema to the newest version; `false` when it was there already.
    pub async fn migrate(&self) -> Result<bool, DbError> {
        let Some(file) = &self.file else { return Ok(migrations::up(&self.read).await?) };
        // A connection of its own: the schema is not the writer's business, and is complete before anything is written.
        let connection = connect_when_free(|| sqlite_options(file, 1, "OFF")).await?;
        let migrated = migrations::up(&connection).await;
        connection.close().await?;
        Ok(migrated?)
    }

    /// Answers when the database does.
    pub async fn ping(&self) -> Result<(), DbError> {
        Ok(self.read.ping().await?)
    }
}
