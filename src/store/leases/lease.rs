//! Leases with fencing tokens: one process at a time does exclusive work, and a paused one cannot finish it late.
//!
//! A lease is a row with holder, term and expiry by the database's clock. A process that takes it over raises the term
//! (the fencing token); a write that belongs under the lease checks holder and term in its own transaction, so a
//! process that slept through its expiry finds [`Fenced::Lost`] instead of overwriting its successor. All processes
//! request the same duration; a lease that ends much later than that was taken while the database's clock was ahead,
//! and counts as expired.

use std::time::Duration;

use sea_orm::ConnectionTrait;

use crate::store::Store;
use crate::store::db::{DbError, DbKind};
use crate::store::writer::WriteTx;

/// How far the database's clock may be set back without a lease counting as one of the future.
const CLOCK_STEP: Duration = Duration::from_secs(60);

const HELD: &str = "SELECT term FROM leases WHERE name = $1 AND holder = $2 AND term = $3";

/// A lease that was held when it was returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What it is for.
    pub name: &'static str,
    pub holder: String,
    /// Grows with each change of holder.
    pub term: i64,
}

/// The result of a write under a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fenced<T> {
    Done(T),
    /// Another process holds the lease now; nothing was written.
    Lost,
}

impl Store {
    /// Takes or renews a lease for `ttl`; nothing while another holder's has not expired.
    pub async fn lease(&self, name: &'static str, holder: &str, ttl: Duration) -> Result<Option<Lease>, DbError> {
        let now = self.db.now_ms_sql();
        let sql = format!(
            "INSERT INTO leases (name, holder, term, expires_at_ms) VALUES ($1, $2, 1, {now} + $3)
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at_ms = excluded.expires_at_ms,
               term = CASE WHEN leases.holder = excluded.holder THEN leases.term ELSE leases.term + 1 END
             WHERE leases.holder = excluded.holder OR leases.expires_at_ms <= {now}
               OR leases.expires_at_ms > {now} + $3 + $4
             RETURNING term"
        );
        let [ttl_ms, slack_ms] = [ttl, CLOCK_STEP].map(|d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX));
        let values = [name.into(), holder.into(), ttl_ms.into(), slack_ms.into()];
        let row = self.db.execute_returning("lease.take", sql, values).await?;
        row.map(|r| Ok(Lease { name, holder: holder.to_owned(), term: r.get("term")? })).transpose()
    }

    /// Whether no other process has taken the lease since. Said before an effect that no transaction can fence: a pause
    /// between the two remains possible.
    pub async fn is_held(&self, lease: &Lease) -> Result<bool, DbError> {
        let values = [lease.name.into(), lease.holder.as_str().into(), lease.term.into()];
        Ok(self.db.read().query_one_raw(self.db.statement(HELD, values)).await?.is_some())
    }

    /// Gives a lease back, so that a successor need not wait for its expiry.
    pub async fn release(&self, lease: &Lease) -> Result<(), DbError> {
        let sql = "UPDATE leases SET expires_at_ms = 0 WHERE name = $1 AND holder = $2 AND term = $3";
        let values = [lease.name.into(), lease.holder.as_str().into(), lease.term.into()];
        self.db.execute("lease.release", sql, values).await?;
        Ok(())
    }
}

/// Whether the lease is still this holder's; keeps it so until the transaction ends.
pub(in crate::store) async fn holds(tx: &WriteTx, lease: &Lease) -> Result<bool, DbError> {
    let lock = match tx.kind() {
        DbKind::Sqlite => "",
        DbKind::Postgres => " FOR UPDATE",
    };
    let sql = format!("{HELD}{lock}");
    let values = [lease.name.into(), lease.holder.as_str().into(), lease.term.into()];
    Ok(tx.one(&sql, values).await?.is_some())
}
