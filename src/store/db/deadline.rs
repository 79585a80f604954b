//! How long PostgreSQL is waited for. A host that is lost without a word answers nothing and ends no connection, and
//! the driver has no limit of its own.
//!
//! What must stay true: no write and no read has a connection for longer than the deadline; a connection whose use was
//! given up is not waited for when it goes back to its pool. What became of the write is not known then.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sea_orm::sqlx;
use sea_orm::sqlx::Connection;
use sea_orm::sqlx::postgres::PgConnection;
use sea_orm::{DbErr, RuntimeErr};

/// Longer than the server's own limits let a write or a read take: each statement has fifteen seconds.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);

/// How long a connection whose use was given up may take to answer before it is closed.
const RELEASED_WITHIN: Duration = Duration::from_secs(5);

/// The deadline of everything on the connections of a process. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::store) struct Deadline(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    within: Duration,
    begun: Instant,
    /// When a use of a connection was last given up, in milliseconds since `begun`; zero: never.
    given_up_ms: AtomicU64,
}

impl Deadline {
    pub fn new(within: Duration) -> Deadline {
        Deadline(Arc::new(Inner { within, begun: Instant::now(), given_up_ms: AtomicU64::new(0) }))
    }

    /// Awaits what uses a connection of a pool, until the deadline.
    pub async fn bound<T, E: From<DbErr>>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let mut work = pin!(work);
        // Dropped before `work`, with which the connection goes back.
        let mut unfinished = Unfinished(Some(self));
        let Ok(outcome) = tokio::time::timeout(self.0.within, work.as_mut()).await else {
            return Err(DbErr::Conn(RuntimeErr::Internal("the database did not answer in time".into())).into());
        };
        unfinished.0 = None;
        outcome
    }

    /// Lets a connection back into its pool. The driver waits for an answer before it does, without limit: where a use
    /// was just given up, whether there is one is found out here first.
    pub async fn released(&self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        if self.is_in_doubt() {
            let answered = tokio::time::timeout(RELEASED_WITHIN, connection.ping()).await;
            answered.unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
        }
        Ok(true)
    }

    /// Whether a connection that goes back now may be one whose use was given up.
    fn is_in_doubt(&self) -> bool {
        let given_up_ms = self.0.given_up_ms.load(Ordering::Acquire);
        let since_ms = self.elapsed_ms().saturating_sub(given_up_ms);
        given_up_ms > 0 && u128::from(since_ms) <= RELEASED_WITHIN.as_millis()
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.0.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Notes, when it is dropped, that a use of a connection was given up: by the deadline, by its caller, or by a panic.
struct Unfinished<'a>(Option<&'a Deadline>);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(deadline) = self.0 {
            deadline.0.given_up_ms.store(deadline.elapsed_ms().max(1), Ordering::Release);
        }
    }
}
