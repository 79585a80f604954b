//! When a token is fetched, and what follows from a fetch: pure, so that hours can be decided about in a test.
//!
//! WeChat's rules behind the numbers: `stable_token` repeats a token until its last five minutes, so asking earlier
//! brings nothing; a classic token has a successor at any time, and lives five more minutes after it; the number of
//! calls per day is small, and a quota that is used up comes back at midnight in Beijing. What must stay true: a
//! refresh is due before the value expires; no rule here lets a failing app be asked more often than once a second, and
//! a misconfigured one more often than once a minute.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::config::TokenApi;
use crate::event::domain::{AppTrouble, DomainData};
use crate::secret::{Secret, sha256_hex};
use crate::store::{Degraded, StoredToken, TokenKind, TokenReport, TokenState};
use crate::wechat::platform::{Class, PlatformError};

/// The last minutes of a stable token: one less than the five in which WeChat gives the next one.
const STABLE_LEAD_MS: i64 = 240_000;
/// Between two refreshes that reports caused: doubled each time, so that two programs that kill each other's tokens do
/// not use up the day's quota.
const REPORT_PAUSE: Duration = Duration::from_secs(60);
const REPORT_PAUSE_MAX: Duration = Duration::from_secs(900);
/// The longest pause after failures that pass by themselves.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// The pause where a person has to change something, and where WeChat says that it was too often.
const REFUSED_PAUSE: Duration = Duration::from_secs(60);
/// So many failures in a row, and no value left to go on with, are more than passing.
const UNREACHABLE_FAILURES: u32 = 5;
/// A ticket call whose access_token is refused is repeated with the next one; more often, it is an error.
const REFUSED_FAILURES: u32 = 3;

/// The reason of a quota that is used up.
const QUOTA_USED_UP: &str = "quota_used_up";
/// For jitter, and for clocks that differ a little.
const SLACK: Duration = Duration::from_secs(120);

/// A value WeChat just gave.
#[derive(Debug, Clone)]
pub struct IssuedToken {
    pub value: Secret,
    /// When it was asked for.
    pub fetched_at: Timestamp,
    /// When WeChat stops taking it.
    pub expires_at: Timestamp,
    /// When to fetch the next one.
    pub refresh_at: Timestamp,
    /// The fetch was made because this value (its hash) had been reported dead.
    pub because_of: Option<String>,
    /// What is wrong although a value came: reason and `errcode`.
    pub degraded: Option<(&'static str, Option<i64>)>,
}

/// A fetch that gave nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenFailure {
    /// No fetch before this.
    pub next_try_at: Timestamp,
    /// What is wrong, when it is more than a passing failure: reason and `errcode`.
    pub degraded: Option<(&'static str, Option<i64>)>,
}

/// What is known of a token once WeChat gave `issued`.
pub fn issued(before: &TokenState, issued: &IssuedToken, now: Timestamp) -> TokenState {
    let IssuedToken { value, fetched_at, expires_at, refresh_at, because_of, .. } = issued.clone();
    let hash = sha256_hex(value.expose().as_bytes());
    let (report, report_refreshes) = if before.value_hash.as_ref() != Some(&hash) {
        (None, because_of.map_or(0, |_| before.report_refreshes + 1))
    } else if before.report.is_some() && because_of.as_ref() == Some(&hash) {
        (Some(TokenReport::Answered), before.report_refreshes)
    } else {
        (before.report, before.report_refreshes)
    };
    let answered = (report == Some(TokenReport::Answered)).then_some(("refused_though_current", None));
    TokenState {
        report,
        report_refreshes,
        failures: 0,
        next_try_at: Timestamp::from_ms(0),
        degraded: degraded(before, issued.degraded.or(answered), now),
        value_hash: Some(hash.clone()),
        token: Some(StoredToken { value, hash, fetched_at, expires_at, refresh_at }),
        ..before.clone()
    }
}

/// What is known of a token once a fetch gave nothing. A degradation once begun lasts until a value comes.
pub fn failed(before: &TokenState, failure: TokenFailure, now: Timestamp) -> TokenState {
    let lasting = || before.degraded.clone();
    TokenState {
        failures: before.failures.saturating_add(1),
        next_try_at: failure.next_try_at,
        degraded: failure.degraded.map_or_else(lasting, |wrong| degraded(before, Some(wrong), now)),
        ..before.clone()
    }
}

fn degraded(before: &TokenState, wrong: Option<(&'static str, Option<i64>)>, now: Timestamp) -> Option<Degraded> {
    let (reason, errcode) = wrong?;
    let since = before.degraded.as_ref().map_or(now, |degraded| degraded.since);
    Some(Degraded { app: before.app.clone(), kind: before.kind, since, reason: reason.to_owned(), errcode })
}

/// The event that a degradation began or ended.
pub fn news(before: &TokenState, next: &TokenState) -> Option<DomainData> {
    let trouble = |d: &Degraded| AppTrouble {
        app: d.app.clone(),
        token: d.kind.as_str(),
        reason: d.reason.clone(),
        errcode: d.errcode,
        since: d.since,
    };
    match (&before.degraded, &next.degraded) {
        (None, Some(begun)) => Some(DomainData::AppDegraded(trouble(begun))),
        (Some(ended), None) => Some(DomainData::AppRecovered(trouble(ended))),
        (None, None) | (Some(_), Some(_)) => None,
    }
}

/// From when on a fetch is due, as seen `now`; nothing known yet is due at once. Times that cannot have been written by
/// now, because a clock was ahead when they were, hold back no fetch.
pub fn due_at(state: &TokenState, now: Timestamp) -> Timestamp {
    let next_try_at = if state.next_try_at <= latest_try(state, now) { state.next_try_at } else { now };
    let Some(token) = state.token.as_ref().filter(|token| !token.is_of_the_future(now)) else { return next_try_at };
    let reported = match state.report {
        Some(TokenReport::Reported(at)) => Some(at.min(now).max(report_pause_end(token, state.report_refreshes))),
        Some(TokenReport::Answered) | None => None,
    };
    // A doubt that is still to come would be as new after each fetch.
    let doubted = state.doubted_at.filter(|at| token.fetched_at <= *at && *at <= now);
    let due = [reported, doubted].into_iter().flatten().fold(token.refresh_at, Timestamp::min);
    due.max(next_try_at)
}

/// The latest time that a failure up to now can have put the next try off to.
fn latest_try(state: &TokenState, now: Timestamp) -> Timestamp {
    let lasting = state.degraded.as_ref().is_some_and(|degraded| degraded.reason == QUOTA_USED_UP);
    (if lasting { now.next_beijing_midnight() } else { now }).after(PAUSE_MAX + SLACK)
}

fn report_pause_end(token: &StoredToken, report_refreshes: u32) -> Timestamp {
    let pause = match report_refreshes.checked_sub(1) {
        None => Duration::ZERO,
        Some(doublings) => REPORT_PAUSE.saturating_mul(1 << doublings.min(8)).min(REPORT_PAUSE_MAX),
    };
    token.fetched_at.after(pause)
}

/// When a value that was asked for at `fetched_at` expires and when to fetch the next one.
///
/// `same` is the value it repeats, if it does: repeated values were seen with a full `expires_in`, so the earlier
/// expiry counts, as long as it has not passed.
pub fn life(
    kind: TokenKind,
    api: TokenApi,
    fetched_at: Timestamp,
    expires_in_s: u32,
    same: Option<&StoredToken>,
    hash: &str,
) -> (Timestamp, Timestamp) {
    let stated = fetched_at.after(Duration::from_secs(u64::from(expires_in_s)));
    let expires_at = match same {
        Some(same) if same.expires_at > fetched_at => same.expires_at.min(stated),
        Some(_) | None => stated,
    };
    let left_ms = expires_at.as_ms() - fetched_at.as_ms();
    let lead_ms = match (kind, api) {
        (TokenKind::AccessToken, TokenApi::Stable) => (left_ms / 5).min(STABLE_LEAD_MS),
        (TokenKind::AccessToken, TokenApi::Classic) | (TokenKind::JsapiTicket, _) => left_ms / 5,
    };
    // Towards the end and never past it: a quarter of the lead, the same for the same value wherever it is computed.
    let jitter_ms = spread(hash, lead_ms / 4);
    (expires_at, Timestamp::from_ms(expires_at.as_ms() - lead_ms + jitter_ms))
}

/// What a failed fetch means. `failures` counts this one; `alive` says whether a usable value is left.
pub fn after_failure(error: &PlatformError, failures: u32, alive: bool, now: Timestamp, seed: &str) -> TokenFailure {
    let backoff = Duration::from_secs(1 << failures.saturating_sub(1).min(6)).min(PAUSE_MAX);
    let (pause, errcode) = match error {
        PlatformError::Transport(_) | PlatformError::Unreadable(_) => (backoff, None),
        PlatformError::Refused(refusal) => {
            let errcode = Some(refusal.errcode);
            match refusal.class {
                Class::Busy => (backoff, errcode),
                Class::TooFrequent => (REFUSED_PAUSE, errcode),
                // Of a ticket call: the access_token is reported and has a successor soon.
                Class::TokenDead if failures < REFUSED_FAILURES => (backoff, errcode),
                Class::QuotaUsedUp => {
                    let midnight = now.next_beijing_midnight();
                    let next_try_at = jittered(midnight, REFUSED_PAUSE, seed);
                    return TokenFailure { next_try_at, degraded: Some((QUOTA_USED_UP, errcode)) };
                }
                // A login's answers do not belong here: whatever they mean, asking again at once does not help.
                Class::Configuration
                | Class::TokenDead
                | Class::LoginOver
                | Class::UserRefused
                | Class::Bug
                | Class::Other => {
                    let next_try_at = jittered(now.after(REFUSED_PAUSE), Duration::from_secs(5), seed);
                    return TokenFailure { next_try_at, degraded: Some(("refused", errcode)) };
                }
            }
        }
    };
    let lost = !alive && failures >= UNREACHABLE_FAILURES;
    let next_try_at = jittered(now.after(pause), pause / 4, seed);
    TokenFailure { next_try_at, degraded: lost.then_some(("unreachable", errcode)) }
}

fn jittered(at: Timestamp, span: Duration, seed: &str) -> Timestamp {
    let span_ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_ms(at.as_ms() + spread(seed, span_ms))
}

/// A number from 0 to `span`, the same for the same hexadecimal text.
fn spread(hex: &str, span: i64) -> i64 {
    let number = hex.get(..8).and_then(|start| i64::from_str_radix(start, 16).ok()).unwrap_or_default();
    if span <= 0 { 0 } else { number % (span + 1) }
}
