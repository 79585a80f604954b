//! What both writers take.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;

use futures_util::FutureExt;
use sea_orm::{DbErr, RuntimeErr};
use tokio::sync::oneshot;

use super::tx::WriteTx;
use crate::store::db::DbError;

/// What a write does, as a future that lives as long as its transaction.
pub type Writing<'a, T> = Pin<Box<dyn Future<Output = Result<T, DbError>> + Send + 'a>>;

/// A write of any type, so that only what a write itself does is compiled for each of them.
pub(super) trait Job: Send {
    fn kind(&self) -> &'static str;
    /// Runs it, once more if it ran before, and keeps its result. A panic is a defect.
    fn run<'a>(&'a mut self, tx: &'a WriteTx) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
    /// Keeps this as its result.
    fn fail(&mut self, error: DbError);
    /// The error that it has as its result.
    fn failure(&self) -> Option<&DbError>;
    /// Gives the kept result to the caller, or this error where the transaction did not end as it should.
    fn answer(self: Box<Self>, lost: Option<DbError>);
}

/// A write that was handed in.
pub(super) struct Write<D, T> {
    pub kind: &'static str,
    pub data: D,
    pub run: for<'a> fn(&'a WriteTx, &'a D) -> Writing<'a, T>,
    pub outcome: Option<Result<T, DbError>>,
    pub answer: oneshot::Sender<Result<T, DbError>>,
}

impl<D: Send + Sync, T: Send> Job for Write<D, T> {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn run<'a>(&'a mut self, tx: &'a WriteTx) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        self.outcome = None;
        Box::pin(async move {
            let run = async { (self.run)(tx, &self.data).await };
            let ran = AssertUnwindSafe(run).catch_unwind().await;
            self.outcome = Some(ran.unwrap_or_else(|_| Err(panicked(self.kind))));
        })
    }

    fn fail(&mut self, error: DbError) {
        self.outcome = Some(Err(error));
    }

    fn failure(&self) -> Option<&DbError> {
        self.outcome.as_ref().and_then(|outcome| outcome.as_ref().err())
    }

    fn answer(self: Box<Self>, lost: Option<DbError>) {
        let outcome = match (self.outcome, lost) {
            (_, Some(lost)) => Err(lost),
            (Some(outcome), None) => outcome,
            (None, None) => Err(closed()),
        };
        // A caller that went away has no use for the result.
        let _ = self.answer.send(outcome);
    }
}

fn panicked(kind: &str) -> DbError {
    tracing::error!(kind, "a write panicked");
    DbError::Defect(format!("write {kind} panicked"))
}

/// Unavailable, not a defect: what the end of the process interrupts must not use up its attempts.
pub(super) fn closed() -> DbError {
    DbError::Unavailable(DbErr::Conn(RuntimeErr::Internal("the writer is closed".into())))
}

/// How much may wait and how much is committed together.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Writes that may wait; one more makes its caller wait.
    pub queue: usize,
    /// Most writes of one transaction. PostgreSQL gives each write a transaction of its own.
    pub batch: usize,
}

impl Limits {
    /// What the service runs with.
    pub const DEFAULT: Limits = Limits { queue: 4096, batch: 256 };
}
