//! Writes on SQLite: one thread owns the only writing connection of this process. It takes everything that waits, runs
//! it in one transaction with a savepoint for each write, and answers after the commit: one fsync for all of them.
//!
//! Other processes may write to the same file; they are waited for, as long as the busy timeout.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;

use futures_util::FutureExt;
use sea_orm::{DbErr, RuntimeErr};
use tokio::sync::{mpsc, oneshot};

use super::connection::{Connection, ended};
use super::tx::WriteTx;
use super::types::{Limits, Writing};
use super::values::failed;
use crate::store::db::DbError;

/// The queue to the writer's thread.
#[derive(Clone, Debug)]
pub(super) struct Queue(mpsc::Sender<Box<dyn Job>>);

impl Queue {
    pub async fn open(path: PathBuf, compact: bool, limits: Limits) -> Result<Queue, DbError> {
        let (queue, waiting) = mpsc::channel(limits.queue.max(1));
        let (opened, outcome) = oneshot::channel();
        let work = move || {
            let connection = match Connection::open_when_free(&path) {
                Ok(connection) => connection,
                Err(e) => return drop(opened.send(Err(DbError::from(failed(&e))))),
            };
            if opened.send(Ok(())).is_ok() {
                let tx = Some(WriteTx::sqlite(connection, compact));
                Thread { path, tx, compact, batch: limits.batch.max(1) }.run(waiting);
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

/// Unavailable, not a defect: what waits for it must not use up its attempts.
fn closed() -> DbError {
    DbError::Unavailable(DbErr::Conn(RuntimeErr::Internal("the writer is closed".into())))
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
    compact: bool,
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
            None => WriteTx::sqlite(Connection::open(&self.path).map_err(|e| failed(&e))?, self.compact),
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
