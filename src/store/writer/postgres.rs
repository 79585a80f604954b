//! Writes on PostgreSQL: each in a transaction of its own, in a task that outlives its caller, and ends within the
//! deadline.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use sea_orm::{ConnAcquireErr, ConnectionTrait, DatabaseConnection, DbErr, RuntimeErr, TransactionTrait};
use tokio::sync::Semaphore;

use super::tx::WriteTx;
use super::types::{Limits, RowForm, Writing};
use crate::store::db::{DbError, Deadline};

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
        let closed = |_| ended();
        let shared = Arc::clone(&self.0);
        let room = Arc::clone(&shared.room).acquire_owned().await.map_err(closed)?;
        let task = tokio::spawn(async move {
            let outcome = match tokio::time::timeout(LANE_WITHIN, shared.lanes.acquire()).await {
                Ok(Ok(_lane)) => shared.commit(&data, run).await,
                Ok(Err(_)) => Err(ended()),
                Err(_) => Err(DbError::Unavailable(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout))),
            };
            drop(room);
            outcome
        });
        task.await.unwrap_or_else(|e| {
            Err(if e.is_panic() { DbError::Defect(format!("write {kind} ended: {e}")) } else { ended() })
        })
    }
}

impl Shared {
    async fn commit<D, T>(
        &self,
        data: &D,
        run: for<'a> fn(&'a WriteTx, &'a D) -> Writing<'a, T>,
    ) -> Result<T, DbError> {
        let mut tries = 1;
        loop {
            let outcome = self.deadline.bound(self.try_once(data, run)).await;
            match &outcome {
                Err(DbError::Unavailable(e)) if tries < TRIES && is_serialization_failure(e) => tries += 1,
                Ok(_) | Err(_) => return outcome,
            }
        }
    }

    async fn try_once<D, T>(
        &self,
        data: &D,
        run: for<'a> fn(&'a WriteTx, &'a D) -> Writing<'a, T>,
    ) -> Result<T, DbError> {
        let transaction = self.pool.begin().await?;
        if let Some(prelude) = self.prelude {
            transaction.execute_unprepared(prelude).await?;
        }
        let tx = WriteTx::postgres(transaction, self.form);
        let outcome = AssertUnwindSafe(run(&tx, data)).catch_unwind().await;
        match outcome {
            Ok(Ok(value)) => {
                tx.commit().await?;
                Ok(value)
            }
            Ok(Err(e)) => {
                tx.roll_back().await;
                Err(e)
            }
            Err(panic) => {
                tx.roll_back().await;
                std::panic::resume_unwind(panic)
            }
        }
    }
}

/// Unavailable, not a defect: what the end of the process interrupts must not use up its attempts.
fn ended() -> DbError {
    DbError::Unavailable(DbErr::Conn(RuntimeErr::Internal("the writer is closed".into())))
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
