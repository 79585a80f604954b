//! Claims of orders that messages ask to have placed: what waits together is loaded and claimed in one transaction.
//!
//! What must stay true: an order that the database refuses fails alone; one that another transaction has locked holds
//! up no other; while the database is away, each fails once.

use std::time::Duration;

use crate::batcher::{Group, Limits};
use crate::clock::Clock;
use crate::retry::{Policy, retry_while};
use crate::store::{DbError, PlacingClaim, Store, ToPlace};
use crate::worker::core::error::HandlerError;
use crate::worker::core::outage::Trouble;

/// A batch that takes longer fails; its messages are redelivered.
const BATCH_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest batch of orders.
const MAX_BATCH: usize = 128;

/// How long it waits for the transaction that has an order locked.
const LOCKED: Policy = Policy {
    initial: Duration::from_millis(20),
    max: Duration::from_millis(200),
    tries: 16,
    deadline: Duration::from_secs(2),
};

type Claimed = Result<PlacingClaim, HandlerError>;

/// Claims orders in batches.
pub struct ClaimGroup(Group<ToPlace, Claimed>);

impl ClaimGroup {
    /// Over a store; its batches run on the current runtime.
    pub fn new(store: Store, clock: Clock) -> ClaimGroup {
        let limits = Limits { max_batch: MAX_BATCH, queue: 4 * MAX_BATCH };
        ClaimGroup(Group::new(limits, move |wanted: Vec<ToPlace>| {
            let (store, clock) = (store.clone(), clock.clone());
            async move {
                let count = wanted.len();
                let late = || Err(HandlerError::Unavailable("the database did not answer".into()));
                tokio::time::timeout(BATCH_TIMEOUT, claim_all(&store, &clock, wanted))
                    .await
                    .unwrap_or_else(|_| (0..count).map(|_| late()).collect())
            }
        }))
    }

    /// Loads an order and claims it if it is to be placed; returns when the claim is durable. One that another
    /// transaction has locked is tried again: a redelivery would come seconds later, and count as a repeated call.
    pub async fn claim(&self, wanted: ToPlace) -> Claimed {
        let claim = || async { self.0.run(wanted.clone()).await? };
        retry_while(LOCKED, claim, |claimed| matches!(claimed, Ok(PlacingClaim::Busy))).await
    }
}

async fn claim_all(store: &Store, clock: &Clock, wanted: Vec<ToPlace>) -> Vec<Claimed> {
    let mut trouble = Trouble::default();
    match store.claim_to_place(wanted.clone(), clock.now()).await {
        Ok(claims) => return claims.into_iter().map(Ok).collect(),
        Err(e) if wanted.len() == 1 => return vec![Err(e.into())],
        // One of them cannot be read.
        Err(DbError::Exists(_) | DbError::Defect(_)) => {}
        Err(e @ DbError::Unavailable(_)) => trouble.note_of_all(store, &e).await,
    }
    // Each alone, to find the one that is the cause, unless the database is away.
    let mut results = Vec::with_capacity(wanted.len());
    for one in wanted {
        let claimed = match &trouble.away {
            Some(away) => Err(away.clone()),
            None => claim_one(store, clock, one).await,
        };
        if let Err(found) = &claimed {
            trouble.note(found);
        }
        results.push(claimed);
    }
    results
}

async fn claim_one(store: &Store, clock: &Clock, wanted: ToPlace) -> Claimed {
    let claimed = store.claim_to_place(vec![wanted], clock.now()).await?.pop();
    claimed.ok_or_else(|| HandlerError::Failed("no result".into()))
}
