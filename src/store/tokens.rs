//! The platform's tokens: one access_token per app and one ticket, shared by all processes.
//!
//! Reads, and compare-and-set writes; what follows from a fetch is decided by the scheduler. Every process reads tokens
//! here; only the scheduler's job fetches, under its lease, and writes with the fencing check in the same transaction:
//! a fetch that ends after another process took over changes nothing. Values are sealed at rest. What must stay true:
//! an old value stays until the new one is written; a value that WeChat refused is not handed out again unless WeChat
//! itself repeats it; one report, or a thousand of the same value, is one refresh.

use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QuerySelect};

use super::Store;
use super::db::{DbError, DbKind};
use super::entity::platform_token;
use super::evidence::outbox_row;
use super::leases::{Fenced, Lease, holds};
use super::token_state::{
    Degraded, StoredToken, TokenFetch, TokenKind, TokenState, degraded, fetch, fingerprint, report, row_of,
    seal_context, state,
};
use super::writer::WriteTx;
use crate::clock::Timestamp;
use crate::config::App;
use crate::event::domain::EncodedEvent;
use crate::ids::AppKey;
use crate::sealed_box::SealKey;

/// What a refresher writes, and under what.
#[derive(Debug, Clone)]
pub struct TokenChange {
    /// The lease it was fetched under.
    pub lease: Lease,
    pub app: App,
    pub before: TokenState,
    pub next: TokenState,
    /// Written with it.
    pub events: Vec<EncodedEvent>,
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
        Ok(self.token_state(key, app, kind).await?.usable(now).cloned())
    }

    /// What is known of a token.
    pub async fn token_state(&self, key: &SealKey, app: &App, kind: TokenKind) -> Result<TokenState, DbError> {
        let id = (app.key.to_string(), kind.as_str().to_owned());
        match platform_token::Entity::find_by_id(id).one(self.db.read()).await? {
            Some(row) => state(row, key, app),
            None => Ok(TokenState::never_fetched(app.key.clone(), kind)),
        }
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
        // Hundreds of requests may meet the dead value at once. Where each wrote, all would wait for the lock of one
        // row with a connection in their hands, and the last ones for a connection until they failed.
        use platform_token::Column::{App, Kind, Report, ValueHash};
        let unreported = platform_token::Entity::find()
            .filter(App.eq(app.as_str()))
            .filter(Kind.eq(kind.as_str()))
            .filter(ValueHash.eq(hash))
            .filter(Report.is_null());
        if unreported.one(self.db.read()).await?.is_none() {
            return Ok(false);
        }
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

    /// Replaces what is known of a token by `change.next`, with its value if it holds one: only while the lease is
    /// held, and only if no other value and no report was written since `change.before` was read, which is the answer.
    pub async fn replace_token(&self, key: &SealKey, change: TokenChange) -> Result<Fenced<bool>, DbError> {
        let TokenChange { app, next, .. } = &change;
        let seal = |token: &StoredToken| key.seal(&seal_context(app, next.kind), token.value.expose().as_bytes());
        let sealed = next.token.as_ref().map(seal).transpose();
        let sealed = sealed.map_err(|e| DbError::Defect(format!("token: {e}")))?;
        let write = (change, sealed);
        let done = self.db.write("token.replace", write, |tx, (c, sealed)| Box::pin(replace(tx, c, sealed))).await?;
        self.changed();
        Ok(done)
    }

    /// The tokens that cannot be kept fresh; needs no key and opens nothing.
    pub async fn degraded_tokens(&self) -> Result<Vec<Degraded>, DbError> {
        let is_degraded = platform_token::Column::DegradedReason.is_not_null();
        let rows = platform_token::Entity::find().filter(is_degraded).all(self.db.read()).await?;
        rows.iter().filter_map(|row| degraded(row).transpose()).collect()
    }

    /// When each value in use was asked for; needs no key and opens nothing.
    pub async fn token_fetches(&self) -> Result<Vec<TokenFetch>, DbError> {
        let rows = platform_token::Entity::find().all(self.db.read()).await?;
        rows.iter().filter_map(|row| fetch(row).transpose()).collect()
    }
}

async fn replace(tx: &WriteTx, change: &TokenChange, sealed: &Option<String>) -> Result<Fenced<bool>, DbError> {
    let TokenChange { lease, app, before, next, events } = change;
    if !holds(tx, lease).await? {
        return Ok(Fenced::Lost);
    }
    let (app_key, kind) = (app.key.to_string(), next.kind.as_str().to_owned());
    let mut find = platform_token::Entity::find_by_id((app_key.clone(), kind.clone()));
    if tx.kind() == DbKind::Postgres {
        // A report may come at any time, without the lease.
        find = find.lock_exclusive();
    }
    let never_fetched = || platform_token::Model { app: app_key, kind, ..Default::default() };
    let row = tx.find_one(find).await?.unwrap_or_else(never_fetched);
    if (&row.value_hash, report(&row)?) != (&before.value_hash, before.report) {
        return Ok(Fenced::Done(false));
    }
    write_row(tx, row_of(row, next, sealed.clone(), fingerprint(app))).await?;
    super::outbox::write_events(tx, events.iter().map(outbox_row).collect()).await?;
    Ok(Fenced::Done(true))
}

async fn write_row(tx: &WriteTx, next: platform_token::Model) -> Result<(), DbError> {
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
    Ok(())
}
