//! At most one of a kind per interval and subject: refreshes of an order, samples of refused bodies. And at most so
//! many of a merchant's refreshes or a key's requests in a second; and at most so many at once.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// More subjects than this are swept of those whose interval is over.
const SWEEP_AT: usize = 10_000;

/// Remembers when each subject was last let through.
#[derive(Debug)]
pub struct Throttle<K> {
    interval: Duration,
    last: Mutex<HashMap<K, Instant>>,
}

impl<K: Eq + Hash> Throttle<K> {
    /// One per `interval` and subject.
    pub fn new(interval: Duration) -> Throttle<K> {
        Throttle { interval, last: Mutex::new(HashMap::new()) }
    }

    /// Whether `subject` may pass now; if so, it counts as passed.
    pub fn pass(&self, subject: K) -> bool {
        let now = Instant::now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() >= SWEEP_AT {
            last.retain(|_, at| now.duration_since(*at) < self.interval);
            // Still full: so much is going on that one more is better refused than remembered.
            if last.len() >= SWEEP_AT {
                return false;
            }
        }
        if last.get(&subject).is_some_and(|at| now.duration_since(*at) < self.interval) {
            return false;
        }
        last.insert(subject, now);
        true
    }
}

/// Counts each subject's attempts of the current minute.
#[derive(Debug)]
pub struct MinuteBudget<K>(Mutex<HashMap<K, (Instant, u32)>>);

impl<K> Default for MinuteBudget<K> {
    fn default() -> MinuteBudget<K> {
        MinuteBudget(Mutex::default())
    }
}

impl<K: Eq + Hash> MinuteBudget<K> {
    /// Whether one more may pass in this minute; if so, it counts. Where too many subjects are remembered, another one
    /// passes uncounted: those who fill the memory must not keep others out.
    pub fn spend(&self, subject: K, per_minute: u32) -> bool {
        let now = Instant::now();
        let is_over = |since: Instant| now.duration_since(since) >= Duration::from_secs(60);
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.len() >= SWEEP_AT && !spent.contains_key(&subject) {
            spent.retain(|_, (since, _)| !is_over(*since));
            if spent.len() >= SWEEP_AT {
                return true;
            }
        }
        let (since, count) = spent.entry(subject).or_insert((now, 0));
        if is_over(*since) {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        *count <= per_minute
    }
}

/// Counts what each subject asks for in the current second: a merchant's refreshes, a key's requests.
#[derive(Debug)]
pub struct Budget<K>(Mutex<HashMap<K, (Instant, u32)>>);

impl<K> Default for Budget<K> {
    fn default() -> Budget<K> {
        Budget(Mutex::default())
    }
}

impl<K: Eq + Hash + Clone> Budget<K> {
    /// Whether one more may be asked in this second; if so, it counts.
    pub fn spend(&self, subject: &K, per_second: u32) -> bool {
        let now = Instant::now();
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, count) = spent.entry(subject.clone()).or_insert((now, 0));
        if now.duration_since(*since) >= Duration::from_secs(1) {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        *count <= per_second
    }
}

/// At most so many at once, in all and of one subject.
#[derive(Debug)]
pub struct Gate<K: Eq + Hash> {
    most: usize,
    most_of_one: usize,
    inside: Mutex<(usize, HashMap<K, usize>)>,
}

impl<K: Eq + Hash + Clone> Gate<K> {
    /// No permit is held.
    pub fn new(most: usize, most_of_one: usize) -> Gate<K> {
        Gate { most, most_of_one, inside: Mutex::default() }
    }

    /// Lets one in, until the answer is dropped.
    pub fn enter(self: &Arc<Self>, subject: &K) -> Result<Pass<K>, Full> {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let of_one = inside.1.get(subject).copied().unwrap_or(0);
        if of_one >= self.most_of_one || inside.0 >= self.most {
            return Err(Full);
        }
        inside.0 += 1;
        inside.1.insert(subject.clone(), of_one + 1);
        Ok(Pass { gate: Arc::clone(self), subject: subject.clone() })
    }
}

/// A [`Gate`] lets no more in: of the subject or in all there are as many as may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// One that is inside a [`Gate`].
#[derive(Debug)]
pub struct Pass<K: Eq + Hash> {
    gate: Arc<Gate<K>>,
    subject: K,
}

impl<K: Eq + Hash> Drop for Pass<K> {
    fn drop(&mut self) {
        let mut inside = self.gate.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.0 = inside.0.saturating_sub(1);
        match inside.1.get_mut(&self.subject) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) | None => {
                inside.1.remove(&self.subject);
            }
        }
    }
}
