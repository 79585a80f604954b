//! Facts reach their orders here: load, decide, commit, in groups.
//!
//! Facts that wait while the previous group commits form the next one and share its transaction and fsync. Within a
//! group the facts of one order are decided one after the other on the order as the one before left it, so a thousand
//! copies of one notification make one change and 999 times nothing. An order that another process changed meanwhile is
//! loaded and decided anew.

use std::collections::{HashMap, HashSet};

use crate::clock::{Clock, Timestamp};
use crate::event::fact::Fact;
use crate::group::{Group, GroupError, Limits};
use crate::ids::{MerchantKey, OutTradeNo};
use crate::order::{Decision, Order, Refusal, decide, flag_mismatch};
use crate::store::{
    AttemptParams, DbError, DbKind, Evidence, EvidenceSource, NotificationRecord, OrderCommit, Store, StoredOrder,
    Verdict,
};

use super::news::{self, source_name};
use crate::telemetry;

/// Facts of one group.
const MAX_BATCH: usize = 256;
/// How often an order is decided anew because others change it at the same time.
const MAX_ROUNDS: usize = 12;

/// A fact on its way to its order.
#[derive(Debug, Clone)]
pub struct Item {
    /// Whose.
    pub merchant: MerchantKey,
    /// About which attempt.
    pub out_trade_no: OutTradeNo,
    /// What was said.
    pub fact: Fact,
    /// By whom.
    pub source: EvidenceSource,
    /// When it reached us.
    pub received_at: Timestamp,
    /// The notification it came in, to be recorded with the verdict.
    pub notification: Option<NotificationRecord>,
}

/// What became of a fact, after it is durable.
#[derive(Debug, Clone)]
pub enum Applied {
    /// The order changed; this is how it is now, with the parameters of its attempts.
    Changed(Box<StoredOrder>),
    /// The order said so already.
    Already,
    /// Nothing changed; the order is to be asked about again.
    AskAgain {
        /// Which order.
        order_id: i64,
        /// How many questions were asked before.
        done: u32,
        /// When.
        at: Timestamp,
        /// Whether the unified order must be repeated.
        place_again: bool,
    },
    /// The fact contradicts the order.
    Refused(Refusal),
    /// Its transaction belongs to another order's ledger row.
    TransactionElsewhere,
    /// No order has this attempt.
    UnknownOrder,
}

/// Why a fact was not applied: try again later.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The database did not take it.
    #[error("{0}")]
    Store(String),
    /// Others kept changing the order.
    #[error("the order is changed by others all the time")]
    Contended,
    /// The program is ending.
    #[error(transparent)]
    Group(#[from] GroupError),
}

/// Applies facts in groups.
pub struct Applier {
    group: Group<Item, Result<Applied, ApplyError>>,
}

impl Applier {
    /// Over a store. SQLite has one writer, so one lane; PostgreSQL commits several groups at once.
    pub fn new(store: Store, clock: Clock) -> Applier {
        let lanes = match store.db().kind() {
            DbKind::Sqlite => 1,
            DbKind::Postgres => 4,
        };
        let limits = Limits { max_batch: MAX_BATCH, queue: 4 * MAX_BATCH, lanes };
        // One attempt's facts keep to one lane: copies of a notification meet in one group instead of fighting.
        let route = |item: &Item| {
            use std::hash::{DefaultHasher, Hash, Hasher};
            let mut hasher = DefaultHasher::new();
            (item.merchant.as_str(), item.out_trade_no.as_str()).hash(&mut hasher);
            hasher.finish()
        };
        let run = move |items: Vec<Item>| {
            let (store, clock) = (store.clone(), clock.clone());
            async move { apply_all(&store, &clock, items).await }
        };
        Applier { group: Group::routed(limits, route, run) }
    }

    /// Applies one fact; returns when it is durable.
    pub async fn apply(&self, item: Item) -> Result<Applied, ApplyError> {
        self.group.run(item).await?
    }
}

type Outcome = Result<Applied, ApplyError>;

async fn apply_all(store: &Store, clock: &Clock, items: Vec<Item>) -> Vec<Outcome> {
    let mut results: Vec<Option<Outcome>> = items.iter().map(|_| None).collect();
    let mut open: Vec<usize> = (0..items.len()).collect();
    for _ in 0..MAX_ROUNDS {
        if open.is_empty() {
            break;
        }
        let round: Vec<(usize, &Item)> = open.iter().map(|i| (*i, &items[*i])).collect();
        match one_round(store, clock, &round).await {
            Ok(done) => {
                for (i, outcome) in done {
                    results[i] = Some(outcome);
                }
            }
            Err(DbError::Defect(_)) if round.len() > 1 => {
                // One row that cannot be read or written must not hold up those who happen to wait beside it.
                for one in round {
                    results[one.0] = Some(alone(store, clock, one).await);
                }
            }
            Err(e) => {
                let why = e.to_string();
                for i in open {
                    results[i] = Some(Err(ApplyError::Store(why.clone())));
                }
                break;
            }
        }
        open = results.iter().enumerate().filter(|(_, r)| r.is_none()).map(|(i, _)| i).collect();
    }
    results.into_iter().map(|r| r.unwrap_or(Err(ApplyError::Contended))).collect()
}

async fn alone(store: &Store, clock: &Clock, item: (usize, &Item)) -> Outcome {
    for _ in 0..MAX_ROUNDS {
        match one_round(store, clock, &[item]).await {
            Ok(mut done) => match done.pop() {
                Some((_, outcome)) => return outcome,
                None => continue,
            },
            Err(e) => return Err(ApplyError::Store(e.to_string())),
        }
    }
    Err(ApplyError::Contended)
}

/// Decides and commits once; items of orders that lost the race are left out of the result.
async fn one_round(store: &Store, clock: &Clock, items: &[(usize, &Item)]) -> Result<Vec<(usize, Outcome)>, DbError> {
    let now = clock.now();
    let mut work = load(store, items).await?;
    let mut outcomes: Vec<(usize, Option<i64>, Outcome)> = Vec::with_capacity(items.len());
    for (i, item) in items {
        let key = (item.merchant.clone(), item.out_trade_no.clone());
        let (order_id, outcome) = match work.by_attempt.get(&key).and_then(|id| work.orders.get_mut(id)) {
            Some(order) => (Some(order.stored.order.id), order.take(item, now)),
            None => (None, Applied::UnknownOrder),
        };
        outcomes.push((*i, order_id, Ok(outcome)));
    }
    let paid: Vec<_> = work.orders.iter_mut().map(|(id, o)| (*id, std::mem::take(&mut o.commit.paid))).collect();
    let commits: Vec<OrderCommit> = work.orders.into_values().filter_map(Working::into_commit).collect();
    crate::crash::point("worker.decided");
    let lost = commit(store, &commits, now).await?;
    crate::crash::point("worker.committed");
    for (source, lag) in paid.into_iter().filter(|(id, _)| lost.wrote(*id)).flat_map(|(_, paid)| paid) {
        metrics::counter!(telemetry::PAID_FIRST_LEARNT_BY_TOTAL, "source" => source).increment(1);
        metrics::histogram!(telemetry::ORDER_SETTLE_LAG_SECONDS).record(lag);
    }
    Ok(outcomes
        .into_iter()
        .filter_map(|(i, order_id, outcome)| match order_id {
            Some(id) if lost.conflicts.contains(&id) => None,
            Some(id) if lost.elsewhere.contains(&id) => Some((i, Ok(Applied::TransactionElsewhere))),
            _ => Some((i, outcome)),
        })
        .collect())
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
    // One of them names a transaction that another order has: find it, let the others through.
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

/// An order while the facts of one group are decided on it.
struct Working {
    stored: StoredOrder,
    before: i64,
    attempts_before: usize,
    commit: Parts,
}

#[derive(Default)]
struct Parts {
    evidence: Vec<(i64, Evidence)>,
    ledger: Vec<(i64, crate::order::LedgerEntry)>,
    events: Vec<crate::event::domain::Sealed>,
    notifications: Vec<NotificationRecord>,
    /// By whom a payment was told, and how long after it was made.
    paid: Vec<(&'static str, std::time::Duration)>,
}

impl Working {
    fn new(stored: StoredOrder) -> Working {
        let (before, attempts_before) = (stored.order.version, stored.order.attempts.len());
        Working { stored, before, attempts_before, commit: Parts::default() }
    }

    fn take(&mut self, item: &Item, now: Timestamp) -> Applied {
        let order = &self.stored.order;
        let (applied, verdict) = match decide(order, &item.out_trade_no, &item.fact, now) {
            Decision::Apply(change) => {
                let change = *change;
                let version = change.next.version;
                self.commit.evidence.push((version, evidence(item)));
                if let Some(entry) = &change.ledger {
                    self.commit.paid.push((source_name(&item.source), now.since(entry.occurred_at)));
                }
                self.commit.ledger.extend(change.ledger.map(|l| (version, l)));
                let news = change.news.map(|n| news::of_order(&change.next, n, &item.source).seal(now));
                self.commit.events.extend(news);
                self.advance(change.next);
                (Applied::Changed(Box::new(self.stored.clone())), Verdict::Settled)
            }
            Decision::AlreadyApplied => (Applied::Already, Verdict::Duplicate),
            Decision::AskAgain { at, place_again } => {
                let (order_id, done) = (order.id, order.queries.done);
                (Applied::AskAgain { order_id, done, at, place_again }, Verdict::NoPayment)
            }
            Decision::Refused(refusal) => {
                if let Some(change) = flag_mismatch(order, now) {
                    self.commit.evidence.push((change.next.version, evidence(item)));
                    let news = news::of_refusal(&change.next, &refusal, item).map(|n| n.seal(now));
                    self.commit.events.extend(news);
                    self.advance(change.next);
                }
                let verdict = Verdict::Parked(refusal.reason().into());
                (Applied::Refused(refusal), verdict)
            }
        };
        if let Some(record) = &item.notification {
            let order_id = Some(self.stored.order.id);
            self.commit.notifications.push(NotificationRecord { verdict, order_id, ..record.clone() });
        }
        applied
    }

    /// Takes over the decided order; a new attempt repeats the parameters of the one before under its own number.
    fn advance(&mut self, next: Order) {
        for attempt in &next.attempts[self.stored.params.len()..] {
            let params = self.stored.params.last().map(|last| renumbered(last, &attempt.out_trade_no));
            self.stored.params.extend(params);
        }
        self.stored.order = next;
    }

    fn into_commit(self) -> Option<OrderCommit> {
        let Working { stored, before, attempts_before, commit } = self;
        if stored.order.version == before && commit.notifications.is_empty() {
            return None;
        }
        Some(OrderCommit {
            before,
            attempts_before,
            next: stored.order,
            new_params: stored.params[attempts_before..].to_vec(),
            evidence: commit.evidence,
            ledger: commit.ledger,
            events: commit.events,
            notifications: commit.notifications,
        })
    }
}

fn evidence(item: &Item) -> Evidence {
    Evidence {
        out_trade_no: item.out_trade_no.clone(),
        fact: item.fact.clone(),
        source: item.source.clone(),
        received_at: item.received_at,
    }
}

fn renumbered(last: &AttemptParams, out_trade_no: &OutTradeNo) -> AttemptParams {
    let mut next = last.clone();
    next.params.insert("out_trade_no".into(), out_trade_no.to_string());
    next
}
