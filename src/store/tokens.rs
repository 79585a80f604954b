//! The platform's tokens: one access_token per app and one ticket, shared by all processes.
//!
//! Whoever needs one reads it here; only the scheduler's job fetches, under its lease, and writes with the fencing check
//! in the same transaction: a fetch that ends after another process took over changes nothing. Values are sealed at rest.
//! What must stay true: an old value stays until the new one is written; a value that WeChat refused is not handed out
//! again unless WeChat itself repeats it; one report, or a thousand of the same value, is one refresh.

use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, IntoActiveModel, QueryFilter,
    QuerySelect,
};

use super::Store;
use super::db::{DbError, DbKind};
use super::entity::platform_token;
use super::leases::{Fenced, Lease};
use super::proof::outbox_row;
use crate::clock::Timestamp;
use crate::config::{App, AppKind};
use crate::event::domain::{AppTrouble, DomainData, DomainEvent};
use crate::ids::{AppKey, MerchantKey};
use crate::seal::SealKey;
use crate::secret::{Secret, sha256_hex};

/// The purpose under which the key of stored tokens is derived from `web.session_key` (see [`SealKey::derive`]).
pub const TOKEN_SEAL: &str = "platform_token";

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
    /// The value; none before the first fetch, and none that cannot be opened (another key, another app number).
    pub token: Option<StoredToken>,
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

/// One token as a watcher sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenStanding {
    /// Which app.
    pub app: AppKey,
    /// Which token.
    pub kind: TokenKind,
    /// When the value in use stops to count; nothing before the first.
    pub expires_at: Option<Timestamp>,
    /// What is wrong.
    pub degraded: Option<Degraded>,
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

impl Store {
    /// The token to use now; nothing when there is none, it expired, or WeChat refused it and no other has come yet.
    /// `key` is derived for [`TOKEN_SEAL`].
    pub async fn token(
        &self,
        key: &SealKey,
        app: &App,
        kind: TokenKind,
        now: Timestamp,
    ) -> Result<Option<StoredToken>, DbError> {
        let id = (app.key.to_string(), kind.as_str().to_owned());
        let Some(row) = platform_token::Entity::find_by_id(id).one(self.db.read()).await? else { return Ok(None) };
        let state = state(row, key, app)?;
        let usable = !matches!(state.report, Some(TokenReport::Reported(_)));
        Ok(state.token.filter(|token| usable && now < token.expires_at))
    }

    /// What is known of this app's tokens; those that were never fetched are missing.
    pub async fn token_states(&self, key: &SealKey, app: &App) -> Result<Vec<TokenState>, DbError> {
        let of_app = platform_token::Column::App.eq(app.key.as_str());
        let rows = platform_token::Entity::find().filter(of_app).all(self.db.read()).await?;
        rows.into_iter().map(|row| state(row, key, app)).collect()
    }

    /// Reports that WeChat refused the value with this hash. Answers whether that is news: only then a refresh becomes due.
    /// Nothing happens when another value is current, when it was reported before, or when WeChat has repeated this very
    /// value since.
    pub async fn report_dead_token(
        &self,
        app: &AppKey,
        kind: TokenKind,
        hash: &str,
        now: Timestamp,
    ) -> Result<bool, DbError> {
        let sql = "UPDATE platform_tokens SET report = 'reported', reported_at_ms = $4
                   WHERE app = $1 AND kind = $2 AND value_hash = $3 AND report IS NULL";
        let values = [app.as_str().into(), kind.as_str().into(), hash.into(), now.as_ms().into()];
        Ok(self.db.write().execute_raw(self.db.statement(sql, values)).await?.rows_affected() == 1)
    }

    /// Writes a fetched value in the place of the old one, if the lease is still held, and tells the merchants when
    /// this ends or begins a degradation. Answers whether it is another value than before.
    pub async fn store_token(
        &self,
        lease: &Lease,
        key: &SealKey,
        app: &App,
        kind: TokenKind,
        issued: &IssuedToken,
        merchants: &[MerchantKey],
        now: Timestamp,
    ) -> Result<Fenced<bool>, DbError> {
        let context = seal_context(app, kind);
        let sealed = key.seal(&context, issued.value.expose().as_bytes());
        let sealed = sealed.map_err(|e| DbError::Defect(format!("token: {e}")))?;
        let hash = sha256_hex(issued.value.expose().as_bytes());
        let tx = self.db.begin().await?;
        if !self.holds(&tx, lease).await? {
            return Ok(Fenced::Lost);
        }
        let before = self.locked(&tx, &app.key, kind).await?;
        let is_new = before.value_hash.as_deref() != Some(hash.as_str());
        let mut next = before.clone();
        if is_new {
            (next.report, next.reported_at_ms) = (None, None);
            next.report_refreshes = issued.because_of.as_ref().map_or(0, |_| before.report_refreshes + 1);
        } else if before.report.is_some() && issued.because_of.as_deref() == Some(hash.as_str()) {
            next.report = Some("answered".into());
        }
        next.sealed = Some(sealed);
        next.value_hash = Some(hash);
        next.fetched_at_ms = Some(issued.fetched_at.as_ms());
        next.expires_at_ms = Some(issued.expires_at.as_ms());
        next.refresh_at_ms = Some(issued.refresh_at.as_ms());
        next.failures = 0;
        next.next_try_at_ms = 0;
        let answered = (next.report.as_deref() == Some("answered")).then_some(("refused_though_current", None));
        self.settle(tx, before, next, issued.degraded.or(answered), merchants, now).await?;
        Ok(Fenced::Done(is_new))
    }

    /// Notes a fetch that gave nothing, if the lease is still held; the value stays. A degradation once begun lasts
    /// until a value comes.
    pub async fn token_failed(
        &self,
        lease: &Lease,
        app: &AppKey,
        kind: TokenKind,
        failure: TokenFailure,
        merchants: &[MerchantKey],
        now: Timestamp,
    ) -> Result<Fenced<()>, DbError> {
        let tx = self.db.begin().await?;
        if !self.holds(&tx, lease).await? {
            return Ok(Fenced::Lost);
        }
        let before = self.locked(&tx, app, kind).await?;
        let mut next = before.clone();
        next.failures = before.failures.saturating_add(1);
        next.next_try_at_ms = failure.next_try_at.as_ms();
        let lasting = before.degraded_reason.clone();
        match (failure.degraded, lasting) {
            (None, Some(_)) => self.write(tx, next, Vec::new()).await?,
            (degraded, _) => self.settle(tx, before, next, degraded, merchants, now).await?,
        }
        Ok(Fenced::Done(()))
    }

    /// Whether each known token can be used and kept fresh, for those who watch; needs no key and opens nothing.
    pub async fn token_standings(&self) -> Result<Vec<TokenStanding>, DbError> {
        let rows = platform_token::Entity::find().all(self.db.read()).await?;
        rows.into_iter()
            .map(|row| {
                Ok(TokenStanding {
                    app: parsed_app(&row)?,
                    kind: TokenKind::parse(&row.kind)?,
                    expires_at: row.expires_at_ms.map(Timestamp::from_ms),
                    degraded: degraded(&row)?,
                })
            })
            .collect()
    }

    /// The row as it is, kept so until the transaction ends: a report may come at any time, without the lease.
    async fn locked(
        &self,
        tx: &DatabaseTransaction,
        app: &AppKey,
        kind: TokenKind,
    ) -> Result<platform_token::Model, DbError> {
        let id = (app.to_string(), kind.as_str().to_owned());
        let mut find = platform_token::Entity::find_by_id(id);
        if self.db.kind() == DbKind::Postgres {
            find = find.lock_exclusive();
        }
        Ok(find.one(tx).await?.unwrap_or_else(|| never_fetched(app, kind)))
    }

    /// Sets the degradation and writes the row with the news that come of it.
    async fn settle(
        &self,
        tx: DatabaseTransaction,
        before: platform_token::Model,
        mut next: platform_token::Model,
        now_wrong: Option<(&'static str, Option<i64>)>,
        merchants: &[MerchantKey],
        now: Timestamp,
    ) -> Result<(), DbError> {
        let was = degraded(&before)?;
        if let Some((reason, errcode)) = now_wrong {
            next.degraded_since_ms = before.degraded_since_ms.or(Some(now.as_ms()));
            next.degraded_reason = Some(reason.to_owned());
            next.degraded_code = errcode;
        } else {
            (next.degraded_since_ms, next.degraded_reason, next.degraded_code) = (None, None, None);
        }
        let is = degraded(&next)?;
        let news = match (was, is) {
            (None, Some(begun)) => Some(DomainData::AppDegraded(trouble(begun))),
            (Some(ended), None) => Some(DomainData::AppRecovered(trouble(ended))),
            (None, None) | (Some(_), Some(_)) => None,
        };
        let tell = |merchant: &MerchantKey, data: &DomainData| {
            DomainEvent { merchant: merchant.clone(), order_no: None, data: data.clone() }.seal(now)
        };
        let news = news.iter().flat_map(|data| merchants.iter().map(move |m| outbox_row(&tell(m, data)))).collect();
        self.write(tx, next, news).await
    }

    async fn write(
        &self,
        tx: DatabaseTransaction,
        next: platform_token::Model,
        news: Vec<super::entity::outbox::ActiveModel>,
    ) -> Result<(), DbError> {
        use platform_token::Column as C;
        let told = !news.is_empty();
        platform_token::Entity::insert(next.into_active_model().reset_all())
            .on_conflict(
                OnConflict::columns([C::App, C::Kind])
                    .update_columns([
                        C::Sealed,
                        C::ValueHash,
                        C::FetchedAtMs,
                        C::ExpiresAtMs,
                        C::RefreshAtMs,
                        C::Report,
                        C::ReportedAtMs,
                        C::ReportRefreshes,
                        C::Failures,
                        C::NextTryAtMs,
                        C::DegradedSinceMs,
                        C::DegradedReason,
                        C::DegradedCode,
                    ])
                    .to_owned(),
            )
            .exec_without_returning(&tx)
            .await?;
        super::commit::write_events(&tx, news).await?;
        tx.commit().await?;
        if told {
            self.changed();
        }
        Ok(())
    }
}

/// What a sealed value belongs to. With the app's number: after a change of it the old app's tokens are nobody's.
fn seal_context(app: &App, kind: TokenKind) -> String {
    format!("{}/{}/{}", app.key, app.app_id, kind.as_str())
}

fn never_fetched(app: &AppKey, kind: TokenKind) -> platform_token::Model {
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
    }
}

fn state(row: platform_token::Model, key: &SealKey, app: &App) -> Result<TokenState, DbError> {
    let kind = TokenKind::parse(&row.kind)?;
    let report = match (row.report.as_deref(), row.reported_at_ms) {
        (None, _) => None,
        (Some("reported"), Some(at)) => Some(TokenReport::Reported(Timestamp::from_ms(at))),
        (Some("answered"), Some(_)) => Some(TokenReport::Answered),
        (Some(word), _) => return Err(DbError::Defect(format!("column report holds {word:?}"))),
    };
    let degraded = degraded(&row)?;
    Ok(TokenState {
        app: app.key.clone(),
        kind,
        report,
        report_refreshes: u32::try_from(row.report_refreshes).unwrap_or(u32::MAX),
        failures: u32::try_from(row.failures).unwrap_or(u32::MAX),
        next_try_at: Timestamp::from_ms(row.next_try_at_ms),
        degraded,
        token: opened(row, kind, key, app),
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

fn degraded(row: &platform_token::Model) -> Result<Option<Degraded>, DbError> {
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

fn trouble(d: Degraded) -> AppTrouble {
    AppTrouble { app: d.app, token: d.kind.as_str(), reason: d.reason, errcode: d.errcode, since: d.since }
}
