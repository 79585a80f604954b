//! The rate limiter of calls to WeChat, per merchant and API, over all processes.
//!
//! Permits are taken from the database a few at a time, so that under load a call costs no write; without calls nothing
//! is written. Permits of one taking lie as far apart as the rate says. Ones that were not used at once are good for a
//! while, after checking whether WeChat wants to be left alone.
//!
//! What must stay true: a wait is short, because it keeps a worker; what would wait longer is put off, and its next
//! poll calls. After WeChat said that it is called too often, no process calls before the pause is over.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as Map, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::config::Merchant;
use crate::ids::MerchantKey;
use crate::store::{Permits, Store};
use crate::telemetry;
use crate::wechat::outcome::Api;

/// The longest wait for a permit: long enough for WeChat's first pause, and for a caller who waits for pay parameters.
const LONGEST_WAIT: Duration = Duration::from_millis(1_500);
/// The wait where many wait already for one merchant and API: the workers are there for others, too.
const SHORT_WAIT: Duration = Duration::from_millis(600);
/// The share of one second's permits that is taken at once, and the most where many wait.
const PARTS: (u32, u32) = (50, 10);
/// Permits in hand are good for so long.
const GOOD_FOR: Duration = Duration::from_secs(10);
/// A pause that another process was asked for is seen after so long at most.
const CHECK_AFTER: Duration = Duration::from_millis(100);
/// The database's times are whole milliseconds.
const ROUNDING: Duration = Duration::from_millis(5);
/// A database that gives no permit is asked again after this.
const AWAY: Duration = Duration::from_secs(1);

/// No permit: the call was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not called: the merchant's calls are put off for {} ms", after.as_millis())]
pub struct PutOff {
    /// There may be one after this.
    pub after: Duration,
}

/// Leave to make one call.
#[derive(Debug)]
pub struct Permit {
    began: Instant,
}

pub struct Pacer {
    store: Store,
    lanes: Map<HashMap<(MerchantKey, Api), Arc<Lane>>>,
}

/// The calls of one merchant to one API.
#[derive(Default)]
struct Lane {
    waiting: AtomicUsize,
    held: Mutex<Held>,
}

/// What this process holds.
#[derive(Default)]
struct Held {
    permits: u32,
    /// The next permit counts from then.
    next: Option<Instant>,
    /// When they were taken.
    taken: Option<Instant>,
    /// When the database last said that WeChat takes calls.
    checked: Option<Instant>,
    /// WeChat wants to be left alone until then, at least.
    resumes: Option<Instant>,
}

/// Counts one that waits, however its wait ends.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pacer {
    pub fn new(store: Store) -> Pacer {
        Pacer { store, lanes: Map::default() }
    }

    /// Waits for a permit for one call, for [`LONGEST_WAIT`] at most.
    pub async fn permit(&self, merchant: &Merchant, api: Api) -> Result<Permit, PutOff> {
        let asked = Instant::now();
        let permit = self.wait(merchant, api).await;
        match &permit {
            Ok(_) => {
                metrics::histogram!(telemetry::WECHAT_PERMIT_WAIT_SECONDS, "api" => api.name()).record(asked.elapsed())
            }
            Err(_) => {
                let merchant = merchant.key.to_string();
                metrics::counter!(telemetry::WECHAT_CALLS_PUT_OFF_TOTAL, "merchant" => merchant, "api" => api.name())
                    .increment(1);
            }
        }
        permit
    }

    /// WeChat answered the call of this permit that it is called too often.
    pub async fn throttled(&self, merchant: &Merchant, api: Api, permit: Permit) {
        let key = merchant.key.to_string();
        metrics::counter!(telemetry::WECHAT_THROTTLED_TOTAL, "merchant" => key, "api" => api.name()).increment(1);
        let asked = Instant::now();
        let pause = match self.store.back_off(&merchant.key, api.name(), permit.began.elapsed()).await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::warn!(%error, "a pause that WeChat asked for is known to this process alone");
                AWAY
            }
        };
        let pause_ms = pause.as_millis();
        tracing::warn!(merchant = %merchant.key, api = api.name(), pause_ms, "WeChat is called too often");
        let lane = self.lane(merchant, api);
        lane.held.lock().await.pause_until(asked + pause);
    }

    async fn wait(&self, merchant: &Merchant, api: Api) -> Result<Permit, PutOff> {
        let lane = self.lane(merchant, api);
        let ahead_of_this = lane.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&lane.waiting);
        let longest = if ahead_of_this < crowd(api) { LONGEST_WAIT } else { SHORT_WAIT };
        let at = {
            let mut held = lane.held.lock().await;
            let wanted = lane.waiting.load(Ordering::Relaxed);
            self.next(merchant, api, &mut held, (wanted, longest)).await?
        };
        let begun = Instant::now();
        tokio::time::sleep_until(at).await;
        let began = Instant::now();
        // What was given out before a pause was asked for is not used in it.
        let mut held = lane.held.lock().await;
        if began.duration_since(begun) >= CHECK_AFTER {
            self.check(merchant, api, &mut held).await?;
        }
        match held.resumes.filter(|resumes| *resumes > at + ROUNDING) {
            Some(resumes) => Err(PutOff { after: resumes.saturating_duration_since(began) }),
            None => Ok(Permit { began }),
        }
    }

    /// Takes a permit out of those that this process holds, after taking more from the database where there are none.
    async fn next(
        &self,
        merchant: &Merchant,
        api: Api,
        held: &mut Held,
        (wanted, longest): (usize, Duration),
    ) -> Result<Instant, PutOff> {
        let (per_second, interval) = rate(merchant, api);
        let pause = held.resumes.map_or(Duration::ZERO, |resumes| resumes.saturating_duration_since(Instant::now()));
        if pause > longest {
            return Err(PutOff { after: pause });
        }
        if held.permits > 0 && held.taken.is_some_and(|taken| taken.elapsed() < GOOD_FOR) {
            if held.checked.is_none_or(|checked| checked.elapsed() >= CHECK_AFTER) {
                self.check(merchant, api, held).await?;
            }
        } else {
            held.permits = 0;
        }
        if held.permits == 0 {
            let wanted = u32::try_from(wanted).unwrap_or(u32::MAX).min(per_second / PARTS.1);
            let count = (per_second / PARTS.0).max(wanted).max(1);
            let taken = self.store.take_permits(&merchant.key, api.name(), (count, interval), longest).await;
            let now = Instant::now();
            match taken.map_err(away)? {
                Permits::NotWithin(after) => return Err(PutOff { after }),
                Permits::After(after) => {
                    let next = Some(now + after);
                    *held = Held { permits: count, next, taken: Some(now), checked: Some(now), ..*held };
                }
            }
        }
        let at = held.next.map_or_else(Instant::now, |next| next.max(Instant::now()));
        held.permits -= 1;
        held.next = Some(at + interval);
        Ok(at)
    }

    /// Reads whether another process was asked to pause.
    async fn check(&self, merchant: &Merchant, api: Api, held: &mut Held) -> Result<(), PutOff> {
        let asked = Instant::now();
        let pause = self.store.calls_pause(&merchant.key, api.name()).await.map_err(away)?;
        held.checked = Some(Instant::now());
        if !pause.is_zero() {
            held.pause_until(asked + pause);
        }
        Ok(())
    }

    fn lane(&self, merchant: &Merchant, api: Api) -> Arc<Lane> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(lanes.entry((merchant.key.clone(), api)).or_default())
    }
}

impl Held {
    /// Permits from before the end of the pause are not used after it, either: the database spreads calls anew.
    fn pause_until(&mut self, resumes: Instant) {
        if self.next.is_none_or(|next| next + ROUNDING < resumes) {
            self.permits = 0;
        }
        self.resumes = self.resumes.max(Some(resumes));
    }
}

/// How many calls a merchant makes to an API in a second, and how far apart they lie.
fn rate(merchant: &Merchant, api: Api) -> (u32, Duration) {
    let per_second = match api {
        Api::UnifiedOrder | Api::CloseOrder => merchant.orders_per_second,
        Api::OrderQuery | Api::RefundQuery => merchant.queries_per_second,
        Api::Refund => merchant.refunds_per_second,
    };
    (per_second, Duration::from_secs(1) / per_second.max(1))
}

/// How many may wait for the longest time: half of the workers that make such calls, and fewer of those that are few.
fn crowd(api: Api) -> usize {
    match api {
        Api::UnifiedOrder => 128,
        Api::OrderQuery | Api::CloseOrder | Api::Refund | Api::RefundQuery => 8,
    }
}

fn away(error: crate::store::DbError) -> PutOff {
    tracing::warn!(%error, "the database gives no permit to call WeChat");
    PutOff { after: AWAY }
}
