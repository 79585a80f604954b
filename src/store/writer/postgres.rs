//! Writes on PostgreSQL: each in a transaction of its own, in a task that outlives its caller.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, RuntimeErr, TransactionTrait};
use tokio::sync::Semaphore;

use super::tx::WriteTx;
use super::types::{Limits, Writing};
use crate::store::db::DbError;

/// How often a write is tried that the server rolled back for the sake of another.
const TRIES: u32 = 4;

/// The pool, and room for those that wait for one of its connections.
#[derive(Debug, Clone)]
pub(super) struct Lanes {
    pool: DatabaseConnection,
    session: Arc<Session>,
    room: Arc<Semaphore>,
}

#[derive(Debug)]
struct Session {
    prelude: Option<&'static str>,
    compact: bool,
}

impl Lanes {
    pub fn new(pool: DatabaseConnection, prelude: Option<&'static str>, compact: bool, limits: Limits) -> Lanes {
        let session = Arc::new(Session { prelude, compact });
        Lanes { pool, session, room: Arc::new(Semaphore::new(limits.queue.max(1))) }
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
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(closed)?;
        let lanes = self.clone();
        let task = tokio::spawn(async move {
            let outcome = lanes.commit(&data, run).await;
            drop(room);
            outcome
        });
        task.await.unwrap_or_else(|e| {
            Err(if e.is_panic() { DbError::Defect(format!("write {kind} ended: {e}")) } else { ended() })
        })
    }

    async fn commit<D, T>(
        &self,
        data: &D,
        run: for<'a> fn(&'a WriteTx, &'a D) -> Writing<'a, T>,
    ) -> Result<T, DbError> {
        let mut tries = 1;
        loop {
            let outcome = self.try_once(data, run).await;
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
        if let Some(prelude) = self.session.prelude {
            transaction.execute_unprepared(prelude).await?;
        }
        let tx = WriteTx::postgres(transaction, self.session.compact);
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
    let (DbErr::Exec(RuntimeErr::SqlxError(sqlx)) | DbErr::Query(RuntimeErr::SqlxError(sqlx))) = e else {
        return false;
    };
    let code = sqlx.as_database_error().and_then(sea_orm::sqlx::error::DatabaseError::code);
    code.is_some_and(|code| matches!(code.as_ref(), "40001" | "40P01"))
}
