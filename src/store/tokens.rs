//! The platform's tokens: one access_token per app and one ticket, shared by all processes.
//!
//! Every process reads tokens here; only the scheduler's job fetches, under its lease, and writes with the fencing
//! check in the same transaction: a fetch that ends after another process took over changes nothing. Values are sealed
//! at rest. What must stay true: an old value stays until the new one is written; a value that WeChat refused is not
//! handed out again unless WeChat itself repeats it; one report, or a thousand of the same value, is one refresh.

use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QuerySelect};

use super::Store;
use super::db::{DbError, DbKind};
use super::entity::{outbox, platform_token};
use super::evidence::outbox_row;
use super::leases::{Fenced, Lease, holds};
use super::token_state::{
    Degraded, IssuedToken, StoredToken, TokenFailure, TokenFetch, TokenKind, TokenReport, TokenState, degraded, fetch,
    fingerprint, never_fetched, renewed, seal_context, state,
};
use super::writer::WriteTx;
use crate::clock::Timestamp;
use crate::config::App;
use crate::event::domain::{AppTrouble, DomainData, DomainEvent};
use crate::ids::{AppKey, MerchantKey};
use crate::sealed_box::SealKey;
use crate::secret::sha256_hex;

/// What a refresher's write is about, and under what.
#[derive(Debug, Clone, Copy)]
pub struct TokenWrite<'a> {
    /// The lease it was fetched under.
    pub lease: &'a Lease,
    /// Whose token.
    pub app: &'a App,
    /// Which token.
    pub kind: TokenKind,
    /// The merchants notified when a degradation begins or ends.
    pub merchants: &'a [MerchantKey],
    /// The time of the write.
    pub now: Timestamp,
}

impl Store {
    /// The token to use now; nothing when there is none, it expired, WeChat refused it and no other has come yet, or a
    /// clock that is wrong wrote it. `key` is derived for [`TOKEN_SEAL`].
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
        Ok(state.token.filter(|token| usable && token.is_alive(now)))
    }

    /// What is known of this app's tokens; those that were never fetched are missing.
    pub async fn token_states(&self, key: &SealKey, app: &App) -> Result<Vec<TokenState>, DbError> {
        let of_app = platform_token::Column::App.eq(app.key.as_str());
        let rows = platform_token::Entity::find().filter(of_app).all(self.db.read()).await?;
        rows.into_iter().map(|row| state(row, key, app)).collect()
    }

    /// Reports that WeChat refused the value with this hash. Answers whether that is news: only then a refresh becomes
    /// due. Nothing happens when another value is current, when it was reported before, or when WeChat has repeated
    /// this very value since.
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
        Ok(self.db.execute("token.report", sql, values).await? == 1)
    }

    /// Notes that a value which no process holds may have replaced at WeChat every value requested until now: a fetch
    /// of a classic token that was overtaken. What is in use lives on for a few minutes; its successor becomes due,
    /// once. Needs no lease: it was lost.
    pub async fn doubt_token(&self, app: &AppKey, kind: TokenKind, now: Timestamp) -> Result<(), DbError> {
        // Without a row its first value may be on its way, asked for before.
        let sql = "INSERT INTO platform_tokens (app, kind, report_refreshes, failures, next_try_at_ms, doubted_at_ms)
                   VALUES ($1, $2, 0, 0, 0, $3)
                   ON CONFLICT (app, kind) DO UPDATE SET doubted_at_ms = excluded.doubted_at_ms";
        let values = [app.as_str().into(), kind.as_str().into(), now.as_ms().into()];
        self.db.execute("token.doubt", sql, values).await?;
        Ok(())
    }

    /// Writes a fetched value in the place of the old one, if the lease is still held, and tells the merchants when
    /// this ends or begins a degradation. Answers whether it is another value than before.
    pub async fn store_token(
        &self,
        write: TokenWrite<'_>,
        key: &SealKey,
        issued: &IssuedToken,
    ) -> Result<Fenced<bool>, DbError> {
        let TokenWrite { app, kind, .. } = write;
        let context = seal_context(app, kind);
        let sealed = key.seal(&context, issued.value.expose().as_bytes());
        let sealed = sealed.map_err(|e| DbError::Defect(format!("token: {e}")))?;
        let hash = sha256_hex(issued.value.expose().as_bytes());
        let write = (OwnedWrite::of(write), issued.clone(), sealed, hash);
        let done = self
            .db
            .write("token.store", write, |tx, (write, issued, sealed, hash)| {
                Box::pin(store_token(tx, write, issued, sealed, hash))
            })
            .await?;
        self.changed();
        Ok(done)
    }

    /// Notes a fetch that gave nothing, if the lease is still held; the value stays. A degradation once begun lasts
    /// until a value comes.
    pub async fn token_failed(&self, write: TokenWrite<'_>, failure: TokenFailure) -> Result<Fenced<()>, DbError> {
        let write = (OwnedWrite::of(write), failure);
        let done = self
            .db
            .write("token.failed", write, |tx, (write, failure)| Box::pin(token_failed(tx, write, failure)))
            .await?;
        self.changed();
        Ok(done)
    }

    /// When each value in use was asked for; needs no key and opens nothing.
    pub async fn token_fetches(&self) -> Result<Vec<TokenFetch>, DbError> {
        let rows = platform_token::Entity::find().all(self.db.read()).await?;
        rows.iter().filter_map(|row| fetch(row).transpose()).collect()
    }
}

/// A [`TokenWrite`] that outlives its caller.
struct OwnedWrite {
    lease: Lease,
    app: App,
    kind: TokenKind,
    merchants: Vec<MerchantKey>,
    now: Timestamp,
}

impl OwnedWrite {
    fn of(write: TokenWrite<'_>) -> OwnedWrite {
        let TokenWrite { lease, app, kind, merchants, now } = write;
        OwnedWrite { lease: lease.clone(), app: app.clone(), kind, merchants: merchants.to_vec(), now }
    }
}

async fn store_token(
    tx: &WriteTx,
    write: &OwnedWrite,
    issued: &IssuedToken,
    sealed: &str,
    hash: &str,
) -> Result<Fenced<bool>, DbError> {
    if !holds(tx, &write.lease).await? {
        return Ok(Fenced::Lost);
    }
    let before = locked(tx, &write.app, write.kind).await?;
    let is_new = before.value_hash.as_deref() != Some(hash);
    let mut next = before.clone();
    if is_new {
        (next.report, next.reported_at_ms) = (None, None);
        next.report_refreshes = issued.because_of.as_ref().map_or(0, |_| before.report_refreshes + 1);
    } else if before.report.is_some() && issued.because_of.as_deref() == Some(hash) {
        next.report = Some("answered".into());
    }
    next.sealed = Some(sealed.to_owned());
    next.value_hash = Some(hash.to_owned());
    next.fetched_at_ms = Some(issued.fetched_at.as_ms());
    next.expires_at_ms = Some(issued.expires_at.as_ms());
    next.refresh_at_ms = Some(issued.refresh_at.as_ms());
    next.failures = 0;
    next.next_try_at_ms = 0;
    let answered = (next.report.as_deref() == Some("answered")).then_some(("refused_though_current", None));
    settle(tx, write, before, next, issued.degraded.or(answered)).await?;
    Ok(Fenced::Done(is_new))
}

async fn token_failed(tx: &WriteTx, write: &OwnedWrite, failure: &TokenFailure) -> Result<Fenced<()>, DbError> {
    if !holds(tx, &write.lease).await? {
        return Ok(Fenced::Lost);
    }
    let before = locked(tx, &write.app, write.kind).await?;
    let mut next = before.clone();
    next.failures = before.failures.saturating_add(1);
    next.next_try_at_ms = failure.next_try_at.as_ms();
    let lasting = before.degraded_reason.clone();
    match (failure.degraded, lasting) {
        (None, Some(_)) => write_row(tx, next, Vec::new()).await?,
        (degraded, _) => settle(tx, write, before, next, degraded).await?,
    }
    Ok(Fenced::Done(()))
}

/// The row, kept so until the transaction ends: a report may come at any time, without the lease.
async fn locked(tx: &WriteTx, app: &App, kind: TokenKind) -> Result<platform_token::Model, DbError> {
    let id = (app.key.to_string(), kind.as_str().to_owned());
    let mut find = platform_token::Entity::find_by_id(id);
    if tx.kind() == DbKind::Postgres {
        find = find.lock_exclusive();
    }
    let row = tx.find_one(find).await?.unwrap_or_else(|| never_fetched(&app.key, kind));
    Ok(renewed(row, &fingerprint(app)))
}

/// Sets the degradation and writes the row with the news that come of it.
async fn settle(
    tx: &WriteTx,
    write: &OwnedWrite,
    before: platform_token::Model,
    mut next: platform_token::Model,
    now_wrong: Option<(&'static str, Option<i64>)>,
) -> Result<(), DbError> {
    let OwnedWrite { merchants, now, .. } = write;
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
        DomainEvent { merchant: merchant.clone(), order_no: None, data: data.clone() }.encode(*now)
    };
    let news = news.iter().flat_map(|data| merchants.iter().map(move |m| outbox_row(&tell(m, data)))).collect();
    write_row(tx, next, news).await
}

async fn write_row(tx: &WriteTx, next: platform_token::Model, news: Vec<outbox::ActiveModel>) -> Result<(), DbError> {
    use platform_token::Column as C;
    let insert = platform_token::Entity::insert(next.into_active_model().reset_all()).on_conflict(
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
                C::Fingerprint,
            ])
            .to_owned(),
    );
    tx.run(&insert).await?;
    super::outbox::write_events(tx, news).await
}

fn trouble(d: Degraded) -> AppTrouble {
    AppTrouble { app: d.app, token: d.kind.as_str(), reason: d.reason, errcode: d.errcode, since: d.since }
}
