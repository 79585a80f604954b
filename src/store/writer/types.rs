//! What both writers take.

use std::future::Future;
use std::pin::Pin;

use crate::store::db::DbError;

/// What a write does, as a future that lives as long as its transaction.
pub type Writing<'a, T> = Pin<Box<dyn Future<Output = Result<T, DbError>> + Send + 'a>>;

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

/// The form of rows.
#[derive(Debug, Clone, Copy)]
pub struct RowForm {
    /// Whether long texts are packed (`store.compact`).
    pub compact: bool,
    /// Whether an event counts as relayed once it has its position: no program outside can subscribe to the bus.
    pub relayed: bool,
}
