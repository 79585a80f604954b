//! What makes a process ready, and what else operators see beside it.
//!
//! Each thing that was checked is named with the reason; the words are for operators, so they stay short and hold no
//! addresses. A stream that is filling up is ok with a reason; a full one refuses new work, so the process is
//! not ready. An app whose token is not fresh is reported there and does not make the process unready: payments need no
//! token, and another process could do no better. Nor does a clock that differs from the database's: which of the two
//! is wrong cannot be known here. Nor do standbys that commits do not wait for, nor a merchant whose setup WeChat
//! refuses, nor a list of API keys that could not be read for a while: only revocations wait for it. Nor does a bus
//! that does not answer where notifications go to a spool, which is full before any is refused.

use std::time::Duration;

use futures_util::future::join_all;
use serde::Serialize;

use crate::bus::{Fill, LagError};
use crate::clock::Timestamp;
use crate::config;
use crate::config::ReloadOutcome;
use crate::http::state::HttpState;
use crate::intake::{Appender, LogState};
use crate::sealed_box::SealKey;
use crate::store::{Degradation, Degraded, TokenKind, TokenState};

/// A check that takes longer has failed.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);
/// Clocks that differ by more are not just a little apart.
const CLOCKS_APART: Duration = Duration::from_secs(30);
/// A list of API keys that is older is reported.
const KEYS_OLD: Duration = Duration::from_secs(120);
/// Records of the intake log that wait longer are reported.
const LOG_LATE: Duration = Duration::from_secs(60);
/// Percents of its limit from which a stream's fill is reported.
const FILLING: u64 = 80;
/// Percents from which a stream counts as full: it refuses a message that does not fit into the rest.
const FULL: u64 = 99;

/// Ready all the same: what is committed is safe until the primary is lost.
const ASYNCHRONOUS: &str = "a commit waits for no standby, so a failover may lose acknowledged payments: set \
                            synchronous_standby_names in PostgreSQL";

#[derive(Serialize)]
struct Check {
    name: String,
    ok: bool,
    reason: Option<String>,
}

/// Whether the process can take work, and all that was checked.
#[derive(Serialize)]
pub struct Readiness {
    pub ready: bool,
    checks: Vec<Check>,
    config_hash: String,
}

fn check(name: impl Into<String>, problem: Option<impl Into<String>>) -> Check {
    Check { name: name.into(), ok: problem.is_none(), reason: problem.map(Into::into) }
}

/// Asks the database and the bus.
pub async fn look_up(app: &HttpState) -> Readiness {
    let (database, bus, fill, apps, merchants) = tokio::join!(
        tokio::time::timeout(CHECK_TIMEOUT, app.store.db().health()),
        tokio::time::timeout(CHECK_TIMEOUT, app.bus.lag()),
        tokio::time::timeout(CHECK_TIMEOUT, app.bus.fill()),
        apps(app),
        merchants(app),
    );
    let mut standbys = None;
    let (database, clock) = match database {
        Ok(Ok(health)) => {
            standbys = health.is_asynchronous.map(|is_asynchronous| is_asynchronous.then_some(ASYNCHRONOUS));
            let problem = (!health.takes_writes)
                .then_some("takes no writes: it is a standby, was made read-only, or its disk is full");
            (problem, clock_problem(app.clock.host_ahead_ms(health.now)))
        }
        Ok(Err(_)) => (Some("does not answer"), None),
        Err(_) => (Some("does not answer in time"), None),
    };
    let silent = match bus {
        Ok(Ok(_)) => None,
        Ok(Err(_)) => Some("does not answer".to_owned()),
        Err(_) => Some("does not answer in time".to_owned()),
    };
    let objection = app.bus.objection();
    let is_only_away = objection.is_none() && silent.is_some();
    let stopping = app.shutdown.is_cancelled().then_some("shutting down");
    let space = space(fill.ok());
    let bus = check("bus", objection.or(silent));
    let mut checks = vec![check("database", database), space, check("process", stopping)];
    checks.extend(intake(app.intake.as_ref().map(Appender::state), app.intake_found.get().text()));
    // With a spool notifications are taken while the bus is away, and orders are placed by their rows. One that is
    // there and keeps nothing for sure is another matter: the spool waits for a person, and so do its notifications.
    let is_excused = is_only_away && app.intake.is_some() && app.bus.is_nats();
    let ready = checks.iter().all(|check| check.ok) && (bus.ok || is_excused);
    checks.insert(1, bus);
    checks.push(check("clock", clock));
    checks.push(check("api_keys", keys_problem(app.keys.age())));
    checks.extend(standbys.map(|problem| check("standbys", problem)));
    checks.extend(apps);
    checks.extend(merchants);
    checks.extend(app.last_reload().map(configuration));
    Readiness { ready, checks, config_hash: app.config.hash() }
}

/// How full the streams are that refuse messages when they are full. What does not answer fails the check of the bus.
fn space(fill: Option<Result<Vec<Fill>, LagError>>) -> Check {
    let fills = fill.and_then(Result::ok).unwrap_or_default();
    let fullest = fills.into_iter().filter(|fill| fill.refuses).max_by_key(Fill::percent);
    let noted = fullest.filter(|fill| fill.percent() >= FILLING);
    Check {
        name: "bus_space".into(),
        ok: noted.as_ref().is_none_or(|fill| fill.percent() < FULL),
        reason: noted.map(|fill| format!("{} holds {} % of bus.max_bytes", fill.stream, fill.percent())),
    }
}

/// What waits in the intake log, and what others left. One that is full or cannot be written refuses notifications, so
/// the process is not ready; what others left is a reason alone: it keeps this process from nothing.
fn intake(log: Option<LogState>, left: Option<String>) -> Option<Check> {
    if log.is_none() && left.is_none() {
        return None;
    }
    let percent_of = |log: LogState| log.unsettled_bytes.saturating_mul(100).checked_div(log.max_bytes).unwrap_or(100);
    let percent = log.map_or(0, percent_of);
    let age = log.and_then(|log| log.oldest).unwrap_or_default();
    let (is_filling, is_late) = (percent >= FILLING, age > LOG_LATE);
    let waits = || format!("{percent} % of the intake log waits, the oldest record for {} s", age.as_secs());
    let is_failing = log.is_some_and(|log| log.is_failing);
    let fails = is_failing.then(|| "the intake log cannot be written".to_owned());
    let reasons: Vec<String> = fails.into_iter().chain((is_filling || is_late).then(waits)).chain(left).collect();
    let ok = percent < FULL && !is_failing;
    Some(Check { name: "intake".into(), ok, reason: (!reasons.is_empty()).then(|| reasons.join("; ")) })
}

/// How reading the file anew ended. A process whose file was refused serves on as before.
fn configuration(outcome: ReloadOutcome) -> Check {
    let at = outcome.at;
    let waits = (!outcome.needs_restart.is_empty()).then(|| outcome.needs_restart.join(", "));
    Check {
        name: "configuration".into(),
        ok: outcome.refused.is_none(),
        reason: match outcome.refused {
            Some(_) => Some(format!("refused at {at}, the one before is in force; the log says why")),
            None => waits.map(|keys| format!("read anew at {at}; takes a restart: {keys}")),
        },
    }
}

fn clock_problem(ahead_ms: i64) -> Option<String> {
    let apart = Duration::from_millis(ahead_ms.unsigned_abs());
    let word = if ahead_ms > 0 { "ahead of" } else { "behind" };
    (apart > CLOCKS_APART).then(|| format!("this host's clock is {} s {word} the database's", apart.as_secs()))
}

fn keys_problem(age: Duration) -> Option<String> {
    let reason = || format!("the list is {} s old: keys revoked since then are accepted", age.as_secs());
    (age > KEYS_OLD).then(reason)
}

/// A check per merchant. That notifications do not verify is noted alone: any sender can cause it.
async fn merchants(app: &HttpState) -> Vec<Check> {
    let found = tokio::time::timeout(CHECK_TIMEOUT, app.store.degradations()).await.ok().and_then(Result::ok);
    let of_merchant = |merchant: &config::Merchant| {
        let name = format!("merchant:{}", merchant.key);
        let Some(found) = &found else { return check(name, Some("the database does not say")) };
        let found: Vec<&Degradation> = found.iter().filter(|of| of.merchant == merchant.key).collect();
        let describe = |of: &&Degradation| {
            let may_be_forged = if of.part.is_hint() { ", unless they are forged" } else { "" };
            format!("{}: {}, check {}{may_be_forged}, since {}", of.part.to_text(), of.reason, of.check, of.since)
        };
        let reasons: Vec<String> = found.iter().map(describe).collect();
        let ok = found.iter().all(|of| of.part.is_hint());
        Check { name, ok, reason: (!reasons.is_empty()).then(|| reasons.join("; ")) }
    };
    app.config.merchants.iter().map(of_merchant).collect()
}

/// A check per app whose tokens are kept.
async fn apps(app: &HttpState) -> Vec<Check> {
    let Some(key) = &app.token_key else { return Vec::new() };
    let kept = app.config.apps.iter().filter(|of| !TokenKind::of(of).is_empty());
    join_all(kept.map(|of| app_check(app, key, of))).await
}

async fn app_check(app: &HttpState, key: &SealKey, of: &config::App) -> Check {
    let states = tokio::time::timeout(CHECK_TIMEOUT, app.store.token_states(key, of)).await;
    let (states, now) = (states.ok().and_then(Result::ok), app.clock.now());
    let problem_of = |kind: &TokenKind| match &states {
        Some(states) => token_problem(states.iter().find(|state| state.kind == *kind), now),
        None => Some("the database does not say".to_owned()),
    };
    let tell = |kind: &TokenKind| problem_of(kind).map(|problem| format!("{}: {problem}", kind.as_str()));
    let problems: Vec<String> = TokenKind::of(of).iter().filter_map(tell).collect();
    check(format!("app:{}", of.key), (!problems.is_empty()).then(|| problems.join("; ")))
}

fn token_problem(state: Option<&TokenState>, now: Timestamp) -> Option<String> {
    let Some(state) = state else { return Some("not fetched yet".to_owned()) };
    if let Some(Degraded { reason, errcode, since, .. }) = &state.degraded {
        let errcode = errcode.map(|errcode| format!(", errcode {errcode}")).unwrap_or_default();
        return Some(format!("{reason}{errcode}, since {since}"));
    }
    match &state.token {
        None if state.is_unreadable() => {
            Some("was kept under another session_key or app_id, cannot be read".to_owned())
        }
        None => Some("not fetched yet".to_owned()),
        Some(token) if token.is_of_the_future(now) => {
            Some(format!("fetched at {}, which is in the future: a clock is wrong", token.fetched_at))
        }
        Some(token) if !token.is_alive(now) => Some(format!("expired at {}", token.expires_at)),
        Some(_) => None,
    }
}
