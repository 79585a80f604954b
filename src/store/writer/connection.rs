//! The only writing connection of this process to a SQLite file.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::CachedStatement;
use rusqlite::config::DbConfig;
use sea_orm::{DbErr, RuntimeErr, Statement, Value};

use super::row::Row;
use super::values::{failed, parameter};

/// How long another process's write is waited for.
pub(in crate::store) const BUSY_TIMEOUT: Duration = Duration::from_secs(8);

/// The pauses of such a wait, and how many there are of each: together as long as [`BUSY_TIMEOUT`]. SQLite's own soon
/// are a tenth of a second, while of two processes that write alternately each waits for a few milliseconds.
const LOCK_PAUSES: [(Duration, u32); 2] = [(Duration::from_micros(500), 1_000), (Duration::from_millis(25), 300)];

/// Statements that stay prepared: more than there are different ones.
const STATEMENTS: usize = 512;

/// How often, and how far apart, a file is opened that another process is just switching to WAL: SQLite does not wait
/// its busy timeout for that.
const OPEN_TRIES: u32 = 20;
const OPEN_AGAIN: Duration = Duration::from_millis(100);

/// Pauses before the lock is tried once more; whether it is.
fn waits_for_the_lock(tries: i32) -> bool {
    let mut left = u32::try_from(tries).unwrap_or(u32::MAX);
    for (pause, count) in LOCK_PAUSES {
        if left < count {
            std::thread::sleep(pause);
            return true;
        }
        left -= count;
    }
    false
}

/// The writing connection. Used by the writer's thread alone; the mutex is there because sea-orm asks that a connection
/// can be shared, and is never contended.
#[derive(Debug)]
pub(super) struct Connection(Mutex<rusqlite::Connection>);

impl Connection {
    pub fn open(path: &Path) -> Result<Connection, rusqlite::Error> {
        let connection = rusqlite::Connection::open(path)?;
        connection.busy_handler(Some(waits_for_the_lock))?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        // Otherwise a statement is prepared anew whenever a parameter that the plan depends on gets another value.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        for (pragma, value) in [
            ("journal_mode", "WAL"),
            // A commit is on the disk when it returns.
            ("synchronous", "FULL"),
            ("foreign_keys", "ON"),
            // Otherwise a statement that sorts its rows opens a file for it.
            ("temp_store", "MEMORY"),
            // In KiB. Pages that do not fit are read from the file again for each row.
            ("cache_size", "-16384"),
            // In pages: one that changes all the time is copied into the file once per so many.
            ("wal_autocheckpoint", "4000"),
        ] {
            connection.pragma_update(None, pragma, value)?;
        }
        Ok(Connection(Mutex::new(connection)))
    }

    pub fn open_when_free(path: &Path) -> Result<Connection, rusqlite::Error> {
        let mut tries = 1;
        loop {
            match Connection::open(path) {
                Err(_) if tries < OPEN_TRIES => {
                    tries += 1;
                    std::thread::sleep(OPEN_AGAIN);
                }
                outcome => return outcome,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, rusqlite::Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a statement of the transaction's frame.
    pub fn frame(&self, sql: &str) -> Result<(), DbErr> {
        let run = || self.lock().prepare_cached(sql)?.execute([]);
        run().map(drop).map_err(|e| failed(&e))
    }

    /// SQLite ends a transaction by itself on some errors, such as a full disk. What a write did afterwards would be
    /// committed statement by statement.
    pub fn is_in_transaction(&self) -> bool {
        !self.lock().is_autocommit()
    }

    /// Runs a statement; how many rows it changed.
    pub fn execute(&self, statement: &Statement) -> Result<u64, DbErr> {
        let connection = self.within_transaction()?;
        let changed = prepare(&connection, statement)?.raw_execute().map_err(|e| failed(&e))?;
        Ok(u64::try_from(changed).unwrap_or_default())
    }

    pub fn execute_batch(&self, sql: &str) -> Result<u64, DbErr> {
        let connection = self.within_transaction()?;
        connection.execute_batch(sql).map_err(|e| failed(&e))?;
        Ok(connection.changes())
    }

    /// Runs a statement once per row of parameters; how many rows it changed. `behind` are the parameters that follow
    /// those of each row.
    pub fn execute_each(&self, sql: &str, rows: &[Vec<Value>], behind: &[Value]) -> Result<u64, DbErr> {
        let connection = self.within_transaction()?;
        let mut prepared = connection.prepare_cached(sql).map_err(|e| failed(&e))?;
        let mut changed = 0;
        for row in rows {
            bind(&mut prepared, row.iter().chain(behind))?;
            changed += u64::try_from(prepared.raw_execute().map_err(|e| failed(&e))?).unwrap_or_default();
        }
        Ok(changed)
    }

    /// The same; of each row that changed something, the number of the last row that was inserted. RETURNING would have
    /// SQLite make a table for every row of parameters, and copy each page that it changes.
    pub fn change_each(&self, sql: &str, rows: &[Vec<Value>], behind: &[Value]) -> Result<Vec<Option<i64>>, DbErr> {
        let connection = self.within_transaction()?;
        let mut prepared = connection.prepare_cached(sql).map_err(|e| failed(&e))?;
        let mut changed = Vec::with_capacity(rows.len());
        for row in rows {
            bind(&mut prepared, row.iter().chain(behind))?;
            let any = prepared.raw_execute().map_err(|e| failed(&e))? > 0;
            changed.push(any.then(|| connection.last_insert_rowid()));
        }
        Ok(changed)
    }

    /// Runs a statement that returns rows once per row of parameters.
    pub fn query_each(&self, sql: &str, rows: &[Vec<Value>], behind: &[Value]) -> Result<Vec<Row>, DbErr> {
        let connection = self.within_transaction()?;
        let mut prepared = connection.prepare_cached(sql).map_err(|e| failed(&e))?;
        let names = prepared.column_names().into_iter().map(ToOwned::to_owned).collect();
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            bind(&mut prepared, row.iter().chain(behind))?;
            let mut returned = prepared.raw_query();
            while let Some(next) = returned.next().map_err(|e| failed(&e))? {
                found.push(Row::of_sqlite(next, &names)?);
            }
        }
        Ok(found)
    }

    /// Up to `limit` rows.
    pub fn query(&self, statement: &Statement, limit: usize) -> Result<Vec<Row>, DbErr> {
        let connection = self.within_transaction()?;
        let mut prepared = prepare(&connection, statement)?;
        let names = prepared.column_names().into_iter().map(ToOwned::to_owned).collect();
        let mut found = Vec::new();
        let mut rows = prepared.raw_query();
        while found.len() < limit
            && let Some(next) = rows.next().map_err(|e| failed(&e))?
        {
            found.push(Row::of_sqlite(next, &names)?);
        }
        Ok(found)
    }

    fn within_transaction(&self) -> Result<MutexGuard<'_, rusqlite::Connection>, DbErr> {
        let connection = self.lock();
        if connection.is_autocommit() {
            return Err(ended());
        }
        Ok(connection)
    }
}

pub(super) fn ended() -> DbErr {
    DbErr::Conn(RuntimeErr::Internal("the database ended the transaction".into()))
}

/// The statement with its parameters. `$1` would be a name to SQLite and numbered by where it stands first; `?1` is a
/// number.
fn prepare<'a>(connection: &'a rusqlite::Connection, statement: &Statement) -> Result<CachedStatement<'a>, DbErr> {
    let prepared = if statement.sql.contains('$') {
        connection.prepare_cached(&statement.sql.replace('$', "?"))
    } else {
        connection.prepare_cached(&statement.sql)
    };
    let mut prepared = prepared.map_err(|e| failed(&e))?;
    bind(&mut prepared, statement.values.iter().flat_map(|values| values.iter()))?;
    Ok(prepared)
}

fn bind<'v>(prepared: &mut CachedStatement<'_>, values: impl Iterator<Item = &'v Value>) -> Result<(), DbErr> {
    for (i, value) in values.enumerate() {
        prepared.raw_bind_parameter(i + 1, parameter(value)?).map_err(|e| failed(&e))?;
    }
    Ok(())
}
