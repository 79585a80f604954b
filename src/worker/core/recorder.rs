//! Records new orders in batches, which share a transaction.

use std::time::Duration;

use super::error::HandlerError;
use super::outage::{TRIES, Trouble, is_error_of_outage};
use crate::batcher::{Group, GroupError, Limits};
use crate::ids::OutTradeNo;
use crate::store::{DbError, NewOrder, Recorded, Store};

/// A batch that takes longer fails; its messages are redelivered.
const BATCH_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest batch of orders.
const MAX_BATCH: usize = 128;

/// Records orders in batches.
pub struct OrderRecorder {
    group: Group<NewOrder, Result<Recorded, RecordError>>,
}

/// Why an order was not recorded.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RecordError {
    /// Its number at WeChat belongs to another order of this service.
    #[error("the number {0} is taken by another order")]
    NumberTaken(OutTradeNo),
    /// The database is unavailable or refused the write; worth a retry.
    #[error(transparent)]
    Store(HandlerError),
    /// The process is shutting down.
    #[error(transparent)]
    Group(#[from] GroupError),
}

impl From<RecordError> for HandlerError {
    fn from(e: RecordError) -> HandlerError {
        match e {
            RecordError::Store(trouble) => trouble,
            RecordError::NumberTaken(_) => HandlerError::Failed(e.to_string()),
            RecordError::Group(e) => e.into(),
        }
    }
}

impl OrderRecorder {
    /// Over a store.
    pub fn new(store: Store) -> OrderRecorder {
        let limits = Limits { max_batch: MAX_BATCH, queue: 4 * MAX_BATCH };
        let run = move |orders: Vec<NewOrder>| {
            let store = store.clone();
            async move {
                let count = orders.len();
                let lost = || {
                    (0..count).map(|_| {
                        Err(RecordError::Store(HandlerError::Unavailable("the database did not answer".into())))
                    })
                };
                tokio::time::timeout(BATCH_TIMEOUT, record_all(&store, orders))
                    .await
                    .unwrap_or_else(|_| lost().collect())
            }
        };
        OrderRecorder { group: Group::new(limits, run) }
    }

    /// Records one order; returns when it is durable.
    pub async fn record(&self, order: NewOrder) -> Result<Recorded, RecordError> {
        self.group.run(order).await?
    }
}

async fn record_all(store: &Store, orders: Vec<NewOrder>) -> Vec<Result<Recorded, RecordError>> {
    let mut trouble = Trouble::default();
    match store.record_orders(&orders).await {
        Ok(recorded) => return recorded.into_iter().map(Ok).collect(),
        // One of them has a number that another order's attempt has, or breaks a rule.
        Err(DbError::Exists(_) | DbError::Defect(_)) => {}
        Err(e @ DbError::Unavailable(_)) => trouble.note_of_all(store, &e).await,
    }
    // Each alone, to find the one that is the cause, unless the database is away.
    let mut results = Vec::with_capacity(orders.len());
    for order in orders {
        let recorded = match &trouble.away {
            Some(away) => Err(RecordError::Store(away.clone())),
            None => record_one(store, order).await,
        };
        if let Err(RecordError::Store(found)) = &recorded {
            trouble.note(found);
        }
        results.push(recorded);
    }
    results
}

/// Records one alone; what the database refuses each time while it takes other writes has failed.
async fn record_one(store: &Store, order: NewOrder) -> Result<Recorded, RecordError> {
    let mut refused = String::new();
    for _ in 0..TRIES {
        match store.record_orders(std::slice::from_ref(&order)).await {
            Ok(recorded) => {
                let none = || RecordError::Store(HandlerError::Failed("no result".into()));
                return recorded.first().copied().ok_or_else(none);
            }
            Err(DbError::Exists(_)) => return Err(RecordError::NumberTaken(order.out_trade_no)),
            Err(e @ DbError::Unavailable(_)) if e.is_of_one_statement() || is_error_of_outage(store, &e).await => {
                return Err(RecordError::Store(e.into()));
            }
            Err(e @ DbError::Unavailable(_)) => refused = e.to_string(),
            Err(e @ DbError::Defect(_)) => return Err(RecordError::Store(e.into())),
        }
    }
    Err(RecordError::Store(HandlerError::Failed(refused)))
}
