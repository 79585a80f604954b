//! The database connection: one API over SQLite and PostgreSQL, with the settings that money needs.
//!
//! SQLite has one writer (see [`super::writer`]) and a pool of read-only connections. PostgreSQL has one pool. One
//! connection beside them is for what must not wait behind requests.

use std::borrow::Cow;
use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::num::NonZero;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbErr, Statement, Value};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use super::deadline::{DEADLINE, Deadline};
use super::error::DbError;
use super::kind::DbKind;
use super::postgres;
use super::roles;
use super::roles::Owner;
use crate::clock::Timestamp;
use crate::config;
use crate::store::writer::{
    ACQUIRE_TIMEOUT, BUSY_TIMEOUT, Limits, ReadPool, Reader, Row, RowForm, WriteTx, Writer, Writing,
};

/// How long it counts whether SQLite takes writes: finding out is a write.
const PROBE_COUNTS: Duration = Duration::from_secs(1);

/// Readers of SQLite that stay open, where there are no more cores than this.
const READERS_KEPT: usize = 4;
/// After this time without a read the others are closed.
const SPARE_FOR: Duration = Duration::from_secs(10);

/// A client that streams changes out of a logical slot is no standby.
pub(super) const POSTGRES_HEALTH: &str = "
SELECT current_setting('transaction_read_only') = 'off' AS takes_writes,
       current_setting('synchronous_standby_names') = '' AND EXISTS (
         SELECT 1 FROM pg_stat_replication AS r WHERE NOT EXISTS (
           SELECT 1 FROM pg_replication_slots AS s WHERE s.active_pid = r.pid AND s.slot_type = 'logical')
       ) AS is_asynchronous";

fn sqlite_options(path: &Path, connections: u32, query_only: &'static str) -> ConnectOptions {
    let mut o = ConnectOptions::new(format!("sqlite://{}?mode=rwc", path.display()));
    o.max_connections(connections)
        .min_connections(1)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .sqlx_logging(false)
        .map_sqlx_sqlite_opts(move |o| {
            o.pragma("journal_mode", "WAL")
                .pragma("synchronous", "FULL")
                .pragma("foreign_keys", "ON")
                .pragma("temp_store", "MEMORY")
                // Of each reader: what it evicts is in the page cache of the operating system.
                .pragma("cache_size", "-1024")
                .pragma("query_only", query_only)
                .busy_timeout(BUSY_TIMEOUT)
        });
    o
}

/// A few readers stay open, each with the schema and its statements in memory; the rest are opened when these are busy.
async fn sqlite_readers(path: &Path, readers: u32) -> Result<ReadPool, DbErr> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let kept = u32::try_from(cores.max(READERS_KEPT)).unwrap_or(u32::MAX).min(readers);
    let pool = ReadPool::new(connect_when_free(|| sqlite_options(path, kept, "ON")).await?, None, None);
    if kept == readers {
        return Ok(pool);
    }
    let mut spare = sqlite_options(path, readers - kept, "ON");
    spare.min_connections(0).connect_lazy(true).idle_timeout(SPARE_FOR);
    Ok(pool.with_spare(kept, (Database::connect(spare).await?, readers - kept)))
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

/// Makes the file, where it is missing, and its folder, for this user alone. SQLite gives its other files the same
/// rights.
fn create_private(file: &Path) -> io::Result<()> {
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Result of a health check of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DbHealth {
    /// Its clock.
    pub now: Timestamp,
    /// Whether it takes writes from this connection.
    pub takes_writes: bool,
    /// Whether standbys are attached for none of which a commit waits: what was committed may be missing after a
    /// failover. None where there are no standbys: SQLite.
    pub is_asynchronous: Option<bool>,
}

/// An open database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Db {
    kind: DbKind,
    writer: Writer,
    read: ReadPool,
    /// One connection, which requests do not use.
    reserved: Arc<ReadPool>,
    /// By whom the schema of PostgreSQL is changed, when not by the role that reads and writes.
    owner: Option<Arc<Owner>>,
    /// The file, when it is one.
    pub(in crate::store) file: Option<Arc<Path>>,
    /// Whether what other processes commit is noticed; changes whenever something may have been.
    pub(super) probed_changes: watch::Sender<bool>,
    /// Whether SQLite took the latest write of [`Db::takes_writes`], and when.
    probed: Arc<Mutex<Option<(Instant, bool)>>>,
}

impl Db {
    /// Opens the database at `store.url`; a missing SQLite file is created with its folder.
    pub async fn connect(settings: &config::Store) -> Result<Db, DbError> {
        Db::connect_relayed(settings, false).await
    }

    /// The same; `relayed` is that of [`RowForm`].
    pub(in crate::store) async fn connect_relayed(settings: &config::Store, relayed: bool) -> Result<Db, DbError> {
        let form = RowForm { compact: settings.compact, relayed };
        match settings.sqlite_file() {
            Some(file) => Db::connect_sqlite(settings, &file, form).await,
            None => Db::connect_by(settings, form, Deadline::new(DEADLINE)).await,
        }
    }

    /// The same of PostgreSQL, by another deadline than the service's.
    #[doc(hidden)]
    pub async fn connect_within(settings: &config::Store, deadline: Duration) -> Result<Db, DbError> {
        let form = RowForm { compact: settings.compact, relayed: false };
        Db::connect_by(settings, form, Deadline::new(deadline)).await
    }

    async fn connect_sqlite(settings: &config::Store, path: &Path, form: RowForm) -> Result<Db, DbError> {
        create_private(path).map_err(|e| DbError::Defect(format!("{}: {e}", path.display())))?;
        let writer = Writer::sqlite(path, form, Limits::DEFAULT).await?;
        let read = sqlite_readers(path, settings.max_connections.max(1)).await?;
        let mut one = sqlite_options(path, 1, "ON");
        one.min_connections(0).connect_lazy(true);
        let reserved = Arc::new(ReadPool::new(Database::connect(one).await?, None, None));
        Ok(Db {
            kind: DbKind::Sqlite,
            writer,
            read,
            reserved,
            owner: None,
            file: Some(path.into()),
            probed_changes: watch::Sender::new(false),
            probed: Arc::default(),
        })
    }

    pub(in crate::store) async fn connect_postgres(settings: &config::Store) -> Result<Db, DbError> {
        Db::connect_within(settings, DEADLINE).await
    }

    async fn connect_by(settings: &config::Store, form: RowForm, deadline: Deadline) -> Result<Db, DbError> {
        let cache = settings.statement_cache;
        // One is reserved: with it there are never more than the settings say. The configuration wants two at least.
        let connections = settings.max_connections.saturating_sub(1).max(1);
        let pool = postgres::connect(settings.url.expose(), connections, cache, &deadline).await?;
        let prelude = (cache == 0).then(|| postgres::PRELUDE.as_str());
        let lanes = ((pool.clone(), connections), deadline.clone());
        let writer = Writer::postgres(lanes, prelude, form, Limits::DEFAULT);
        let read = ReadPool::new(pool, prelude, Some(deadline.clone()));
        let reserved = postgres::connect_lazily(settings.url.expose(), cache, &deadline).await?;
        let reserved = Arc::new(ReadPool::new(reserved, prelude, Some(deadline)));
        let owner = settings.migrate_url.clone().map(|url| Arc::new(Owner::new(url, cache)));
        Ok(Db {
            kind: DbKind::Postgres,
            writer,
            read,
            reserved,
            owner,
            file: None,
            probed_changes: watch::Sender::new(false),
            probed: Arc::default(),
        })
    }

    /// Which database this is.
    pub fn kind(&self) -> DbKind {
        self.kind
    }

    /// A connection for reading.
    pub fn read(&self) -> &ReadPool {
        &self.read
    }

    /// The pool of readers, for a query that may also run inside a write.
    pub(in crate::store) fn reader(&self) -> Reader<'_> {
        Reader::Pool(&self.read)
    }

    /// The connection for what must not wait behind requests, however many there are.
    pub(in crate::store) fn reserved_reader(&self) -> Reader<'_> {
        Reader::Pool(&self.reserved)
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
    pub(in crate::store) async fn execute_returning(
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
    pub async fn health(&self) -> Result<DbHealth, DbError> {
        let now = self.now().await?;
        if self.kind == DbKind::Sqlite {
            return Ok(DbHealth { now, takes_writes: self.takes_writes().await?, is_asynchronous: None });
        }
        let row = self.read.query_one_raw(self.statement(POSTGRES_HEALTH, [])).await?;
        let row = row.ok_or_else(|| DbError::Defect("no setting".into()))?;
        let is_asynchronous = Some(row.try_get("", "is_asynchronous")?);
        Ok(DbHealth { now, takes_writes: row.try_get("", "takes_writes")?, is_asynchronous })
    }

    async fn takes_writes(&self) -> Result<bool, DbError> {
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
        let Some(file) = &self.file else { return roles::migrate(&self.read, self.owner.as_deref()).await };
        // A connection of its own: the schema is not the writer's business, and is complete before anything is written.
        let connection = connect_when_free(|| sqlite_options(file, 1, "OFF")).await?;
        let migrated = migrations::up(&connection, None, None).await;
        connection.close().await?;
        Ok(migrated?)
    }

    /// Answers when the database does.
    pub async fn ping(&self) -> Result<(), DbError> {
        Ok(self.read.ping().await?)
    }
}
