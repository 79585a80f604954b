//! The state of a platform token: maps the row for those that refresh, use or monitor it.
//!
//! What must stay true: a value that does not open under the caller's key, for this app and this kind, is no value;
//! what was learnt with another app number, secret or API delays no fetch.

use std::time::Duration;

use super::db::DbError;
use super::entity::platform_token;
use super::order::rows::unknown;
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TokenKind {
    /// For calls of the platform API.
    AccessToken,
    /// For signing pages.
    JsapiTicket,
}

named!(TokenKind { AccessToken = "access_token", JsapiTicket = "jsapi_ticket" });

impl TokenKind {
    /// The tokens that are kept for an app, in the order of their fetching.
    pub fn of(app: &App) -> &'static [TokenKind] {
        match (app.kind, &app.secret) {
            (AppKind::OfficialAccount, Some(_)) => &[TokenKind::AccessToken, TokenKind::JsapiTicket],
            (AppKind::MiniProgram, Some(_)) => &[TokenKind::AccessToken],
            (AppKind::Mobile, _) | (AppKind::OfficialAccount | AppKind::MiniProgram, None) => &[],
        }
    }
}

/// A token as it is kept.
#[derive(Debug, Clone)]
pub struct StoredToken {
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
    pub app: AppKey,
    pub kind: TokenKind,
    pub since: Timestamp,
    /// A short stable name.
    pub reason: String,
    /// WeChat's `errcode`, where it gave one.
    pub errcode: Option<i64>,
}

/// Everything known of one token, for its refresher and for monitoring.
#[derive(Debug, Clone)]
pub struct TokenState {
    pub app: AppKey,
    pub kind: TokenKind,
    /// The value; none before the first fetch, and none that cannot be opened (another key, another app number). One
    /// that was fetched with another secret or from another API is to be replaced at once.
    pub token: Option<StoredToken>,
    /// The hash of the value, also of one that cannot be opened.
    pub value_hash: Option<String>,
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
    pub app: AppKey,
    pub kind: TokenKind,
    pub at: Timestamp,
}

impl TokenState {
    /// Of a token that was never fetched.
    pub fn never_fetched(app: AppKey, kind: TokenKind) -> TokenState {
        TokenState {
            app,
            kind,
            token: None,
            value_hash: None,
            doubted_at: None,
            report: None,
            report_refreshes: 0,
            failures: 0,
            next_try_at: Timestamp::from_ms(0),
            degraded: None,
        }
    }

    /// There is a value, and it cannot be opened.
    pub fn is_unreadable(&self) -> bool {
        self.value_hash.is_some() && self.token.is_none()
    }

    /// WeChat refused the value, and no other has come yet.
    pub fn is_reported(&self) -> bool {
        matches!(self.report, Some(TokenReport::Reported(_)))
    }

    /// The value, if it can be used now.
    pub fn usable(&self, now: Timestamp) -> Option<&StoredToken> {
        self.token.as_ref().filter(|token| !self.is_reported() && token.is_alive(now))
    }
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
fn renewed(row: platform_token::Model, fingerprint: &str) -> platform_token::Model {
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

pub(super) fn state(row: platform_token::Model, key: &SealKey, app: &App) -> Result<TokenState, DbError> {
    let kind = kind(&row)?;
    let row = renewed(row, &fingerprint(app));
    Ok(TokenState {
        app: app.key.clone(),
        kind,
        value_hash: row.value_hash.clone(),
        report: report(&row)?,
        report_refreshes: u32::try_from(row.report_refreshes).unwrap_or(u32::MAX),
        failures: u32::try_from(row.failures).unwrap_or(u32::MAX),
        next_try_at: Timestamp::from_ms(row.next_try_at_ms),
        degraded: degraded(&row)?,
        doubted_at: row.doubted_at_ms.map(Timestamp::from_ms),
        token: opened(row, kind, key, app),
    })
}

pub(super) fn report(row: &platform_token::Model) -> Result<Option<TokenReport>, DbError> {
    match (row.report.as_deref(), row.reported_at_ms) {
        (None, _) => Ok(None),
        (Some("reported"), Some(at)) => Ok(Some(TokenReport::Reported(Timestamp::from_ms(at)))),
        (Some("answered"), Some(_)) => Ok(Some(TokenReport::Answered)),
        (Some(word), _) => Err(DbError::Defect(format!("column report holds {word:?}"))),
    }
}

/// The row with what is known now; a token that `next` does not hold stays as it is.
pub(super) fn row_of(
    row: platform_token::Model,
    next: &TokenState,
    sealed: Option<String>,
    fingerprint: String,
) -> platform_token::Model {
    let (report, reported_at_ms) = match next.report {
        None => (None, None),
        Some(TokenReport::Reported(at)) => (Some("reported".to_owned()), Some(at.as_ms())),
        Some(TokenReport::Answered) => (Some("answered".to_owned()), row.reported_at_ms),
    };
    let next_row = platform_token::Model {
        report,
        reported_at_ms,
        report_refreshes: next.report_refreshes.into(),
        failures: next.failures.into(),
        next_try_at_ms: next.next_try_at.as_ms(),
        degraded_since_ms: next.degraded.as_ref().map(|d| d.since.as_ms()),
        degraded_reason: next.degraded.as_ref().map(|d| d.reason.clone()),
        degraded_code: next.degraded.as_ref().and_then(|d| d.errcode),
        ..renewed(row, &fingerprint)
    };
    let (Some(token), Some(sealed)) = (&next.token, sealed) else { return next_row };
    platform_token::Model {
        sealed: Some(sealed),
        value_hash: Some(token.hash.clone()),
        fetched_at_ms: Some(token.fetched_at.as_ms()),
        expires_at_ms: Some(token.expires_at.as_ms()),
        refresh_at_ms: Some(token.refresh_at.as_ms()),
        ..next_row
    }
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
        kind: kind(row)?,
        since: Timestamp::from_ms(since),
        reason,
        errcode: row.degraded_code,
    }))
}

fn kind(row: &platform_token::Model) -> Result<TokenKind, DbError> {
    TokenKind::parse(&row.kind).ok_or_else(|| unknown("kind", &row.kind))
}

fn parsed_app(row: &platform_token::Model) -> Result<AppKey, DbError> {
    AppKey::parse(row.app.clone()).map_err(|e| DbError::Defect(format!("platform_tokens: {e}")))
}

pub(super) fn fetch(row: &platform_token::Model) -> Result<Option<TokenFetch>, DbError> {
    let Some(at) = row.fetched_at_ms.map(Timestamp::from_ms) else { return Ok(None) };
    Ok(Some(TokenFetch { app: parsed_app(row)?, kind: kind(row)?, at }))
}
