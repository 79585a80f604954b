//! Batching: many callers, one effect. A caller submits one item and awaits its own result; a task takes everything
//! that is waiting and runs one function over it, so that a hundred commits share one fsync.
//!
//! It is not a buffer with a timer: no caller waits for others. A batch is what queued up while the previous batch ran,
//! so an idle system answers at once and batches grow with load.
//!
//! What must stay true: the queue is bounded (a full queue makes callers wait: backpressure); an item is given to the
//! function at most once; every caller gets its result or an error, never silence, also when the function panics or the
//! group is dropped.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

/// How a group works.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most items of one batch.
    pub max_batch: usize,
    /// Items that may wait per queue; one more makes its caller wait.
    pub queue: usize,
}

/// Why an item has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// The group ended before it took the item: nothing was done.
    #[error("the group is closed")]
    Closed,
    /// The batch died (a panic) or gave no result for the item: it may or may not have taken effect.
    #[error("the batch ended without a result")]
    Lost,
}

/// A running group. Dropping it ends its tasks once everything that was handed in is done.
pub struct Group<T, R> {
    queues: Vec<mpsc::Sender<Entry<T, R>>>,
    route: Option<fn(&T) -> u64>,
}

/// What one caller handed in, and where its results go.
struct Entry<T, R> {
    items: Vec<T>,
    done: oneshot::Sender<Vec<R>>,
}

impl<T: Send + 'static, R: Send + 'static> Group<T, R> {
    /// A group with one queue, worked off one batch at a time.
    ///
    /// `run` gives one result per item, in the items' order. Needs a tokio runtime.
    pub fn new<F, Fut>(limits: Limits, run: F) -> Group<T, R>
    where
        F: Fn(Vec<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Vec<R>> + Send + 'static,
    {
        Group { queues: vec![spawn_queue(limits, Arc::new(run))], route: None }
    }

    /// A group whose items go by `route` to one of `partitions` queues, each worked off one batch at a time: items with
    /// the same route keep the order in which they were handed in.
    pub fn partitioned<F, Fut>(limits: Limits, partitions: usize, route: fn(&T) -> u64, run: F) -> Group<T, R>
    where
        F: Fn(Vec<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Vec<R>> + Send + 'static,
    {
        let run = Arc::new(run);
        let queues = (0..partitions.max(1)).map(|_| spawn_queue(limits, Arc::clone(&run))).collect();
        Group { queues, route: Some(route) }
    }

    /// Hands in one item and awaits its result.
    ///
    /// A caller that goes away (its future is dropped) before the item was taken withdraws it; afterwards the item
    /// takes effect and its result is discarded.
    pub async fn run(&self, item: T) -> Result<R, GroupError> {
        let queue = self.queue_of(&item);
        let result = self.hand_in(queue, vec![item]).await?.pop();
        result.ok_or(GroupError::Lost)
    }

    /// Hands in several items and awaits their results, in their order. Those of one queue stay together: a batch is
    /// larger than its limit only where these alone are.
    pub async fn run_all(&self, items: Vec<T>) -> Vec<Result<R, GroupError>> {
        let mut by_queue: Vec<(Vec<usize>, Vec<T>)> = self.queues.iter().map(|_| Default::default()).collect();
        let mut results: Vec<_> = items.iter().map(|_| Err(GroupError::Lost)).collect();
        for (place, item) in items.into_iter().enumerate() {
            if let Some((places, items)) = by_queue.get_mut(self.queue_of(&item)) {
                places.push(place);
                items.push(item);
            }
        }
        let with_items = by_queue.into_iter().enumerate().filter(|(_, (places, _))| !places.is_empty());
        let done = with_items.map(async |(queue, (places, items))| (places, self.hand_in(queue, items).await));
        for (places, done) in join_all(done).await {
            match done {
                Ok(done) => places.into_iter().zip(done).for_each(|(place, result)| results[place] = Ok(result)),
                Err(e) => places.into_iter().for_each(|place| results[place] = Err(e)),
            }
        }
        results
    }

    fn queue_of(&self, item: &T) -> usize {
        let route = self.route.map_or(0, |route| route(item) % self.queues.len().max(1) as u64);
        usize::try_from(route).unwrap_or(0)
    }

    async fn hand_in(&self, queue: usize, items: Vec<T>) -> Result<Vec<R>, GroupError> {
        let queue = self.queues.get(queue).ok_or(GroupError::Closed)?;
        let (done, result) = oneshot::channel();
        // Not `send` at once: that may yield although there is room (the runtime's fairness), and callers polled one
        // after the other would enter the queue in another order.
        match queue.try_send(Entry { items, done }) {
            Ok(()) => {}
            Err(TrySendError::Full(entry)) => queue.send(entry).await.map_err(|_| GroupError::Closed)?,
            Err(TrySendError::Closed(_)) => return Err(GroupError::Closed),
        }
        result.await.map_err(|_| GroupError::Lost)
    }
}

fn spawn_queue<T, R, F, Fut>(limits: Limits, run: Arc<F>) -> mpsc::Sender<Entry<T, R>>
where
    T: Send + 'static,
    R: Send + 'static,
    F: Fn(Vec<T>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Vec<R>> + Send + 'static,
{
    let (queue, mut waiting) = mpsc::channel(limits.queue.max(1));
    let max_batch = limits.max_batch.max(1);
    tokio::spawn(async move {
        let mut held: Option<Entry<T, R>> = None;
        loop {
            let first = match held.take() {
                Some(entry) => entry,
                None => match waiting.recv().await {
                    Some(entry) => entry,
                    None => break,
                },
            };
            let mut size = first.items.len();
            let mut batch = vec![first];
            while size < max_batch
                && let Ok(entry) = waiting.try_recv()
            {
                if size + entry.items.len() > max_batch {
                    held = Some(entry);
                    break;
                }
                size += entry.items.len();
                batch.push(entry);
            }
            run_batch(run.as_ref(), batch).await;
        }
    });
    queue
}

async fn run_batch<T, R, F, Fut>(run: &F, mut batch: Vec<Entry<T, R>>)
where
    F: Fn(Vec<T>) -> Fut,
    Fut: Future<Output = Vec<R>>,
{
    batch.retain(|entry| !entry.done.is_closed());
    if batch.is_empty() {
        return;
    }
    let mut items = Vec::with_capacity(batch.len());
    let mut callers = Vec::with_capacity(batch.len());
    for entry in batch {
        callers.push((entry.items.len(), entry.done));
        items.extend(entry.items);
    }
    // A panic must not end the queue. The callers' senders are dropped with this frame and tell them.
    let outcome = AssertUnwindSafe(async { run(items).await }).catch_unwind().await;
    let Ok(results) = outcome else {
        tracing::error!("a grouped batch panicked");
        return;
    };
    let mut results = results.into_iter();
    for (count, caller) in callers {
        let own: Vec<R> = results.by_ref().take(count).collect();
        if own.len() == count {
            // A caller that went away has no use for them.
            let _ = caller.send(own);
        }
    }
}
