//! The store as the rest of the program holds it.

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::db::{Db, DbError};
use super::payers::{KnownPayers, Payers};
use crate::clock::Timestamp;
use crate::config;

/// All tables of one database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pub(super) db: Db,
    payers: KnownPayers,
    commits: watch::Sender<u64>,
}

impl Store {
    /// Over an open database.
    pub fn new(db: Db) -> Store {
        Store { db, payers: KnownPayers::default(), commits: watch::Sender::new(0) }
    }

    /// Opens the database of the configuration and brings its schema up to date if it says so.
    // Boxed: what a program awaits is then compiled with this crate, and not once more with each program.
    pub fn open(settings: &config::Store) -> BoxFuture<'_, Result<Store, DbError>> {
        Box::pin(Store::opened(settings, false))
    }

    /// The same, for a service with this bus. Where no program outside can subscribe to it, an event counts as relayed
    /// from the commit that gives it its position.
    pub fn open_beside<'a>(settings: &'a config::Store, bus: &config::Bus) -> BoxFuture<'a, Result<Store, DbError>> {
        Box::pin(Store::opened(settings, bus.nats().is_none()))
    }

    async fn opened(settings: &config::Store, relayed: bool) -> Result<Store, DbError> {
        let db = Db::connect_relayed(settings, relayed).await?;
        if settings.migrate_on_start {
            db.migrate().await?;
        }
        Ok(Store { payers: KnownPayers::of(settings), ..Store::new(db) })
    }

    /// The database underneath, for the embedded bus and for health.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// Changes whenever this process committed something. A wake-up hint only: other processes commit too, so a waiter
    /// must also poll periodically.
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.commits.subscribe()
    }

    /// The keys of payers' names.
    pub(super) async fn payers(&self) -> Result<&Payers, DbError> {
        self.payers.get(&self.db).await
    }

    pub(super) fn changed(&self) {
        self.commits.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// Runs a bounded deletion with the parameters `before` and `limit`; answers how many rows went.
    pub(super) async fn purge(&self, sql: &'static str, before: Timestamp, limit: u64) -> Result<u64, DbError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.db.execute("purge", sql, [before.as_ms().into(), limit.into()]).await
    }
}
