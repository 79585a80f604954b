//! Writes on SQLite: one thread owns the only writing connection of this process. It takes everything that waits, runs
//! it in one transaction, and answers after the commit: one fsync for all of them.
//!
//! A savepoint for each write would have SQLite copy every page that one of them changes once more. Writes nearly never
//! fail; where one does, all of them are rolled back and run again, each with a savepoint.
//!
//! Settling gives way: what a person or WeChat waits for never waits for more than one settling group, and while it
//! keeps coming the writer spends no longer on settling than on it. The writer then rests rather than settle: callers
//! that had their answer need a moment for the next request, and would wait for a settling group begun meanwhile.
//!
//! Other processes may write to the same file; they are waited for, as long as the busy timeout.

use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use metrics::counter;
use sea_orm::DbErr;
use tokio::sync::{mpsc, oneshot};

use super::connection::{Connection, ended};
use super::row::RowForm;
use super::tx::WriteTx;
use super::types::{Job, Limits, closed};
use super::values::failed;
use crate::store::db::DbError;
use crate::telemetry::STORE_COMMITS_TOTAL;

/// Writes that no caller waits for: WeChat has its answer.
const GIVING_WAY: [&str; 2] = ["order.settle", "outbox.mark"];

/// The longest that the writer rests after a settling group: a group that waited for another process's lock took long.
const REST_MAX: Duration = Duration::from_millis(50);

/// Writes that a person or WeChat waits for.
const WAITED_FOR: [&str; 2] = ["bus.publish", "order.record"];

/// The queue to the writer's thread.
#[derive(Clone, Debug)]
pub(super) struct Queue(mpsc::Sender<Box<dyn Job>>);

impl Queue {
    pub async fn open(path: PathBuf, form: RowForm, limits: Limits) -> Result<Queue, DbError> {
        let (queue, waiting) = mpsc::channel(limits.queue.max(1));
        let (opened, outcome) = oneshot::channel();
        let work = move || {
            let connection = match Connection::open_when_free(&path) {
                Ok(connection) => connection,
                Err(e) => return drop(opened.send(Err(DbError::from(failed(&e))))),
            };
            if opened.send(Ok(())).is_ok() {
                let tx = Some(WriteTx::sqlite(connection, form));
                Thread { path, tx, form, batch: limits.batch.max(1) }.run(waiting);
            }
        };
        let spawned = std::thread::Builder::new().name("store-writer".into()).spawn(work);
        spawned.map_err(|e| DbError::Defect(format!("the writer's thread: {e}")))?;
        outcome.await.unwrap_or_else(|_| Err(closed()))?;
        Ok(Queue(queue))
    }

    /// Takes it once there is room.
    pub async fn take(&self, job: Box<dyn Job>) -> Result<(), DbError> {
        self.0.send(job).await.map_err(|_| closed())
    }
}

/// Runs it and keeps its result; whether it succeeded. Every statement has its result at once here, so one poll brings
/// the write to its end.
fn succeeds(job: &mut dyn Job, tx: &WriteTx) -> bool {
    if job.run(tx).now_or_never().is_none() {
        job.fail(DbError::Defect(format!("write {} waited for something outside", job.kind())));
    }
    job.failure().is_none()
}

struct Thread {
    path: PathBuf,
    /// None after a transaction that did not end as it should: the next one gets a new connection.
    tx: Option<WriteTx>,
    form: RowForm,
    batch: usize,
}

impl Thread {
    fn run(mut self, mut waiting: mpsc::Receiver<Box<dyn Job>>) {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut settling = Vec::new();
        // From when on settling is due, whatever else waits.
        let mut due = Instant::now();
        // Whether there were callers since the last settling group began.
        let mut is_pressed = false;
        loop {
            let mut jobs = Vec::new();
            if settling.is_empty() {
                if waiting.blocking_recv_many(&mut jobs, self.batch) == 0 {
                    break;
                }
            } else {
                let until = is_pressed.then_some(due);
                if receive_until(&mut waiting, &waker, until, (&mut jobs, self.batch)) {
                    is_pressed = false;
                }
            }
            settling.extend(jobs.extract_if(.., |job| GIVING_WAY.contains(&job.kind())));
            is_pressed |= any_waited_for(&jobs);
            let began = Instant::now();
            let is_due = began >= due || settling.len() >= self.batch || jobs.is_empty() && !is_pressed;
            if !is_due && jobs.is_empty() {
                continue;
            }
            if is_due {
                jobs.append(&mut settling);
            }
            let lost = self.commit(&mut jobs).err();
            if is_due {
                due = Instant::now() + began.elapsed().min(REST_MAX);
                is_pressed = any_waited_for(&jobs);
            }
            if lost.is_some() {
                // They would only wait for the same, one busy timeout after the other.
                while jobs.len() < waiting.max_capacity()
                    && let Ok(job) = waiting.try_recv()
                {
                    jobs.push(job);
                }
            }
            jobs.drain(..).for_each(|job| job.answer(lost.clone().map(DbError::from)));
        }
    }

    /// Runs and commits these together. An error means that nothing of them is in the database.
    fn commit(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), DbErr> {
        let tx = match self.tx.take() {
            Some(tx) => tx,
            None => WriteTx::sqlite(Connection::open(&self.path).map_err(|e| failed(&e))?, self.form),
        };
        tx.frame("BEGIN IMMEDIATE")?;
        let end = match run_together(&tx, jobs)? {
            true => "COMMIT",
            // It failed alone.
            false if jobs.len() == 1 => "ROLLBACK",
            false => {
                tx.frame("ROLLBACK")?;
                tx.frame("BEGIN IMMEDIATE")?;
                run_apart(&tx, jobs)?;
                "COMMIT"
            }
        };
        tx.frame(end)?;
        if end == "COMMIT" {
            counter!(STORE_COMMITS_TOTAL).increment(1);
        }
        self.tx = Some(tx);
        Ok(())
    }
}

fn any_waited_for(jobs: &[Box<dyn Job>]) -> bool {
    jobs.iter().any(|job| WAITED_FOR.contains(&job.kind()))
}

/// Wakes the writer's thread.
struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Takes what waits; until then the next that comes, if there is a time. Whether nothing comes any more.
fn receive_until(
    waiting: &mut mpsc::Receiver<Box<dyn Job>>,
    waker: &Waker,
    until: Option<Instant>,
    (jobs, limit): (&mut Vec<Box<dyn Job>>, usize),
) -> bool {
    let mut context = Context::from_waker(waker);
    loop {
        if let Poll::Ready(count) = waiting.poll_recv_many(&mut context, jobs, limit) {
            return count == 0;
        }
        let left = until.map(|until| until.saturating_duration_since(Instant::now())).unwrap_or_default();
        if left.is_zero() {
            return false;
        }
        std::thread::park_timeout(left);
    }
}

/// Runs the writes up to the first that fails; whether none did.
fn run_together(tx: &WriteTx, jobs: &mut [Box<dyn Job>]) -> Result<bool, DbErr> {
    for job in jobs {
        let succeeded = succeeds(&mut **job, tx);
        if !tx.is_open() {
            return Err(ended());
        }
        if !succeeded {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Runs all writes, and rolls back those that fail, each alone.
fn run_apart(tx: &WriteTx, jobs: &mut [Box<dyn Job>]) -> Result<(), DbErr> {
    for job in jobs {
        tx.frame("SAVEPOINT one_write")?;
        let succeeded = succeeds(&mut **job, tx);
        if !tx.is_open() {
            return Err(ended());
        }
        if !succeeded {
            tx.frame("ROLLBACK TO one_write")?;
        }
        tx.frame("RELEASE one_write")?;
    }
    Ok(())
}
