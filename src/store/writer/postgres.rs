//! Writes on PostgreSQL: each in a transaction of its own, in a task that outlives its caller, and ends within the
//! deadline.

use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use sea_orm::{ConnAcquireErr, ConnectionTrait, DatabaseConnection, DbErr, RuntimeErr, TransactionTrait};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::row::RowForm;
use super::tx::WriteTx;
use super::types::{Job, Limits, closed};
use crate::store::db::{DbError, Deadline};
use crate::telemetry::STORE_COMMITS_TOTAL;

/// As long as a read waits for a connection.
const LANE_WITHIN: Duration = Duration::from_secs(5);
/// How often a write is tried that the server rolled back for the sake of another.
const TRIES: u32 = 4;

/// How many writes of a pool run at once: slow ones leave a quarter of its connections, and at least one, to reads. A
/// pool of one serves one after the other.
fn lanes(connections: u32) -> usize {
    let reads = (connections / 4).max(1);
    usize::try_from(connections.saturating_sub(reads).max(1)).unwrap_or(1)
}

/// Writes over a pool. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Lanes(Arc<Shared>);

/// The pool, the lanes in which writes use its connections, and room for those that wait for one.
#[derive(Debug)]
struct Shared {
    pool: DatabaseConnection,
    deadline: Deadline,
    prelude: Option<&'static str>,
    form: RowForm,
    room: Arc<Semaphore>,
    lanes: Semaphore,
}

impl Lanes {
    pub fn new(
        ((pool, connections), deadline): ((DatabaseConnection, u32), Deadline),
        prelude: Option<&'static str>,
        form: RowForm,
        limits: Limits,
    ) -> Lanes {
        let room = Arc::new(Semaphore::new(limits.queue.max(1)));
        let lanes = Semaphore::new(lanes(connections));
        Lanes(Arc::new(Shared { pool, deadline, prelude, form, room, lanes }))
    }

    /// Takes it once there is room.
    pub async fn take(&self, job: Box<dyn Job>) -> Result<(), DbError> {
        let room = Arc::clone(&self.0.room).acquire_owned().await.map_err(|_| closed())?;
        tokio::spawn(Arc::clone(&self.0).carry_out(job, room));
        Ok(())
    }
}

impl Shared {
    async fn carry_out(self: Arc<Self>, mut job: Box<dyn Job>, room: OwnedSemaphorePermit) {
        let committed = match tokio::time::timeout(LANE_WITHIN, self.lanes.acquire()).await {
            Ok(Ok(_lane)) => self.commit(&mut *job).await,
            Ok(Err(_)) => Err(closed()),
            Err(_) => Err(DbError::Unavailable(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout))),
        };
        drop(room);
        job.answer(committed.err());
    }

    /// An error means that nothing of it is in the database, or that nothing is known of it.
    async fn commit(&self, job: &mut dyn Job) -> Result<(), DbError> {
        let mut tries = 1;
        loop {
            let outcome = self.deadline.bound(self.try_once(job)).await;
            match outcome.as_ref().err().or(job.failure()) {
                Some(DbError::Unavailable(e)) if tries < TRIES && is_serialization_failure(e) => tries += 1,
                Some(_) | None => return outcome,
            }
        }
    }

    /// Commits it if it succeeds.
    async fn try_once(&self, job: &mut dyn Job) -> Result<(), DbError> {
        let transaction = self.pool.begin().await?;
        if let Some(prelude) = self.prelude {
            transaction.execute_unprepared(prelude).await?;
        }
        let tx = WriteTx::postgres(transaction, self.form);
        job.run(&tx).await;
        if job.failure().is_none()
            && let Err(e) = tx.flush().await
        {
            job.fail(e);
        }
        if job.failure().is_none() {
            tx.commit().await?;
            counter!(STORE_COMMITS_TOTAL).increment(1);
        } else {
            tx.roll_back().await;
        }
        Ok(())
    }
}

/// 40001: could not serialize; 40P01: chosen to end a deadlock. Nothing was written, and the same write again may
/// succeed.
fn is_serialization_failure(e: &DbErr) -> bool {
    has_state(e, &["40001", "40P01"])
}

/// Whether the server refused a statement with one of these SQLSTATEs.
pub(super) fn has_state(e: &DbErr, states: &[&str]) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(sqlx)) | DbErr::Query(RuntimeErr::SqlxError(sqlx))) = e else {
        return false;
    };
    let code = sqlx.as_database_error().and_then(sea_orm::sqlx::error::DatabaseError::code);
    code.is_some_and(|code| states.contains(&code.as_ref()))
}
