//! The store as the rest of the program holds it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::db::{Db, DbError, FileWatch, Probe};
use super::payers::{KnownPayers, Payers};
use crate::clock::Timestamp;
use crate::config;

/// How often it is asked whether another process committed something.
const PROBE_EVERY: Duration = Duration::from_millis(100);
/// How long the database may take to answer: after that, tasks poll at their own intervals. Longer than a connection of
/// the pool is waited for: what is given up while it has one costs the others of the pool a check each.
const PROBE_WITHIN: Duration = Duration::from_secs(6);
/// After a fault of the database, which those that poll report.
const AFTER_FAULT: Duration = Duration::from_secs(1);
/// Where the server refuses the probe: each refusal is a line in its log.
const AFTER_REFUSAL: Duration = Duration::from_secs(60);

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

    /// Changes whenever this process committed something, and where [`Store::watch`] runs, also when another one did. A
    /// wake-up hint only: a waiter must also poll periodically.
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.commits.subscribe()
    }

    /// Notices what other processes commit, until cancelled: tasks that wait for it rest meanwhile ([`Db::polls`]).
    pub async fn watch(self, cancel: CancellationToken) {
        match self.db.file.clone() {
            Some(file) => self.watch_file(file, &cancel).await,
            None => self.watch_server(&cancel).await,
        }
        self.end_watch();
    }

    async fn watch_server(&self, cancel: &CancellationToken) {
        let mut probe = self.db.probe();
        loop {
            let noticed = tokio::time::timeout(PROBE_WITHIN, self.notice(&mut probe));
            let pause = match cancel.run_until_cancelled(noticed).await {
                None => break,
                Some(Ok(Ok(_))) => PROBE_EVERY,
                Some(Ok(Err(e))) if e.is_refusal() => AFTER_REFUSAL,
                Some(Ok(Err(_)) | Err(_)) => AFTER_FAULT,
            };
            if pause != PROBE_EVERY {
                self.end_watch();
            }
            if cancel.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                break;
            }
        }
    }

    /// A thread probes; here it is only seen to it that the thread gets its answers.
    async fn watch_file(&self, file: Arc<Path>, cancel: &CancellationToken) {
        let store = self.clone();
        let started = FileWatch::start(file, move |changed| store.heed(changed));
        let watch = match started {
            Ok(watch) => watch,
            Err(e) => {
                tracing::warn!(error = %e, "no thread notices commits of other processes: they are polled for");
                return cancel.cancelled().await;
            }
        };
        loop {
            let mut left = PROBE_WITHIN.saturating_sub(watch.silent_for());
            if left.is_zero() {
                self.end_watch();
                left = AFTER_FAULT;
            }
            if cancel.run_until_cancelled(tokio::time::sleep(left)).await.is_none() {
                break;
            }
        }
    }

    /// Probes once; whether those that wait were woken.
    pub async fn notice(&self, probe: &mut Probe) -> Result<bool, DbError> {
        Ok(self.noticed(probe.has_changed().await?))
    }

    /// What a probe of the file found; answers the pause until the next.
    fn heed(&self, changed: Result<bool, DbError>) -> Duration {
        let Ok(has_changed) = changed else {
            self.end_watch();
            return AFTER_FAULT;
        };
        self.noticed(has_changed);
        PROBE_EVERY
    }

    fn noticed(&self, has_changed: bool) -> bool {
        // What was committed while no probe ran is noticed by the first that runs.
        let is_news = has_changed || !self.db.is_watched();
        if is_news {
            self.db.end_rests(true);
            self.changed();
        }
        is_news
    }

    /// Those that rest poll at their own intervals.
    fn end_watch(&self) {
        if self.db.is_watched() {
            self.db.end_rests(false);
            self.changed();
        }
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
