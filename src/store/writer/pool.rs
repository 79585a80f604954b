//! Connections for reading.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::prelude::async_trait::async_trait;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult, Statement,
    TransactionTrait,
};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::postgres::has_state;
use crate::store::db::Deadline;

/// With two seconds for each lock, about a minute.
const MIGRATION_TRIES: u32 = 20;
const BETWEEN_TRIES: Duration = Duration::from_millis(500);
const DEADLOCK_OR_LOCK_TIMEOUT: &[&str] = &["40P01", "55P03"];

/// How long a read waits for one of the connections that stay open. Most reads are shorter by far, and a connection of
/// SQLite that is opened for one reads the whole schema and prepares each statement anew.
const BEFORE_SPARE: Duration = Duration::from_millis(10);

/// How long a read or the opening of a pool waits for a connection.
pub(in crate::store) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// A pool of connections for reading. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ReadPool {
    pool: DatabaseConnection,
    spare: Option<Spare>,
    /// How a transaction begins where no session is left to a connection: a statement is then prepared and run in one.
    prelude: Option<&'static str>,
    /// How long a read may take; of a file there is none.
    deadline: Option<Deadline>,
}

/// Connections that are opened for reads which find all of the pool's busy, and are closed again.
#[derive(Clone, Debug)]
struct Spare {
    pool: DatabaseConnection,
    /// Those of the first pool that are free.
    free: Arc<Semaphore>,
    /// Those of the spare pool that are free, or may be opened.
    spare_free: Arc<Semaphore>,
}

impl ReadPool {
    pub(in crate::store) fn new(
        pool: DatabaseConnection,
        prelude: Option<&'static str>,
        deadline: Option<Deadline>,
    ) -> ReadPool {
        ReadPool { pool, spare: None, prelude, deadline }
    }

    /// With so many further connections for when all of the pool's are busy.
    pub(in crate::store) fn with_spare(
        self,
        connections: u32,
        (spare, spare_connections): (DatabaseConnection, u32),
    ) -> ReadPool {
        let permits = |connections: u32| Arc::new(Semaphore::new(connections as usize));
        let spare = Spare { pool: spare, free: permits(connections), spare_free: permits(spare_connections) };
        ReadPool { spare: Some(spare), ..self }
    }

    /// Closes every connection.
    pub async fn close(self) -> Result<(), DbErr> {
        if let Some(spare) = self.spare {
            spare.pool.close().await?;
        }
        self.pool.close().await
    }

    /// How many of the spare connections are open.
    #[doc(hidden)]
    pub fn spare_open(&self) -> u32 {
        self.spare.as_ref().map_or(0, |spare| spare.pool.get_sqlite_connection_pool().size())
    }

    /// How many of the spare connections no read has taken.
    #[doc(hidden)]
    pub fn spare_free(&self) -> usize {
        self.spare.as_ref().map_or(0, |spare| spare.spare_free.available_permits())
    }

    /// Where a read finds a connection soonest, and what it holds meanwhile.
    async fn free_pool(&self) -> (&DatabaseConnection, Option<SemaphorePermit<'_>>) {
        let Some(spare) = &self.spare else { return (&self.pool, None) };
        let mut free = pin!(spare.free.acquire());
        if let Ok(Ok(permit)) = tokio::time::timeout(BEFORE_SPARE, free.as_mut()).await {
            return (&self.pool, Some(permit));
        }
        tokio::select! {
            Ok(permit) = free => (&self.pool, Some(permit)),
            Ok(permit) = spare.spare_free.acquire() => (&spare.pool, Some(permit)),
            // The pool has the last word, and an error for it.
            () = tokio::time::sleep(ACQUIRE_TIMEOUT) => (&spare.pool, None),
        }
    }

    /// Brings the schema to the newest version. Writers of the version before may hold a table, and lock tables in
    /// another order: between two tries, which change nothing, they go on.
    /// `finally` is run in the same transaction, whether or not anything was missing.
    pub(in crate::store) async fn migrate(&self, finally: Option<&str>) -> Result<bool, DbErr> {
        for _ in 1..MIGRATION_TRIES {
            match migrations::up(&self.pool, self.prelude, finally).await {
                Err(e) if has_state(&e, DEADLOCK_OR_LOCK_TIMEOUT) => {
                    tracing::warn!(error = %e, "the schema could not be changed beside its writers: tried again");
                    tokio::time::sleep(BETWEEN_TRIES).await;
                }
                migrated => return migrated,
            }
        }
        migrations::up(&self.pool, self.prelude, finally).await
    }

    pub(in crate::store) async fn ping(&self) -> Result<(), DbErr> {
        let ping = async {
            let (pool, _permit) = self.free_pool().await;
            pool.ping().await
        };
        self.in_time(ping).await
    }

    async fn in_time<T>(&self, read: impl Future<Output = Result<T, DbErr>>) -> Result<T, DbErr> {
        match &self.deadline {
            Some(deadline) => deadline.bound(read).await,
            None => read.await,
        }
    }

    async fn begin(&self, prelude: &str) -> Result<DatabaseTransaction, DbErr> {
        let tx = self.pool.begin().await?;
        tx.execute_unprepared(prelude).await?;
        Ok(tx)
    }
}

#[async_trait]
impl ConnectionTrait for ReadPool {
    fn get_database_backend(&self) -> DbBackend {
        self.pool.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let read = async {
            let Some(prelude) = self.prelude else {
                let (pool, _permit) = self.free_pool().await;
                return pool.execute_raw(statement).await;
            };
            let tx = self.begin(prelude).await?;
            let done = tx.execute_raw(statement).await?;
            tx.commit().await?;
            Ok(done)
        };
        self.in_time(read).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let run = async {
            let (pool, _permit) = self.free_pool().await;
            pool.execute_unprepared(sql).await
        };
        self.in_time(run).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let read = async {
            let Some(prelude) = self.prelude else {
                let (pool, _permit) = self.free_pool().await;
                return pool.query_one_raw(statement).await;
            };
            let tx = self.begin(prelude).await?;
            let row = tx.query_one_raw(statement).await?;
            tx.commit().await?;
            Ok(row)
        };
        self.in_time(read).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let read = async {
            let Some(prelude) = self.prelude else {
                let (pool, _permit) = self.free_pool().await;
                return pool.query_all_raw(statement).await;
            };
            let tx = self.begin(prelude).await?;
            let rows = tx.query_all_raw(statement).await?;
            tx.commit().await?;
            Ok(rows)
        };
        self.in_time(read).await
    }
}
