//! Facts reach their orders here: load, decide and commit in one write, in batches. An order that this process has just
//! recorded is not loaded for the first fact about it.
//!
//! Facts that wait while the previous group commits form the next one and share its transaction and fsync. Within a
//! group the facts of one order are decided one after the other on the order as the one before left it, so a thousand
//! copies of one notification make one change and 999 times nothing. An order that another process or group changed
//! meanwhile is loaded and decided anew.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use crate::batcher::{Group, GroupError, Limits};
use crate::clock::{Clock, Timestamp};
use crate::ids::{MerchantKey, OutTradeNo, TransactionId};
use crate::order::{HeldReason, PaymentClass};
use crate::store::{DbError, DbKind, IntakeStep, OrderCommit, OrderDecision, Store, StoredOrder};

use super::error::HandlerError;
use super::fact::{Applied, Item, LogGroup, Owner};
use super::loaded::{Elsewhere, Loaded, attempts_of};
use super::outage::{TRIES, Trouble, is_outage};
use crate::telemetry;
use crate::wechat::transport::Client;

/// Facts of one group.
const MAX_BATCH: usize = 256;
/// A batch that takes longer is given up; its messages are redelivered.
const BATCH_TIMEOUT: Duration = Duration::from_secs(30);
/// Groups of notifications at once on PostgreSQL: one alone would leave the server idle while its facts are decided,
/// and this process while the server writes. SQLite has one writer.
const POSTGRES_LANES: u64 = 2;
/// How often an order is decided anew because others change it at the same time.
const MAX_ROUNDS: usize = 12;

/// Why a fact was not applied: try again later.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The database did not take it.
    #[error(transparent)]
    Store(HandlerError),
    /// Others kept changing the order.
    #[error("the order is changed by others all the time")]
    Contended,
    /// The program is ending.
    #[error(transparent)]
    Group(#[from] GroupError),
}

impl From<ApplyError> for HandlerError {
    fn from(e: ApplyError) -> HandlerError {
        match e {
            ApplyError::Store(trouble) => trouble,
            ApplyError::Contended => HandlerError::Failed(e.to_string()),
            ApplyError::Group(e) => e.into(),
        }
    }
}

/// Applies facts in groups.
pub struct FactApplier {
    group: Group<Item, Result<Applied, ApplyError>>,
}

impl FactApplier {
    /// Over a store. Few groups at a time, so that what waits meanwhile shares the next transaction; the facts of one
    /// attempt always go the same way, so that copies of a notification meet in one group.
    pub fn new(store: Store, clock: Clock, wechat: Client) -> FactApplier {
        let limits = Limits { max_batch: MAX_BATCH, queue: 4 * MAX_BATCH };
        let lanes = match store.db().kind() {
            DbKind::Sqlite => 1,
            DbKind::Postgres => POSTGRES_LANES as usize + 1,
        };
        let run = move |items: Vec<Item>| {
            let work = Work { store: store.clone(), clock: clock.clone(), wechat: wechat.clone() };
            async move {
                let count = items.len();
                let lost = || {
                    (0..count).map(|_| {
                        Err(ApplyError::Store(HandlerError::Unavailable("the database did not answer".into())))
                    })
                };
                // A database that vanished behind a silent network must not hold the queue for ever.
                tokio::time::timeout(BATCH_TIMEOUT, apply_all(&work, items)).await.unwrap_or_else(|_| lost().collect())
            }
        };
        FactApplier { group: Group::partitioned(limits, lanes, lane_of, run) }
    }

    /// Applies one fact; returns when it is durable.
    pub async fn apply(&self, item: Item) -> Result<Applied, ApplyError> {
        self.group.run(item).await?
    }

    /// Applies facts together; returns when they are durable.
    pub async fn apply_together(&self, items: Vec<Item>) -> Vec<Result<Applied, ApplyError>> {
        let results = self.group.run_all(items).await.into_iter();
        results.map(|result| result.unwrap_or_else(|e| Err(ApplyError::Group(e)))).collect()
    }
}

/// What callers wait for is one group at a time: two would each be half as large, and cost the server as much.
fn lane_of(item: &Item) -> u64 {
    if item.notification.is_none() {
        return POSTGRES_LANES;
    }
    let mut hasher = DefaultHasher::new();
    (item.merchant.as_str(), item.out_trade_no.as_str()).hash(&mut hasher);
    hasher.finish() % POSTGRES_LANES
}

type Outcome = Result<Applied, ApplyError>;

/// What a group works with.
struct Work {
    store: Store,
    clock: Clock,
    wechat: Client,
}

async fn apply_all(work: &Work, items: Vec<Item>) -> Vec<Outcome> {
    let items = Arc::new(items);
    let mut results: Vec<Option<Outcome>> = items.iter().map(|_| None).collect();
    let mut open: Vec<usize> = (0..items.len()).collect();
    let mut trouble = Trouble::default();
    for round in 0..MAX_ROUNDS {
        if open.is_empty() {
            break;
        }
        match one_round(work, &items, open.clone(), (None, round == 0)).await {
            Ok(done) => {
                for (i, outcome) in done {
                    results[i] = Some(outcome);
                }
            }
            Err(DbError::Defect(_) | DbError::Exists(_)) if open.len() > 1 => {
                // One of them cannot be read or written, or names a transaction that another order has: it must not
                // hold up the others of its batch.
                take_apart(work, &items, open, &mut trouble, &mut results).await;
            }
            Err(DbError::Exists(_)) => results[open[0]] = Some(alone(work, &items, open[0]).await),
            Err(e) => {
                trouble.note_of_all(&work.store, &e).await;
                let may_be_locked = trouble.away.is_none() && e.is_of_one_statement();
                if !(may_be_locked && put_off_locked(work, &items, &open, (&e, &mut trouble), &mut results).await) {
                    take_apart(work, &items, open, &mut trouble, &mut results).await;
                    break;
                }
            }
        }
        open = results.iter().enumerate().filter(|(_, r)| r.is_none()).map(|(i, _)| i).collect();
    }
    results.into_iter().map(|r| r.unwrap_or(Err(ApplyError::Contended))).collect()
}

/// Puts off those whose orders others have locked, so that the rest goes on together; whether there are any.
async fn put_off_locked(
    work: &Work,
    items: &[Item],
    open: &[usize],
    (e, trouble): (&DbError, &mut Trouble),
    results: &mut [Option<Outcome>],
) -> bool {
    let locked = match work.store.locked_attempts(attempts_of(items, open)).await {
        Ok(locked) => locked,
        // It passes over locked rows: what it waited for is more than those.
        Err(e) => {
            trouble.note(&HandlerError::from(e));
            return false;
        }
    };
    for i in open {
        let Item { merchant, out_trade_no, .. } = &items[*i];
        if locked.contains(&(merchant.clone(), out_trade_no.clone())) {
            results[*i] = Some(Err(ApplyError::Store(e.into())));
        }
    }
    !locked.is_empty()
}

/// Applies each alone, because one of them may be the cause, unless the database is away.
async fn take_apart(
    work: &Work,
    items: &Arc<Vec<Item>>,
    open: Vec<usize>,
    trouble: &mut Trouble,
    results: &mut [Option<Outcome>],
) {
    for i in open {
        let outcome = match &trouble.away {
            Some(away) => Err(ApplyError::Store(away.clone())),
            None => persistently(work, items, i).await,
        };
        if let Err(ApplyError::Store(found)) = &outcome {
            trouble.note(found);
        }
        results[i] = Some(outcome);
    }
}

/// Applies one alone; what the database refuses each time while it takes other writes has failed.
async fn persistently(work: &Work, items: &Arc<Vec<Item>>, i: usize) -> Outcome {
    let mut refused = String::new();
    for _ in 0..TRIES {
        match alone(work, items, i).await {
            Err(ApplyError::Store(HandlerError::Unavailable(why))) => refused = why,
            outcome => return outcome,
        }
        if is_outage(&work.store).await {
            return Err(ApplyError::Store(HandlerError::Unavailable(refused)));
        }
    }
    Err(ApplyError::Store(HandlerError::Failed(refused)))
}

async fn alone(work: &Work, items: &Arc<Vec<Item>>, i: usize) -> Outcome {
    let mut goes_back = None;
    for _ in 0..MAX_ROUNDS {
        match one_round(work, items, vec![i], (goes_back, false)).await {
            Ok(mut done) => match done.pop() {
                Some((_, outcome)) => return outcome,
                None => continue,
            },
            Err(DbError::Exists(_)) => match items[i].owner(&work.store).await {
                Ok(Owner::NoOrder(class)) => goes_back = class,
                Ok(Owner::Another) => return refuse_elsewhere(work, &items[i]).await,
                // Another unique rule: decided anew on what is there by then.
                Ok(Owner::NotKnown) => {}
                Err(e) => return Err(ApplyError::Store(e.into())),
            },
            Err(e) => return Err(ApplyError::Store(e.into())),
        }
    }
    Err(ApplyError::Contended)
}

/// Decides and commits once; items of orders that were changed concurrently are left out of the result.
async fn one_round(
    work: &Work,
    items: &Arc<Vec<Item>>,
    open: Vec<usize>,
    (goes_back, in_memory): (Option<PaymentClass>, bool),
) -> Result<Vec<(usize, Outcome)>, DbError> {
    let now = work.clock.now();
    let clocks_differ = work.wechat.clock_difference(&work.clock).unwrap_or_default();
    let round = Round { items: Arc::clone(items), open, in_memory, now, clocks_differ, goes_back, log: None };
    let (decided, conflicts) = work.store.change_orders(round, now).await?;
    crate::failpoint::point("worker.committed");
    Ok(report(items, decided, &conflicts))
}

/// What became of the items that were decided, of which the orders of `conflicts` were not changed.
fn report(items: &[Item], decided: Vec<Decided>, conflicts: &HashSet<i64>) -> Vec<(usize, Outcome)> {
    let mut done = Vec::with_capacity(decided.len());
    for Decided { item, order_id, applied, paid, held, signed_differently } in decided {
        if order_id.is_some_and(|id| conflicts.contains(&id)) {
            continue;
        }
        if signed_differently {
            metrics::counter!(telemetry::NOTIFY_SIGN_TYPE_DIFFERS_TOTAL).increment(1);
        }
        if let Some((source, lag)) = paid {
            metrics::counter!(telemetry::PAID_FIRST_LEARNT_BY_TOTAL, "source" => source).increment(1);
            metrics::histogram!(telemetry::ORDER_SETTLE_LAG_SECONDS).record(lag);
        }
        for (transaction_id, reason) in held {
            let out_trade_no = &items[item].out_trade_no;
            metrics::counter!(telemetry::PAYMENTS_HELD_TOTAL, "reason" => reason.as_str()).increment(1);
            tracing::warn!(%out_trade_no, %transaction_id, reason = reason.as_str(), "A payment is held: accept it or \
                           give it back");
        }
        if let Some(ending) = items[item].ending.as_ref().filter(|_| applied.ends_delivery()) {
            ending.mark_committed();
        }
        done.push((item, Ok(applied)));
    }
    done
}

/// Decides records of the intake log and commits them with the cursor. What is not settled with it is a message of the
/// queue then.
pub(in crate::worker) async fn settle_log(
    (store, clock, wechat): (&Store, &Clock, &Client),
    items: Vec<Item>,
    log: LogGroup,
) -> Result<(), DbError> {
    let now = clock.now();
    let open = (0..items.len()).collect();
    let items = Arc::new(items);
    let clocks_differ = wechat.clock_difference(clock).unwrap_or_default();
    let (in_memory, goes_back, log) = (false, None, Some(log));
    let round = Round { items: Arc::clone(&items), open, in_memory, now, clocks_differ, goes_back, log };
    let (decided, conflicts) = store.change_orders(round, now).await?;
    crate::failpoint::point("intake.settled");
    report(&items, decided, &conflicts);
    Ok(())
}

/// Marks the order that was reported paid with another order's transaction.
async fn refuse_elsewhere(work: &Work, item: &Item) -> Outcome {
    let now = work.clock.now();
    let refused = work.store.change_orders(Elsewhere { item: item.clone(), now }, now).await;
    match refused.map_err(|e| ApplyError::Store(e.into()))? {
        (applied, conflicts) if conflicts.is_empty() => Ok(applied),
        _ => Err(ApplyError::Contended),
    }
}

/// Facts that are decided in one write.
struct Round {
    items: Arc<Vec<Item>>,
    /// Those of the items that have no result yet.
    open: Vec<usize>,
    /// Whether orders that this process has just recorded are decided on as they are in memory.
    in_memory: bool,
    now: Timestamp,
    /// How far WeChat's clock and ours may be apart.
    clocks_differ: Duration,
    /// The class of the only item's payment, where it is given back as one of no order.
    goes_back: Option<PaymentClass>,
    /// The records of the intake log that the items are from.
    log: Option<LogGroup>,
}

/// What was decided on one item.
struct Decided {
    item: usize,
    order_id: Option<i64>,
    applied: Applied,
    /// The source that reported a payment, and how long after it was made.
    paid: Option<(&'static str, Duration)>,
    /// Payments that are held, with the reason.
    held: Vec<(TransactionId, HeldReason)>,
    signed_differently: bool,
}

impl Round {
    /// An item's order, where it is not to be loaded.
    fn recorded(&self, i: usize) -> Option<&StoredOrder> {
        self.items[i].recorded.as_deref().filter(|_| self.in_memory)
    }
}

impl OrderDecision for Round {
    type Outcome = Vec<Decided>;

    fn known(&self) -> Vec<StoredOrder> {
        self.open.iter().filter_map(|i| self.recorded(*i)).cloned().collect()
    }

    fn gives_way(&self) -> bool {
        self.open.iter().all(|i| self.items[*i].notification.is_some())
    }

    fn intake(&self, decided: &Vec<Decided>, conflicts: &HashSet<i64>) -> Result<Option<IntakeStep>, DbError> {
        let Some(log) = &self.log else { return Ok(None) };
        // Marked and parked by the queue's handler at once: a query between the two would leave nothing to park.
        if decided.iter().any(|one| matches!(one.applied, Applied::Refused { .. })) {
            return Err(DbError::Defect("a notification contradicts its order".into()));
        }
        let mut step = log.step.clone();
        let has_ended =
            |one: &&Decided| one.applied.ends_delivery() && one.order_id.is_none_or(|id| !conflicts.contains(&id));
        let ended: HashSet<usize> = decided.iter().filter(has_ended).map(|one| one.item).collect();
        for item in self.open.iter().filter(|item| !ended.contains(item)) {
            step.moved.push((log.row_of)(*item)?);
        }
        Ok(Some(step))
    }

    fn attempts(&self) -> HashMap<MerchantKey, Vec<OutTradeNo>> {
        let loaded: Vec<usize> = self.open.iter().copied().filter(|i| self.recorded(*i).is_none()).collect();
        attempts_of(&self.items, &loaded)
    }

    fn decide(&self, orders: Vec<StoredOrder>) -> (Vec<OrderCommit>, Vec<Decided>) {
        let mut loaded = Loaded::new(orders);
        let mut decided = Vec::with_capacity(self.open.len());
        for i in &self.open {
            let item = &self.items[*i];
            decided.push(match loaded.order_of(item) {
                Some(order) => {
                    let signed_differently = order.is_signed_differently(item);
                    let applied = order.take(item, self.now, self.clocks_differ, self.goes_back);
                    let (order_id, paid) = (Some(order.stored.order.id), order.commit.paid.take());
                    let held = std::mem::take(&mut order.commit.held);
                    Decided { item: *i, order_id, applied, paid, held, signed_differently }
                }
                None => {
                    let (applied, held) = (Applied::UnknownOrder, Vec::new());
                    Decided { item: *i, order_id: None, applied, paid: None, held, signed_differently: false }
                }
            });
        }
        (loaded.into_commits(), decided)
    }
}
