//! Keeps the platform's tokens fresh: per app the access_token, and for official accounts the ticket that pages are
//! signed with.
//!
//! Apps are refreshed at the same time, so that one that hangs delays no other; within an app the ticket comes after
//! the token it is fetched with. Values are written under the job's lease: a fetch that ends after another process took
//! over is thrown away, and of a classic token it is noted that there was one, because it may have ended the life of
//! the one in use. What must stay true: no other code fetches (each call of the classic API ends a token's life),
//! nothing here asks for `force_refresh`, and no failure touches the value in use.

use std::time::Duration;

use futures_util::future::join_all;
use metrics::{counter, gauge};

use super::outcome::{Done, JobError};
use super::token_commit::{TokenWrite, commit};
use super::token_refresh_policy as plan;
use super::token_refresh_policy::{IssuedToken, TokenFailure};
use crate::clock::{Clock, Timestamp};
use crate::config::{App, Config, TokenApi};
use crate::ids::MerchantKey;
use crate::sealed_box::{CannotSeal, SealKey};
use crate::secret::{Secret, sha256_hex};
use crate::store::{DbError, Fenced, Lease, Store, StoredToken, TOKEN_SEAL, TokenFetch, TokenKind, TokenState};
use crate::telemetry;
use crate::wechat::platform::{Class, PlatformClient, PlatformError};
use crate::wechat::token::{Issued, access_token, jsapi_ticket};
use crate::wechat::transport::TransportError;

/// The longest that one call may take, whatever `wechat.timeout_ms` allows for those that a caller waits for: a run
/// makes two, one after the other, and must count a WeChat that does not answer before it is itself stopped as late.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(20);

/// The refresher of all apps that have a secret.
pub struct Tokens {
    apps: Vec<Kept>,
    platform: PlatformClient,
    key: SealKey,
}

/// An app whose tokens are kept.
struct Kept {
    app: App,
    secret: Secret,
    /// Where failures are reported.
    merchants: Vec<MerchantKey>,
}

/// What one run works with.
struct Run<'a> {
    store: &'a Store,
    clock: &'a Clock,
    lease: &'a Lease,
}

impl Tokens {
    /// The refresher of a configuration; none where the browser side is not open or no app needs tokens.
    pub fn new(config: &Config, platform: PlatformClient) -> Result<Option<Tokens>, CannotSeal> {
        let Some(session_key) = &config.web.session_key else { return Ok(None) };
        let apps: Vec<Kept> = config.apps.iter().filter_map(|app| kept(config, app)).collect();
        if apps.is_empty() {
            return Ok(None);
        }
        Ok(Some(Tokens { apps, platform, key: SealKey::derive(session_key, TOKEN_SEAL)? }))
    }

    /// Fetches what is due, writes it under `lease`, and answers how many fetches there were.
    pub async fn refresh_due(&self, store: &Store, clock: &Clock, lease: &Lease) -> Result<Done, JobError> {
        let run = Run { store, clock, lease };
        let results = join_all(self.apps.iter().map(|kept| self.refresh_app(&run, kept))).await;
        let mut said = Vec::new();
        let mut failed = None;
        for result in results {
            match result {
                Ok(words) => said.extend(words),
                Err(e) => failed = Some(e),
            }
        }
        // The others' work stands; the run as a whole did not succeed.
        if let Some(e) = failed {
            return Err(e);
        }
        let detail = (!said.is_empty()).then(|| said.join("; "));
        Ok(Done { count: said.len() as u64, detail })
    }

    /// Whether a value of some app is due.
    pub async fn is_due(&self, store: &Store, now: Timestamp) -> Result<bool, DbError> {
        for kept in &self.apps {
            let states = store.token_states(&self.key, &kept.app).await?;
            let state_of = |kind: &TokenKind| states.iter().find(|state| state.kind == *kind);
            let is_due = |kind| state_of(kind).is_none_or(|state| plan::due_at(state, now) <= now);
            if TokenKind::of(&kept.app).iter().any(is_due) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reports how old the values in use are, whichever process fetched them.
    pub async fn publish_ages(&self, store: &Store, now: Timestamp) -> Result<(), DbError> {
        for TokenFetch { app, kind, at } in store.token_fetches().await? {
            if let Some(kept) = self.apps.iter().find(|kept| kept.app.key == app) {
                publish_age(&kept.app, kind, now.since(at));
            }
        }
        Ok(())
    }

    async fn refresh_app(&self, run: &Run<'_>, kept: &Kept) -> Result<Vec<String>, JobError> {
        let states = run.store.token_states(&self.key, &kept.app).await?;
        let now = run.clock.now();
        let mut said = Vec::new();
        for kind in TokenKind::of(&kept.app) {
            let state = states.iter().find(|state| state.kind == *kind);
            if state.is_none_or(|state| plan::due_at(state, now) <= now)
                && let Some(outcome) = self.refresh(run, kept, *kind, state).await?
            {
                said.push(format!("{} {}: {outcome}", kept.app.key, kind.as_str()));
            }
        }
        Ok(said)
    }

    /// Fetches one value and writes what came of it; answers the outcome, and nothing when it could not even be tried.
    async fn refresh(
        &self,
        run: &Run<'_>,
        kept: &Kept,
        kind: TokenKind,
        state: Option<&TokenState>,
    ) -> Result<Option<&'static str>, JobError> {
        let fetched_at = run.clock.now();
        let mut with = None;
        let result = match kind {
            TokenKind::AccessToken => {
                limited(access_token(&self.platform, &kept.app.app_id, &kept.secret, kept.app.token)).await
            }
            TokenKind::JsapiTicket => {
                // What was just fetched is read back here: what was discarded must not be used.
                let key = &self.key;
                with = run.store.token(key, &kept.app, TokenKind::AccessToken, fetched_at).await?;
                let Some(token) = &with else { return Ok(None) };
                limited(jsapi_ticket(&self.platform, &token.value)).await
            }
        };
        let ends_others = ends_others(&kept.app, kind) && may_have_issued(&result);
        let outcome = match result {
            Ok(issued) => self.store_issued(run, kept, kind, state, fetched_at, issued).await?,
            Err(error) => self.note_failure(run, kept, kind, state, with.as_ref(), &error).await?,
        };
        count(&kept.app, kind, outcome.unwrap_or("overtaken"));
        if outcome.is_none() && ends_others {
            run.store.doubt_token(&kept.app.key, kind, run.clock.now()).await?;
        }
        // Others' writes stand: a process that lost the lease stops (fencing token).
        outcome.map(Some).ok_or(JobError::Overtaken)
    }

    async fn store_issued(
        &self,
        run: &Run<'_>,
        kept: &Kept,
        kind: TokenKind,
        state: Option<&TokenState>,
        fetched_at: Timestamp,
        issued: Issued,
    ) -> Result<Option<&'static str>, JobError> {
        let Run { store, clock, lease } = run;
        let app = &kept.app;
        let hash = sha256_hex(issued.value.expose().as_bytes());
        let old = state.and_then(|state| state.token.as_ref());
        let same = old.filter(|old| old.hash == hash);
        let (expires_at, refresh_at) = plan::life(kind, app.token, fetched_at, issued.expires_in_s, same, &hash);
        let reported = state.is_some_and(TokenState::is_reported);
        let because_of = old.filter(|_| reported).map(|old| old.hash.clone());
        let again = reported && state.is_some_and(|state| state.report_refreshes > 0);
        let issued = IssuedToken {
            value: issued.value,
            fetched_at,
            expires_at,
            refresh_at,
            because_of,
            degraded: again.then_some(("dies_early", None)),
        };
        let write = TokenWrite { lease, app, kind, merchants: &kept.merchants, now: clock.now() };
        match commit(store, &self.key, write, |before| plan::issued(before, &issued, write.now)).await? {
            Fenced::Lost => {
                let kind = kind.as_str();
                tracing::warn!(app = %app.key, kind, "fetched after another process took over: thrown away");
                Ok(None)
            }
            Fenced::Done(is_new) => {
                publish_age(app, kind, write.now.since(fetched_at));
                tracing::info!(app = %app.key, kind = kind.as_str(), %expires_at, is_new, reported, "token refreshed");
                Ok(Some(if is_new { "renewed" } else { "same" }))
            }
        }
    }

    async fn note_failure(
        &self,
        run: &Run<'_>,
        kept: &Kept,
        kind: TokenKind,
        state: Option<&TokenState>,
        with: Option<&StoredToken>,
        error: &PlatformError,
    ) -> Result<Option<&'static str>, JobError> {
        let Run { store, clock, lease } = run;
        let (app, now) = (&kept.app, clock.now());
        let failures = state.map_or(0, |state| state.failures).saturating_add(1);
        let alive = state.is_some_and(|state| state.usable(now).is_some());
        let seed = sha256_hex(format!("{}/{}/{failures}", app.key, kind.as_str()).as_bytes());
        let failure = plan::after_failure(error, failures, alive, now, &seed);
        let TokenFailure { next_try_at, degraded } = failure;
        tracing::warn!(
            app = %app.key, kind = kind.as_str(), %error, failures, alive, %next_try_at, degraded = degraded.is_some(),
            "a token cannot be refreshed"
        );
        if let (Some(token), Some(Class::TokenDead)) = (with, error.class()) {
            store.report_dead_token(&app.key, TokenKind::AccessToken, &token.hash, now).await?;
        }
        let write = TokenWrite { lease, app, kind, merchants: &kept.merchants, now };
        match commit(store, &self.key, write, |before| plan::failed(before, failure, now)).await? {
            Fenced::Lost => Ok(None),
            Fenced::Done(_) => Ok(Some(word(error))),
        }
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.apps.iter().map(|kept| &kept.app.key)).finish()
    }
}

fn kept(config: &Config, app: &App) -> Option<Kept> {
    if TokenKind::of(app).is_empty() {
        return None;
    }
    let lists = config.merchants.iter().filter(|merchant| merchant.apps.contains(&app.key));
    Some(Kept {
        app: app.clone(),
        secret: app.secret.clone()?,
        merchants: lists.map(|merchant| merchant.key.clone()).collect(),
    })
}

/// Whether a fetch ends the life of the value before, also a fetch whose answer is lost.
fn ends_others(app: &App, kind: TokenKind) -> bool {
    match (kind, app.token) {
        (TokenKind::AccessToken, TokenApi::Classic) => true,
        (TokenKind::AccessToken, TokenApi::Stable) | (TokenKind::JsapiTicket, _) => false,
    }
}

fn may_have_issued(result: &Result<Issued, PlatformError>) -> bool {
    match result {
        Ok(_) | Err(PlatformError::Unreadable(_)) => true,
        Err(PlatformError::Transport(e)) => e.may_have_executed(),
        Err(PlatformError::Refused(_)) => false,
    }
}

async fn limited<T>(call: impl Future<Output = Result<T, PlatformError>>) -> Result<T, PlatformError> {
    match tokio::time::timeout(CALL_LIMIT, call).await {
        Ok(answered) => answered,
        Err(_) => Err(TransportError::NoAnswer { why: "it took longer than a token may".to_owned() }.into()),
    }
}

/// The outcome's word in metrics and reports.
fn word(error: &PlatformError) -> &'static str {
    match error {
        PlatformError::Transport(_) | PlatformError::Unreadable(_) => "no_answer",
        PlatformError::Refused(refusal) => match refusal.class {
            Class::Busy => "busy",
            Class::TooFrequent => "too_frequent",
            Class::QuotaUsedUp => "quota_used_up",
            Class::TokenDead => "token_dead",
            Class::Configuration | Class::LoginOver | Class::UserRefused | Class::Bug | Class::Other => "refused",
        },
    }
}

fn publish_age(app: &App, kind: TokenKind, age: Duration) {
    let (app, kind) = (app.key.to_string(), kind.as_str());
    gauge!(telemetry::TOKEN_AGE_SECONDS, "app" => app, "kind" => kind).set(age.as_secs_f64());
}

fn count(app: &App, kind: TokenKind, outcome: &'static str) {
    let (app, kind) = (app.key.to_string(), kind.as_str());
    counter!(telemetry::TOKEN_REFRESH_TOTAL, "app" => app, "kind" => kind, "outcome" => outcome).increment(1);
}
