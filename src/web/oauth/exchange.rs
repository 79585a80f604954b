//! A code, exchanged once: by the request that claims it first, in whichever process, while all others wait for the
//! outcome.
//!
//! WeChat's browser opens the return address twice now and then and gives up the first connection. The exchange
//! therefore runs to its end in a task of its own, even if the client disconnects: cut off half way, the code would be
//! used up and no user logged in.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use super::profile;
use crate::config;
use crate::http::rate_limit::Pass;
use crate::ids::AppKey;
use crate::secret::{Secret, sha256_hex};
use crate::store::{ClaimedCode, LoginOutcome, NewUser, User};
use crate::web::envelope::{Failure, Reason};
use crate::web::state::WebState;
use crate::wechat::oauth;
use crate::wechat::oauth::{Grant, Scope};
use crate::wechat::platform::{Class, PlatformError};

/// A claimer makes at most three calls that end at `wechat.timeout_ms`, with pauses of less than this in all; longer
/// than that, and it counts as dead.
const PAUSES: Duration = Duration::from_secs(5);
/// The timeout for another request's exchange, after which the client must retry.
const WAIT: Duration = Duration::from_secs(12);
/// How long a first try waits for others of an address that sent bad codes.
const SLOWED: Duration = Duration::from_secs(10);
/// The longest poll interval for another process's exchange.
const ROUND: Duration = Duration::from_millis(100);

/// A code that came back, and what it came back with.
#[derive(Clone)]
pub struct Return {
    /// WeChat's code: one use, five minutes.
    pub code: Secret,
    /// The state of the login it belongs to.
    pub state: String,
    /// What was asked for.
    pub scope: Scope,
    /// The browser that presented it.
    pub subscriber: IpAddr,
    /// Whether it is this browser's first try.
    pub is_first_try: bool,
}

impl fmt::Debug for Return {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Return").field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// How a login ended.
#[derive(Debug)]
pub enum Login {
    Done(User),
    /// The code is used up or too old: only a new login helps.
    Over,
    /// WeChat does not let this user, or this app, log in.
    Failed,
    /// The code or the state was used with another before.
    Foreign,
}

impl Login {
    /// The word for it in metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Login::Done(_) => "logged_in",
            Login::Over => "over",
            Login::Failed => "failed",
            Login::Foreign => "foreign",
        }
    }
}

/// Exchanges the code of `back`, or waits for the request that does.
pub async fn exchange(app: &WebState, wechat_app: &config::App, back: Return) -> Result<Login, Failure> {
    let secret = wechat_app.secret.clone().ok_or(Reason::NotOpen)?;
    let browser = app.browser()?;
    // An address may be a carrier's gateway, or a proxy that is not configured: a browser that has done nothing yet is
    // not refused for others. What it says of that are its own cookies, though, which anyone can leave out: beyond the
    // limit such codes are exchanged one after the other.
    let lock = match browser.bad_codes.check(&back.subscriber) {
        Ok(()) => None,
        Err(_) if back.is_first_try => {
            let lock = tokio::time::timeout(SLOWED, browser.slowed.owned_lock(&back.subscriber));
            lock.await.map_err(|_| Reason::Busy)?
        }
        Err(wait_s) => return Err(Failure::too_many(wait_s)),
    };
    let pass = browser.exchanges.enter(&back.subscriber).map_err(|_| Reason::Busy)?;
    let pass = Arc::new((pass, lock));
    // Named by the app as well: codes of two apps are independent.
    let code_hash = sha256_hex(format!("{}\n{}", wechat_app.app_id, back.code.expose()).as_bytes());
    let state_hash = sha256_hex(back.state.as_bytes());
    let timeout = app.config.wechat.timeout * 3 + PAUSES;
    let deadline = Instant::now() + WAIT;
    let mut commits = app.store.commits();
    let outcome = loop {
        commits.mark_unchanged();
        let now = app.clock.now();
        match app.store.claim_code(&code_hash, &wechat_app.key, &state_hash, now, timeout).await? {
            ClaimedCode::Mine => break finish(app, wechat_app, secret, code_hash, back, Arc::clone(&pass)).await?,
            ClaimedCode::Done(outcome) => break outcome,
            ClaimedCode::Foreign => return Ok(Login::Foreign),
            ClaimedCode::Busy => {}
        }
        if Instant::now() >= deadline {
            return Err(Reason::Busy.into());
        }
        // Any commit of this process may be it; another process's is met at the next round.
        let _ = tokio::time::timeout(ROUND, commits.changed()).await;
    };
    match outcome {
        LoginOutcome::LoggedIn { user_id, is_snapshot } => {
            let user = app.store.user_by_id(user_id).await?;
            let user = user.ok_or_else(|| Failure::because(Reason::Internal, "a user who logged in is gone"))?;
            // What this login said, whatever a later one says.
            Ok(Login::Done(User { is_snapshot, ..user }))
        }
        LoginOutcome::Over => Ok(Login::Over),
        LoginOutcome::Failed => Ok(Login::Failed),
    }
}

/// The claimer's part, in a task that outlives the request.
async fn finish(
    app: &WebState,
    wechat_app: &config::App,
    secret: Secret,
    code_hash: String,
    back: Return,
    pass: Arc<(Pass<IpAddr>, Option<OwnedMutexGuard<()>>)>,
) -> Result<LoginOutcome, Failure> {
    let (app, wechat_app) = (app.clone(), wechat_app.clone());
    let task = tokio::spawn(async move {
        // A disconnect releases neither the permit nor the lock.
        let _pass = pass;
        let outcome = ask(&app, &wechat_app, &secret, &back).await?;
        Ok(app.store.finish_code(&code_hash, outcome, app.clock.now()).await?)
    });
    task.await.map_err(|e| Failure::because(Reason::Internal, e.to_string()))?
}

async fn ask(
    app: &WebState,
    wechat_app: &config::App,
    secret: &Secret,
    back: &Return,
) -> Result<LoginOutcome, Failure> {
    let browser = app.browser()?;
    let grant = match oauth::exchange(&browser.platform, &wechat_app.app_id, secret, back.code.expose()).await {
        Ok(grant) => grant,
        Err(e) => {
            if e.blames_the_code() {
                browser.bad_codes.count(&back.subscriber);
            }
            return Ok(outcome_of(&e));
        }
    };
    let is_snapshot = grant.is_snapshot_user;
    let user = user(app, wechat_app.key.clone(), grant, back.scope).await?;
    let user_id = profile::save(&app.store, user, app.clock.now()).await?;
    Ok(LoginOutcome::LoggedIn { user_id, is_snapshot })
}

/// The user of a grant, with a profile where one was asked for. Without it they are logged in all the same: a name is
/// no condition for paying. A made-up user has neither name nor unionid worth keeping.
async fn user(app: &WebState, key: AppKey, grant: Grant, scope: Scope) -> Result<NewUser, Failure> {
    let Grant { openid, unionid, access_token, is_snapshot_user: is_snapshot, .. } = grant;
    let bare = NewUser { app: key, openid, unionid, nickname: None, avatar_url: None, is_snapshot };
    if is_snapshot {
        return Ok(NewUser { unionid: None, ..bare });
    }
    if scope == Scope::Base {
        return Ok(bare);
    }
    Ok(match oauth::userinfo(&app.browser()?.platform, &access_token, &bare.openid).await {
        Ok(profile) => NewUser {
            unionid: profile.unionid.or_else(|| bare.unionid.clone()),
            nickname: Some(profile.nickname),
            avatar_url: profile.avatar_url,
            ..bare
        },
        Err(e) => {
            tracing::warn!(app = %bare.app, error = %e, "A user who logged in has no profile");
            bare
        }
    })
}

/// Whether a new code can help.
fn outcome_of(error: &PlatformError) -> LoginOutcome {
    match error {
        // An answer that got lost, or that cannot be parsed, has used the code up all the same.
        PlatformError::Transport(_) | PlatformError::Unreadable(_) => LoginOutcome::Over,
        PlatformError::Refused(refusal) => match refusal.class {
            Class::LoginOver | Class::Busy => LoginOutcome::Over,
            Class::TokenDead
            | Class::Configuration
            | Class::QuotaUsedUp
            | Class::TooFrequent
            | Class::UserRefused
            | Class::Bug
            | Class::Other => LoginOutcome::Failed,
        },
    }
}
