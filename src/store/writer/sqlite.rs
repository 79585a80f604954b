//! Writes on SQLite: one thread owns the only writing connection of this process. It takes everything that waits, runs
//! it in one transaction with a savepoint for each write, and answers after the commit: one fsync for all of them.
//!
//! Other processes may write to the same file; they are waited for, as long as the busy timeout.

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use rusqlite::CachedStatement;
use sea_orm::{DbErr, RuntimeErr, Statement};
use tokio::sync::{mpsc, oneshot};

use super::door::{Limits, Writing};
use super::row::Row;
use super::tx::WriteTx;
use super::values::{failed, parameter};
use crate::store::DbError;

/// How long another process's write is waited for.
pub(in crate::store) const BUSY_TIMEOUT: Duration = Duration::from_secs(8);

/// Statements that stay prepared: more than there are different ones.
const STATEMENTS: usize = 512;

/// How often, and how far apart, a file is opened that another process is just switching to WAL: SQLite does not wait
/// its busy timeout for that.
const OPEN_TRIES: u32 = 20;
const OPEN_AGAIN: Duration = Duration::from_millis(100);

/// The writing connection. Used by the writer's thread alone; the mutex is there because sea-orm asks that a connection
/// can be shared, and is never contended.
#[derive(Debug)]
pub(super) struct Connection(Mutex<rusqlite::Connection>);

impl Connection {
    fn open(path: &Path) -> Result<Connection, rusqlite::Error> {
        let connection = rusqlite::Connection::open(path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        for (pragma, value) in [
            ("journal_mode", "WAL"),
            // A commit is on the disk when it returns.
            ("synchronous", "FULL"),
            ("foreign_keys", "ON"),
            // Otherwise a statement that sorts its rows opens a file for it.
            ("temp_store", "MEMORY"),
        ] {
            connection.pragma_update(None, pragma, value)?;
        }
        Ok(Connection(Mutex::new(connection)))
    }

    fn open_when_free(path: &Path) -> Result<Connection, rusqlite::Error> {
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

fn ended() -> DbErr {
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
    for (i, value) in statement.values.iter().flat_map(|values| values.iter()).enumerate() {
        prepared.raw_bind_parameter(i + 1, parameter(value)?).map_err(|e| failed(&e))?;
    }
    Ok(prepared)
}

/// The queue to the writer's thread.
#[derive(Clone, Debug)]
pub(super) struct Queue(mpsc::Sender<Box<dyn Job>>);

impl Queue {
    pub async fn open(path: PathBuf, limits: Limits) -> Result<Queue, DbError> {
        let (queue, waiting) = mpsc::channel(limits.queue.max(1));
        let (opened, outcome) = oneshot::channel();
        let work = move || {
            let connection = match Connection::open_when_free(&path) {
                Ok(connection) => connection,
                Err(e) => return drop(opened.send(Err(DbError::from(failed(&e))))),
            };
            if opened.send(Ok(())).is_ok() {
                Thread { path, tx: Some(WriteTx::sqlite(connection)), batch: limits.batch.max(1) }.run(waiting);
            }
        };
        let spawned = std::thread::Builder::new().name("store-writer".into()).spawn(work);
        spawned.map_err(|e| DbError::Defect(format!("the writer's thread: {e}")))?;
        outcome.await.unwrap_or_else(|_| Err(closed()))?;
        Ok(Queue(queue))
    }

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
        let (answer, outcome) = oneshot::channel();
        let job = Box::new(Write { kind, data, run, outcome: None, answer });
        self.0.send(job).await.map_err(|_| closed())?;
        outcome.await.unwrap_or_else(|_| Err(closed()))
    }
}

fn closed() -> DbError {
    DbError::Defect("the writer is closed".into())
}

/// A write of any type.
trait Job: Send {
    /// Runs it and keeps its result; whether it succeeded.
    fn run(&mut self, tx: &WriteTx) -> bool;
    /// Gives the kept result to the caller, or this error instead of a success that was not committed.
    fn answer(self: Box<Self>, lost: Option<&DbErr>);
}

struct Write<D, T> {
    kind: &'static str,
    data: D,
    run: for<'a> fn(&'a WriteTx, &'a D) -> Writing<'a, T>,
    outcome: Option<Result<T, DbError>>,
    answer: oneshot::Sender<Result<T, DbError>>,
}

impl<D: Send + Sync, T: Send> Job for Write<D, T> {
    fn run(&mut self, tx: &WriteTx) -> bool {
        // Every statement has its result at once here, so one poll brings the write to its end.
        let run = AssertUnwindSafe(|| (self.run)(tx, &self.data).now_or_never());
        let outcome = std::panic::catch_unwind(run).unwrap_or_else(|_| {
            tracing::error!(kind = self.kind, "a write panicked");
            Some(Err(DbError::Defect(format!("write {} panicked", self.kind))))
        });
        let waited = || Err(DbError::Defect(format!("write {} waited for something outside", self.kind)));
        self.outcome.insert(outcome.unwrap_or_else(waited)).is_ok()
    }

    fn answer(self: Box<Self>, lost: Option<&DbErr>) {
        let outcome = match (self.outcome, lost) {
            (Some(Err(e)), _) => Err(e),
            (Some(Ok(_)) | None, Some(lost)) => Err(DbError::from(lost.clone())),
            (Some(Ok(value)), None) => Ok(value),
            (None, None) => Err(closed()),
        };
        // A caller that went away has no use for the result.
        let _ = self.answer.send(outcome);
    }
}

struct Thread {
    path: PathBuf,
    /// None after a transaction that did not end as it should: the next one gets a new connection.
    tx: Option<WriteTx>,
    batch: usize,
}

impl Thread {
    fn run(mut self, mut waiting: mpsc::Receiver<Box<dyn Job>>) {
        let mut jobs = Vec::new();
        while waiting.blocking_recv_many(&mut jobs, self.batch) > 0 {
            let lost = self.commit(&mut jobs).err();
            if lost.is_some() {
                // They would only wait for the same, one busy timeout after the other.
                while jobs.len() < waiting.max_capacity()
                    && let Ok(job) = waiting.try_recv()
                {
                    jobs.push(job);
                }
            }
            jobs.drain(..).for_each(|job| job.answer(lost.as_ref()));
        }
    }

    /// Runs and commits these together. An error means that nothing of them is in the database.
    fn commit(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), DbErr> {
        let tx = match self.tx.take() {
            Some(tx) => tx,
            None => WriteTx::sqlite(Connection::open(&self.path).map_err(|e| failed(&e))?),
        };
        tx.frame("BEGIN IMMEDIATE")?;
        for job in jobs {
            tx.frame("SAVEPOINT one_write")?;
            let succeeded = job.run(&tx);
            if !tx.is_open() {
                return Err(ended());
            }
            if !succeeded {
                tx.frame("ROLLBACK TO one_write")?;
            }
            tx.frame("RELEASE one_write")?;
        }
        tx.frame("COMMIT")?;
        self.tx = Some(tx);
        Ok(())
    }
}
