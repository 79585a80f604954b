//! Applies facts to their orders in batches: load, decide, commit.
//!
//! Facts that wait while the previous batch commits form the next one and share its transaction and fsync. Within a
//! batch the facts of one order are decided in sequence, each on the result of the one before, so a thousand copies of
//! one notification make one change. An order that another process changed meanwhile (compare-and-set failed) is loaded
//! and decided again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::batcher::{Group, GroupError, Limits};
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::ids::{MerchantKey, OutTradeNo};
use crate::order::Refusal;
use crate::store::{DbError, DbKind, OrderCommit, Store};

use super::error::Trouble;
use super::fact::{Applied, Item};
use super::order_uow::Working;
use crate::telemetry;

/// Largest batch of facts.
const MAX_BATCH: usize = 256;
/// A batch that takes longer fails; its messages are redelivered.
const BATCH_TIMEOUT: Duration = Duration::from_secs(30);
/// How often an order is decided again because of concurrent changes.
const MAX_ROUNDS: usize = 12;

/// Why a fact was not applied; all of them are worth a retry.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The database is unavailable or refused the write.
    #[error(transparent)]
    Store(Trouble),
    /// Every attempt lost to a concurrent change.
    #[error("the order was changed concurrently in every attempt")]
    Contended,
    /// The process is shutting down.
    #[error(transparent)]
    Group(#[from] GroupError),
}

impl From<ApplyError> for Trouble {
    fn from(e: ApplyError) -> Trouble {
        match e {
            ApplyError::Store(trouble) => trouble,
            ApplyError::Contended => Trouble::Other(e.to_string()),
            ApplyError::Group(e) => e.into(),
        }
    }
}

/// Applies facts in batches.
pub struct Applier {
    group: Group<Item, Result<Applied, ApplyError>>,
}

impl Applier {
    /// Over a store. SQLite has one writer, so one lane; PostgreSQL commits several batches at once.
    pub fn new(store: Store, clock: Clock, config: Arc<Config>) -> Applier {
        let lanes = match store.db().kind() {
            DbKind::Sqlite => 1,
            DbKind::Postgres => 4,
        };
        let limits = Limits { max_batch: MAX_BATCH, queue: 4 * MAX_BATCH, lanes };
        // Facts of one attempt share a lane: copies of a notification meet in one batch instead of conflicting.
        let route = |item: &Item| {
            use std::hash::{DefaultHasher, Hash, Hasher};
            let mut hasher = DefaultHasher::new();
            (item.merchant.as_str(), item.out_trade_no.as_str()).hash(&mut hasher);
            hasher.finish()
        };
        let run = move |items: Vec<Item>| {
            let work = Work { store: store.clone(), clock: clock.clone(), config: Arc::clone(&config) };
            async move {
                let count = items.len();
                let lost =
                    || (0..count).map(|_| Err(ApplyError::Store(Trouble::Away("the database did not answer".into()))));
                // A database behind a dead connection must not block a lane for ever.
                tokio::time::timeout(BATCH_TIMEOUT, apply_all(&work, items)).await.unwrap_or_else(|_| lost().collect())
            }
        };
        Applier { group: Group::routed(limits, route, run) }
    }

    /// Applies one fact; returns when it is durable.
    pub async fn apply(&self, item: Item) -> Result<Applied, ApplyError> {
        self.group.run(item).await?
    }
}

type Outcome = Result<Applied, ApplyError>;

/// What a batch works with.
struct Work {
    store: Store,
    clock: Clock,
    config: Arc<Config>,
}

async fn apply_all(work: &Work, items: Vec<Item>) -> Vec<Outcome> {
    let mut results: Vec<Option<Outcome>> = items.iter().map(|_| None).collect();
    let mut open: Vec<usize> = (0..items.len()).collect();
    for _ in 0..MAX_ROUNDS {
        if open.is_empty() {
            break;
        }
        let round: Vec<(usize, &Item)> = open.iter().map(|i| (*i, &items[*i])).collect();
        match one_round(work, &round).await {
            Ok(done) => {
                for (i, outcome) in done {
                    results[i] = Some(outcome);
                }
            }
            Err(DbError::Defect(_)) if round.len() > 1 => {
                // One row that cannot be read or written must not fail the rest of the batch.
                for one in round {
                    results[one.0] = Some(alone(work, one).await);
                }
            }
            Err(e) => {
                let trouble = Trouble::from(e);
                for i in open {
                    results[i] = Some(Err(ApplyError::Store(trouble.clone())));
                }
                break;
            }
        }
        open = results.iter().enumerate().filter(|(_, r)| r.is_none()).map(|(i, _)| i).collect();
    }
    results.into_iter().map(|r| r.unwrap_or(Err(ApplyError::Contended))).collect()
}

async fn alone(work: &Work, item: (usize, &Item)) -> Outcome {
    for _ in 0..MAX_ROUNDS {
        match one_round(work, &[item]).await {
            Ok(mut done) => match done.pop() {
                Some((_, outcome)) => return outcome,
                None => continue,
            },
            Err(e) => return Err(ApplyError::Store(e.into())),
        }
    }
    Err(ApplyError::Contended)
}

/// Decides and commits once; items whose order was changed concurrently are left out of the result.
async fn one_round(with: &Work, items: &[(usize, &Item)]) -> Result<Vec<(usize, Outcome)>, DbError> {
    let (store, now) = (&with.store, with.clock.now());
    let mut work = load(store, items).await?;
    let mut outcomes: Vec<(usize, Option<i64>, Outcome)> = Vec::with_capacity(items.len());
    for (i, item) in items {
        let key = (item.merchant.clone(), item.out_trade_no.clone());
        let (order_id, outcome) = match work.by_attempt.get(&key).and_then(|id| work.orders.get_mut(id)) {
            Some(order) => (Some(order.stored.order.id), order.take(item, now, &with.config)),
            None => (None, Applied::UnknownOrder),
        };
        outcomes.push((*i, order_id, Ok(outcome)));
    }
    let paid: Vec<_> = work.orders.iter_mut().map(|(id, o)| (*id, std::mem::take(&mut o.commit.paid))).collect();
    let commits = work.into_commits();
    crate::failpoint::point("worker.decided");
    let lost = commit(store, &commits, now).await?;
    crate::failpoint::point("worker.committed");
    for (source, lag) in paid.into_iter().filter(|(id, _)| lost.wrote(*id)).flat_map(|(_, paid)| paid) {
        metrics::counter!(telemetry::PAID_FIRST_LEARNT_BY_TOTAL, "source" => source).increment(1);
        metrics::histogram!(telemetry::ORDER_SETTLE_LAG_SECONDS).record(lag);
    }
    let mut done = Vec::with_capacity(outcomes.len());
    for ((i, order_id, outcome), (_, item)) in outcomes.into_iter().zip(items) {
        match order_id {
            Some(id) if lost.conflicts.contains(&id) => {}
            Some(id) if lost.elsewhere.contains(&id) => done.push((i, elsewhere(store, item, now).await)),
            _ => done.push((i, outcome)),
        }
    }
    Ok(done)
}

/// Flags the order that was reported paid with another order's transaction.
async fn elsewhere(store: &Store, item: &Item, now: Timestamp) -> Outcome {
    let gone = |e: DbError| ApplyError::Store(e.into());
    let mut work = load(store, &[(0, item)]).await.map_err(gone)?;
    let key = (item.merchant.clone(), item.out_trade_no.clone());
    let Some(order) = work.by_attempt.get(&key).and_then(|id| work.orders.get_mut(id)) else {
        return Ok(Applied::UnknownOrder);
    };
    let (applied, verdict) = order.refuse(item, Refusal::TransactionElsewhere, now);
    order.record(item, verdict);
    match store.commit(&work.into_commits(), now).await {
        Ok(conflicts) if conflicts.is_empty() => Ok(applied),
        Ok(_) => Err(ApplyError::Contended),
        Err(e) => Err(gone(e)),
    }
}

#[derive(Default)]
struct Lost {
    conflicts: HashSet<i64>,
    elsewhere: HashSet<i64>,
}

impl Lost {
    fn wrote(&self, order_id: i64) -> bool {
        !self.conflicts.contains(&order_id) && !self.elsewhere.contains(&order_id)
    }
}

async fn commit(store: &Store, commits: &[OrderCommit], now: Timestamp) -> Result<Lost, DbError> {
    if commits.is_empty() {
        return Ok(Lost::default());
    }
    match store.commit(commits, now).await {
        Ok(conflicts) => return Ok(Lost { conflicts, elsewhere: HashSet::new() }),
        Err(DbError::Exists(_)) => {}
        Err(e) => return Err(e),
    }
    // One of them names a transaction that another order has: commit each alone to find it.
    let mut lost = Lost::default();
    for one in commits {
        match store.commit(std::slice::from_ref(one), now).await {
            Ok(conflicts) => lost.conflicts.extend(conflicts),
            Err(DbError::Exists(_)) => {
                lost.elsewhere.insert(one.next.id);
            }
            Err(e) => return Err(e),
        }
    }
    Ok(lost)
}

struct Loaded {
    orders: HashMap<i64, Working>,
    by_attempt: HashMap<(MerchantKey, OutTradeNo), i64>,
}

impl Loaded {
    /// The commits in the order of the rows, so that two processes that lock the same orders cannot deadlock.
    fn into_commits(self) -> Vec<OrderCommit> {
        let mut commits: Vec<OrderCommit> = self.orders.into_values().filter_map(Working::into_commit).collect();
        commits.sort_by_key(|c| c.next.id);
        commits
    }
}

async fn load(store: &Store, items: &[(usize, &Item)]) -> Result<Loaded, DbError> {
    let mut numbers: HashMap<&MerchantKey, HashSet<&OutTradeNo>> = HashMap::new();
    for (_, item) in items {
        numbers.entry(&item.merchant).or_default().insert(&item.out_trade_no);
    }
    let mut loaded = Loaded { orders: HashMap::new(), by_attempt: HashMap::new() };
    for (merchant, numbers) in numbers {
        let numbers: Vec<OutTradeNo> = numbers.into_iter().cloned().collect();
        for stored in store.orders_by_out_trade_no(merchant, &numbers).await? {
            for attempt in &stored.order.attempts {
                loaded.by_attempt.insert((merchant.clone(), attempt.out_trade_no.clone()), stored.order.id);
            }
            loaded.orders.insert(stored.order.id, Working::new(stored));
        }
    }
    Ok(loaded)
}
