//! The handle of the writer, the same for both databases.

use std::path::Path;

use sea_orm::DatabaseConnection;
use tokio::sync::oneshot;

use super::row::RowForm;
use super::tx::WriteTx;
use super::types::{Limits, Write, Writing, closed};
use super::{postgres, sqlite};
use crate::store::db::{DbError, Deadline};

/// Where writes are handed in. Cheap to clone; the last clone ends the writer, after everything handed in is done.
#[derive(Debug, Clone)]
pub struct Writer(Backend);

#[derive(Debug, Clone)]
enum Backend {
    Sqlite(sqlite::Queue),
    Postgres(postgres::Lanes),
}

impl Writer {
    /// Opens the only writing connection of this process to a SQLite file, in a thread of its own. The file is created
    /// if it does not exist.
    pub async fn sqlite(path: &Path, form: RowForm, limits: Limits) -> Result<Writer, DbError> {
        Ok(Writer(Backend::Sqlite(sqlite::Queue::open(path.to_owned(), form, limits).await?)))
    }

    /// Writes over a pool of so many connections to PostgreSQL, which reads use, too, each within the deadline.
    /// `prelude` is what each transaction begins with.
    pub(in crate::store) fn postgres(
        (pool, deadline): ((DatabaseConnection, u32), Deadline),
        prelude: Option<&'static str>,
        form: RowForm,
        limits: Limits,
    ) -> Writer {
        Writer(Backend::Postgres(postgres::Lanes::new((pool, deadline), prelude, form, limits)))
    }

    /// Hands in a write and returns what it returned, once that is durable.
    ///
    /// `run` sees nothing but the transaction and `data`, and may be run again when the database asks for it. A caller
    /// that goes away after the write was taken into the queue cancels nothing.
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
        match &self.0 {
            Backend::Sqlite(queue) => queue.take(job).await?,
            Backend::Postgres(lanes) => lanes.take(job).await?,
        }
        outcome.await.unwrap_or_else(|_| Err(closed()))
    }
}
