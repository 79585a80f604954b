//! Waiting for orders to change: one task per process polls for all waiters.
//!
//! A thousand requests that wait for a thousand orders cost one query per merchant and round, not a thousand. It reads
//! what tells whether an order changed; only those that did are read whole. A commit of this process is a hint to poll
//! at once; other processes commit too, so the task also polls every 10 ms while a wait is new, for WeChat's answer is
//! near then, and later every 50 ms. It sleeps at least as long as its last poll took, so that waiters never starve the
//! workers of the database, and does not poll while there are no waiters. An order that does not exist yet can be
//! waited for like any other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::rate_limit::Throttle;
use crate::ids::{MerchantKey, OrderNo};
use crate::money::Fen;
use crate::order::Queries;
use crate::store::{DbError, OrderMark, Store, StoredOrder};

/// The longest poll interval while there are waiters, and while one of them is new: of what a worker of another process
/// commits there is no hint.
const ROUND: Duration = Duration::from_millis(50);
const ROUND_WHILE_NEW: Duration = Duration::from_millis(10);
/// A waiter is new for so long: the time in which most orders are placed.
const NEW: Duration = Duration::from_secs(3);
/// The shortest poll interval.
const MIN_PAUSE: Duration = Duration::from_millis(5);
/// Orders of one query.
const CHUNK: usize = 500;
/// Between two log lines about one unreadable order; it is met again at every poll.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);

/// What is known of an order: nothing while it does not exist.
pub type Seen = Option<Arc<StoredOrder>>;

type Key = (MerchantKey, OrderNo);

/// The hub. Cheap to clone.
#[derive(Clone)]
pub struct OrderWatch(Arc<Hub>);

struct Hub {
    waiting: Mutex<HashMap<Key, watch::Sender<Seen>>>,
    /// When the last waiter came.
    latest: Mutex<Instant>,
    arrived: Notify,
    shutdown: CancellationToken,
}

impl OrderWatch {
    /// Starts the task. It ends with `shutdown`.
    pub fn start(store: Store, shutdown: CancellationToken) -> OrderWatch {
        let (waiting, latest) = (Mutex::new(HashMap::new()), Mutex::new(Instant::now()));
        let hub = Arc::new(Hub { waiting, latest, arrived: Notify::new(), shutdown: shutdown.clone() });
        let run = run(store, Arc::clone(&hub));
        tokio::spawn(async move { shutdown.run_until_cancelled(run).await });
        OrderWatch(hub)
    }

    /// Follows an order from `seen` on.
    pub fn follow(&self, merchant: &MerchantKey, order_no: &OrderNo, seen: Seen) -> Following {
        let key = (merchant.clone(), order_no.clone());
        let mut waiting = self.0.lock();
        let mut changes = waiting.entry(key.clone()).or_insert_with(|| watch::Sender::new(seen.clone())).subscribe();
        // Another waiter's read may be older or newer than ours: compare with our own.
        changes.mark_changed();
        drop(waiting);
        *self.0.latest.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.arrived.notify_one();
        Following { changes: Some(changes), seen, key, hub: Arc::clone(&self.0) }
    }

    /// Waits until the order satisfies `enough`, at most until `deadline`, or until the process ends; answers the last
    /// that was seen.
    pub async fn wait(
        &self,
        merchant: &MerchantKey,
        order_no: &OrderNo,
        seen: Seen,
        deadline: Instant,
        enough: impl Fn(&StoredOrder) -> bool,
    ) -> Seen {
        if seen.as_deref().is_some_and(&enough) {
            return seen;
        }
        let mut following = self.follow(merchant, order_no, seen);
        let poll = async {
            while let Some(order) = following.changed().await {
                if enough(&order) {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout_at(deadline, poll).await;
        following.seen.clone()
    }
}

/// One follower of an order.
pub struct Following {
    changes: Option<watch::Receiver<Seen>>,
    /// What this follower saw last.
    pub seen: Seen,
    key: Key,
    hub: Arc<Hub>,
}

impl Following {
    /// The next change after what was seen; nothing once the process ends.
    pub async fn changed(&mut self) -> Option<Arc<StoredOrder>> {
        let changes = self.changes.as_mut()?;
        loop {
            let next = self.hub.shutdown.run_until_cancelled(changes.changed()).await?;
            next.ok()?;
            let now = changes.borrow_and_update().clone();
            if let Some(order) = now.filter(|now| is_newer(&self.seen, now)) {
                self.seen = Some(Arc::clone(&order));
                return Some(order);
            }
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let mut waiting = self.hub.lock();
        self.changes = None;
        if waiting.get(&self.key).is_some_and(|sender| sender.receiver_count() == 0) {
            waiting.remove(&self.key);
        }
    }
}

impl Hub {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, watch::Sender<Seen>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The orders with waiters, by merchant.
    fn wanted(&self) -> HashMap<MerchantKey, Vec<OrderNo>> {
        let mut wanted: HashMap<MerchantKey, Vec<OrderNo>> = HashMap::new();
        for (merchant, order_no) in self.lock().keys() {
            wanted.entry(merchant.clone()).or_default().push(order_no.clone());
        }
        wanted
    }

    /// How long it may be until the next poll.
    fn round(&self) -> Duration {
        let latest = *self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if latest.elapsed() < NEW { ROUND_WHILE_NEW } else { ROUND }
    }

    /// Those of the orders that are to be read whole.
    fn changed(&self, merchant: &MerchantKey, marks: Vec<(OrderNo, OrderMark)>) -> Vec<OrderNo> {
        let waiting = self.lock();
        let is_news = |order_no: &OrderNo, mark: &OrderMark| {
            let sender = waiting.get(&(merchant.clone(), order_no.clone()));
            sender.is_some_and(|sender| sender.borrow().as_deref().is_none_or(|seen| mark.is_newer_than(seen)))
        };
        marks.into_iter().filter(|(order_no, mark)| is_news(order_no, mark)).map(|(order_no, _)| order_no).collect()
    }

    fn publish(&self, merchant: &MerchantKey, orders: Vec<StoredOrder>) {
        let waiting = self.lock();
        for order in orders {
            let key = (merchant.clone(), order.order.order_no.clone());
            if let Some(sender) = waiting.get(&key) {
                let order = Arc::new(order);
                sender.send_if_modified(|seen| {
                    let newer = is_newer(seen, &order);
                    if newer {
                        *seen = Some(order);
                    }
                    newer
                });
            }
        }
    }
}

/// Whether `now` says more than `seen`: the order changed, money of it went back, WeChat was asked and nothing did, or
/// its token was revoked.
fn is_newer(seen: &Seen, now: &StoredOrder) -> bool {
    fn mark(order: &StoredOrder) -> (i64, Queries, Fen, &str) {
        (order.order.version, order.order.queries, order.refunded, order.order_token.expose())
    }
    seen.as_deref().is_none_or(|seen| now.order.version >= seen.order.version && mark(seen) != mark(now))
}

async fn run(store: Store, hub: Arc<Hub>) {
    let mut commits = store.commits();
    let complaints = Throttle::new(COMPLAINT_INTERVAL);
    loop {
        let wanted = hub.wanted();
        if wanted.is_empty() {
            hub.arrived.notified().await;
            continue;
        }
        commits.mark_unchanged();
        let begun = Instant::now();
        if let Err(e) = poll(&store, &hub, wanted, &complaints).await {
            tracing::warn!(error = %e, "Orders that requests wait for could not be read");
        }
        let pause = begun.elapsed().max(MIN_PAUSE);
        tokio::time::sleep(pause).await;
        let hint = async {
            tokio::select! {
                _ = commits.changed() => {}
                () = hub.arrived.notified() => {}
            }
        };
        let _ = tokio::time::timeout(hub.round().saturating_sub(pause), hint).await;
    }
}

async fn poll(
    store: &Store,
    hub: &Hub,
    wanted: HashMap<MerchantKey, Vec<OrderNo>>,
    complaints: &Throttle<Key>,
) -> Result<(), DbError> {
    for (merchant, order_nos) in wanted {
        for part in order_nos.chunks(CHUNK) {
            let changed = match store.order_marks(&merchant, part).await {
                Ok(marks) => hub.changed(&merchant, marks),
                Err(e @ DbError::Unavailable(_)) => return Err(e),
                // Reading them whole finds the one that is the cause.
                Err(DbError::Defect(_) | DbError::Exists(_)) => part.to_vec(),
            };
            if !changed.is_empty() {
                read_whole(store, hub, &merchant, &changed, complaints).await?;
            }
        }
    }
    Ok(())
}

async fn read_whole(
    store: &Store,
    hub: &Hub,
    merchant: &MerchantKey,
    order_nos: &[OrderNo],
    complaints: &Throttle<Key>,
) -> Result<(), DbError> {
    let mut parts = vec![order_nos];
    while let Some(part) = parts.pop() {
        match store.orders(merchant, part).await {
            Ok(orders) => hub.publish(merchant, orders),
            Err(e @ DbError::Unavailable(_)) => return Err(e),
            // A row that cannot be read costs its own waiters their updates and no others': halve until it is
            // alone.
            Err(e @ (DbError::Defect(_) | DbError::Exists(_))) => match part {
                [] => {}
                [order_no] => {
                    if complaints.pass((merchant.clone(), order_no.clone())) {
                        tracing::error!(error = %e, %merchant, %order_no, "A requested order is unreadable");
                    }
                }
                several => {
                    let (one_half, other_half) = several.split_at(several.len() / 2);
                    parts.extend([one_half, other_half]);
                }
            },
        }
    }
    Ok(())
}
