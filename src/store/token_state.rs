//! The state of a platform token: maps the row for those that refresh, use or monitor it.
//!
//! What must stay true: a value that does not open under the caller's key, for this app and this kind, is no value;
//! what was learnt with another app number, secret or API delays no fetch.

use std::time::Duration;

use super::db::DbError;
use super::entity::platform_token;
use crate::clock::Timestamp;
use crate::config::{App, AppKind, TokenApi};
use crate::ids::AppKey;
use crate::sealed_box::SealKey;
use crate::secret::{Secret, sha256_hex};

/// The purpose under which the key of stored tokens is derived from `web.session_key` (see [`SealKey::derive`]).
pub const TOKEN_SEAL: &str = "platform_token";

/// A value that was asked for so far in the future was written by a clock that is wrong, and its expiry means nothing.
/// Shorter than the time for which a value is replaced before it expires (see the scheduler's plan): one that is
/// believed although a clock was ahead by less is replaced in time.
const CLOCK_SLACK: Duration = Duration::from_secs(120);

/// Which token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TokenKind {
    /// For calls of the platform API.
    AccessToken,
    /// For signing pages.
    JsapiTicket,
}

impl TokenKind {
    /// The tokens that are kept for an app, in the order of their fetching.
    pub fn of(app: &App) -> &'static [TokenKind] {
        match (app.kind, &app.secret) {
            (AppKind::OfficialAccount, Some(_)) => &[TokenKind::AccessToken, TokenKind::JsapiTicket],
            (AppKind::MiniProgram, Some(_)) => &[TokenKind::AccessToken],
            (AppKind::Mobile, _) | (AppKind::OfficialAccount | AppKind::MiniProgram, None) => &[],
        }
    }

    /// The word in the database, in events and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            TokenKind::AccessToken => "access_token",
            TokenKind::JsapiTicket => "jsapi_ticket",
        }
    }

    fn parse(word: &str) -> Result<TokenKind, DbError> {
        match word {
            "access_token" => Ok(TokenKind::AccessToken),
            "jsapi_ticket" => Ok(TokenKind::JsapiTicket),
            _ => Err(DbError::Defect(format!("column kind holds {word:?}"))),
        }
    }
}

/// A token as it is kept.
#[derive(Debug, Clone)]
pub struct StoredToken {
    /// The token.
    pub value: Secret,
    /// Tells it apart from others without showing it: what a report of its death names.
    pub hash: String,
    /// When it was asked for.
    pub fetched_at: Timestamp,
    /// When WeChat stops taking it.
    pub expires_at: Timestamp,
    /// When it is to be fetched anew.
    pub refresh_at: Timestamp,
}

impl StoredToken {
    /// Whether it was asked for at a time that is still to come: what it says of its life is not to be believed.
    pub fn is_of_the_future(&self, now: Timestamp) -> bool {
        self.fetched_at > now.after(CLOCK_SLACK)
    }

    /// Whether it can be used now, as far as times tell.
    pub fn is_alive(&self, now: Timestamp) -> bool {
        now < self.expires_at && !self.is_of_the_future(now)
    }
}

/// What is known of a value's death.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenReport {
    /// WeChat refused it at this time; a refresh is due.
    Reported(Timestamp),
    /// WeChat refused it and then issued the very same value again: further reports of it change nothing.
    Answered,
}

/// Why an app's token cannot be kept fresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Degraded {
    /// Which app.
    pub app: AppKey,
    /// Which token.
    pub kind: TokenKind,
    /// Since when.
    pub since: Timestamp,
    /// A short stable name.
    pub reason: String,
    /// WeChat's `errcode`, where it gave one.
    pub errcode: Option<i64>,
}

/// Everything known of one token, for the one who refreshes it and for those who watch.
#[derive(Debug, Clone)]
pub struct TokenState {
    /// Which app.
    pub app: AppKey,
    /// Which token.
    pub kind: TokenKind,
    /// The value; none before the first fetch, and none that cannot be opened (another key, another app number). One
    /// that was fetched with another secret or from another API is to be replaced at once.
    pub token: Option<StoredToken>,
    /// There is a value, and it cannot be opened.
    pub is_unreadable: bool,
    /// Values requested until then may have been replaced at WeChat by one that no process holds.
    pub doubted_at: Option<Timestamp>,
    /// Whether the value was reported dead.
    pub report: Option<TokenReport>,
    /// How many refreshes in a row were caused by reports; 0 once a value lived its whole life.
    pub report_refreshes: u32,
    /// How many fetches in a row failed.
    pub failures: u32,
    /// No fetch before this.
    pub next_try_at: Timestamp,
    /// What is wrong, once it is more than a passing failure.
    pub degraded: Option<Degraded>,
}

/// When the value in use was requested, by any process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenFetch {
    /// Which app.
    pub app: AppKey,
    /// Which token.
    pub kind: TokenKind,
    /// When.
    pub at: Timestamp,
}

/// A value WeChat just gave.
#[derive(Debug, Clone)]
pub struct IssuedToken {
    /// The value.
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

/// Context that a sealed value is bound to. Includes the app's number: after it changes, the old app's tokens do not
/// open.
pub(super) fn seal_context(app: &App, kind: TokenKind) -> String {
    format!("{}/{}/{}", app.key, app.app_id, kind.as_str())
}

/// What the app's tokens are fetched with: another number, secret or API has another quota, other permissions, other
/// tokens. It gives nothing away: WeChat's secrets are 128 random bits.
pub(super) fn fingerprint(app: &App) -> String {
    let api = match app.token {
        TokenApi::Stable => "stable",
        TokenApi::Classic => "classic",
    };
    let secret = app.secret.as_ref().map_or("", |secret| secret.expose());
    sha256_hex(format!("{}\n{api}\n{secret}", app.app_id).as_bytes())
}

/// The row as if nothing had been tried yet, if all that was tried was tried with something else. The value stays: it
/// is in use until its successor comes. So does the degradation, whose end is reported when one comes.
pub(super) fn renewed(row: platform_token::Model, fingerprint: &str) -> platform_token::Model {
    if row.fingerprint.as_deref() == Some(fingerprint) {
        return row;
    }
    platform_token::Model {
        fingerprint: Some(fingerprint.to_owned()),
        refresh_at_ms: row.fetched_at_ms,
        report_refreshes: 0,
        failures: 0,
        next_try_at_ms: 0,
        ..row
    }
}

pub(super) fn never_fetched(app: &AppKey, kind: TokenKind) -> platform_token::Model {
    platform_token::Model {
        app: app.to_string(),
        kind: kind.as_str().to_owned(),
        sealed: None,
        value_hash: None,
        fetched_at_ms: None,
        expires_at_ms: None,
        refresh_at_ms: None,
        report: None,
        reported_at_ms: None,
        report_refreshes: 0,
        failures: 0,
        next_try_at_ms: 0,
        degraded_since_ms: None,
        degraded_reason: None,
        degraded_code: None,
        fingerprint: None,
        doubted_at_ms: None,
    }
}

pub(super) fn state(row: platform_token::Model, key: &SealKey, app: &App) -> Result<TokenState, DbError> {
    let kind = TokenKind::parse(&row.kind)?;
    let row = renewed(row, &fingerprint(app));
    let report = match (row.report.as_deref(), row.reported_at_ms) {
        (None, _) => None,
        (Some("reported"), Some(at)) => Some(TokenReport::Reported(Timestamp::from_ms(at))),
        (Some("answered"), Some(_)) => Some(TokenReport::Answered),
        (Some(word), _) => return Err(DbError::Defect(format!("column report holds {word:?}"))),
    };
    let degraded = degraded(&row)?;
    let (is_kept, doubted_at) = (row.sealed.is_some(), row.doubted_at_ms.map(Timestamp::from_ms));
    let (next_try_at, failures) = (Timestamp::from_ms(row.next_try_at_ms), row.failures);
    let report_refreshes = u32::try_from(row.report_refreshes).unwrap_or(u32::MAX);
    let token = opened(row, kind, key, app);
    Ok(TokenState {
        app: app.key.clone(),
        kind,
        report,
        report_refreshes,
        failures: u32::try_from(failures).unwrap_or(u32::MAX),
        next_try_at,
        degraded,
        is_unreadable: is_kept && token.is_none(),
        doubted_at,
        token,
    })
}

fn opened(row: platform_token::Model, kind: TokenKind, key: &SealKey, app: &App) -> Option<StoredToken> {
    // What does not open is as good as absent: the key or the app's number was changed, and a new token comes.
    let value = key.open(&seal_context(app, kind), row.sealed.as_deref()?).ok()?;
    Some(StoredToken {
        value: Secret::new(String::from_utf8(value).ok()?),
        hash: row.value_hash?,
        fetched_at: Timestamp::from_ms(row.fetched_at_ms?),
        expires_at: Timestamp::from_ms(row.expires_at_ms?),
        refresh_at: Timestamp::from_ms(row.refresh_at_ms?),
    })
}

pub(super) fn degraded(row: &platform_token::Model) -> Result<Option<Degraded>, DbError> {
    let (Some(since), Some(reason)) = (row.degraded_since_ms, row.degraded_reason.clone()) else { return Ok(None) };
    Ok(Some(Degraded {
        app: parsed_app(row)?,
        kind: TokenKind::parse(&row.kind)?,
        since: Timestamp::from_ms(since),
        reason,
        errcode: row.degraded_code,
    }))
}

fn parsed_app(row: &platform_token::Model) -> Result<AppKey, DbError> {
    AppKey::parse(row.app.clone()).map_err(|e| DbError::Defect(format!("platform_tokens: {e}")))
}

pub(super) fn fetch(row: &platform_token::Model) -> Result<Option<TokenFetch>, DbError> {
    let Some(at) = row.fetched_at_ms.map(Timestamp::from_ms) else { return Ok(None) };
    Ok(Some(TokenFetch { app: parsed_app(row)?, kind: TokenKind::parse(&row.kind)?, at }))
}
