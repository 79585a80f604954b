//! Figures that are computed once for all who ask at the same time or shortly after.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};

use crate::clock::Timestamp;
use crate::console::fault::Fault;
use crate::ids::MerchantKey;
use crate::ops::overview::Figures;

/// How long the figures of the first page serve all who ask.
pub const LIFETIME: Duration = Duration::from_secs(5);
/// How long they are kept for what cannot be read anew.
const KEPT: Duration = Duration::from_secs(3600);

/// The figures of the first page, by the merchants that are seen; none for all.
pub type SharedFigures = Computed<Option<Vec<MerchantKey>>, Figures>;

/// When it was begun, and what came of it.
type Answer<T> = Result<(Timestamp, Arc<T>), Fault>;
type Work<T> = BoxFuture<'static, Answer<T>>;

/// One value for each key, computed anew once it is older than `lifetime`, from the value before. Those who ask while
/// it is computed await the same computation, which goes on as long as one of them does. One that failed is not kept.
pub struct Computed<K, T> {
    lifetime: Duration,
    entries: Mutex<HashMap<K, Entry<T>>>,
}

struct Entry<T> {
    done: Option<(Timestamp, Arc<T>)>,
    /// When it was begun.
    running: Option<(Timestamp, WeakShared<Work<T>>)>,
}

/// A clock that was put back keeps nothing.
fn is_within(at: Timestamp, now: Timestamp, lifetime: Duration) -> bool {
    at <= now && now.since(at) < lifetime
}

impl<T> Default for Entry<T> {
    fn default() -> Entry<T> {
        Entry { done: None, running: None }
    }
}

impl<T> Entry<T> {
    fn fresh(&self, now: Timestamp, lifetime: Duration) -> Option<&Arc<T>> {
        let (at, value) = self.done.as_ref()?;
        is_within(*at, now, lifetime).then_some(value)
    }

    /// The one that goes on. A caller that still awaits an older one keeps it and its value; who asks now gets another.
    fn running(&self, now: Timestamp, lifetime: Duration) -> Option<Shared<Work<T>>> {
        let (begun, running) = self.running.as_ref()?;
        let running = running.upgrade().filter(|_| is_within(*begun, now, lifetime))?;
        (!matches!(running.peek(), Some(Err(_)))).then_some(running)
    }
}

impl<K: Clone + Eq + Hash, T: Send + Sync + 'static> Computed<K, T> {
    pub fn new(lifetime: Duration) -> Computed<K, T> {
        Computed { lifetime, entries: Mutex::default() }
    }

    /// The value of this key at this time.
    pub async fn get<F>(
        &self,
        key: &K,
        now: Timestamp,
        compute: impl FnOnce(Option<Arc<T>>) -> F,
    ) -> Result<Arc<T>, Fault>
    where
        F: Future<Output = Result<T, Fault>> + Send + 'static,
    {
        let running = {
            let mut entries = self.entries();
            entries.retain(|_, entry| entry.fresh(now, KEPT).is_some() || entry.running(now, self.lifetime).is_some());
            let entry = entries.entry(key.clone()).or_default();
            if let Some(value) = entry.fresh(now, self.lifetime) {
                return Ok(Arc::clone(value));
            }
            entry.running(now, self.lifetime).unwrap_or_else(|| {
                let before = entry.done.as_ref().map(|(_, value)| Arc::clone(value));
                let work = compute(before).map(move |done| done.map(|value| (now, Arc::new(value))));
                let begun = work.boxed().shared();
                entry.running = begun.downgrade().map(|running| (now, running));
                begun
            })
        };
        let (at, value) = running.await?;
        let mut entries = self.entries();
        let entry = entries.entry(key.clone()).or_default();
        // One that took long must not replace a later one.
        if entry.done.as_ref().is_none_or(|(done, _)| *done <= at) {
            entry.done = Some((at, Arc::clone(&value)));
        }
        drop(entries);
        Ok(value)
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<K, Entry<T>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
