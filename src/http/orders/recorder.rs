//! Records the orders that requests bring, those that wait together in one transaction.
//!
//! What must stay true: an order that the database refuses fails alone; while the database is away, each fails once and
//! none keeps the others waiting.

use std::time::Duration;

use crate::batcher::{Group, GroupError, Limits};
use crate::http::problem::Error;
use crate::store::{DbError, NewOrder, Recorded, RecordedRow, Store};

/// A batch that takes longer fails; its callers may repeat their requests.
const BATCH_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest batch of orders.
const MAX_BATCH: usize = 128;

/// Why an order was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Its number at WeChat belongs to another order.
    #[error("the number is taken by another order")]
    NumberTaken,
    /// The database is away, or does not answer in time.
    #[error("{0}")]
    Unavailable(String),
    #[error("{0}")]
    Failed(String),
}

impl From<DbError> for RecordError {
    fn from(e: DbError) -> RecordError {
        match e {
            DbError::Exists(_) => RecordError::NumberTaken,
            DbError::Unavailable(_) => RecordError::Unavailable(e.to_string()),
            DbError::Defect(_) => RecordError::Failed(e.to_string()),
        }
    }
}

impl From<GroupError> for RecordError {
    fn from(e: GroupError) -> RecordError {
        match e {
            GroupError::Closed => RecordError::Unavailable(e.to_string()),
            GroupError::Lost => RecordError::Failed(e.to_string()),
        }
    }
}

impl From<RecordError> for Error {
    fn from(e: RecordError) -> Error {
        match e {
            RecordError::NumberTaken => Error::NumberTaken,
            RecordError::Unavailable(internal) => Error::Unavailable { internal },
            RecordError::Failed(internal) => Error::Internal { internal },
        }
    }
}

/// What recording did, with the row of an order that is new.
type Recording = (Recorded, Option<RecordedRow>);

/// Records orders in batches.
pub struct Recorder(Group<NewOrder, Result<Recording, RecordError>>);

impl Recorder {
    /// Its batches run on the current runtime.
    pub fn start(store: Store) -> Recorder {
        let limits = Limits { max_batch: MAX_BATCH, queue: 4 * MAX_BATCH };
        Recorder(Group::new(limits, move |orders: Vec<NewOrder>| {
            let store = store.clone();
            async move {
                let count = orders.len();
                let late = || Err(RecordError::Unavailable("the database did not answer".into()));
                tokio::time::timeout(BATCH_TIMEOUT, record_all(&store, &orders))
                    .await
                    .unwrap_or_else(|_| (0..count).map(|_| late()).collect())
            }
        }))
    }

    /// Records one order; returns when it is durable.
    pub async fn record(&self, order: NewOrder) -> Result<Recording, RecordError> {
        self.0.run(order).await?
    }
}

async fn record_all(store: &Store, orders: &[NewOrder]) -> Vec<Result<Recording, RecordError>> {
    let mut has_timed_out = false;
    let mut away = match store.record_new_orders(orders).await {
        Ok(recorded) => return recorded.into_iter().map(Ok).collect(),
        Err(e) if orders.len() == 1 => return vec![Err(e.into())],
        Err(DbError::Exists(_) | DbError::Defect(_)) => false,
        Err(e @ DbError::Unavailable(_)) => is_away(store, &e, &mut has_timed_out).await,
    };
    // Each alone, to find the one that is the cause, unless the database is away.
    let mut results = Vec::with_capacity(orders.len());
    for order in orders {
        let recorded = if away {
            Err(RecordError::Unavailable("the database is not available".into()))
        } else {
            match store.record_new_orders(std::slice::from_ref(order)).await {
                Ok(mut recorded) => recorded.pop().ok_or_else(|| RecordError::Failed("no result".into())),
                Err(e @ DbError::Unavailable(_)) => {
                    away = is_away(store, &e, &mut has_timed_out).await;
                    Err(e.into())
                }
                Err(e) => Err(e.into()),
            }
        };
        results.push(recorded);
    }
    results
}

/// Whether none of the others is tried. A lock on a row holds up one order; where a second statement waits for a lock
/// or takes too long, a table is locked or the disk stands still: each of the others would wait as long.
async fn is_away(store: &Store, e: &DbError, has_timed_out: &mut bool) -> bool {
    let again = e.is_of_one_statement() && std::mem::replace(has_timed_out, true);
    again || e.is_of_the_server() || !takes_writes(store).await
}

async fn takes_writes(store: &Store) -> bool {
    store.db().health().await.is_ok_and(|health| health.takes_writes)
}
