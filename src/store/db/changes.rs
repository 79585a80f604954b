//! Noticing what other processes commit. One probe asks the database whether anything was committed (on SQLite
//! [`super::file_changes`]); the tasks that would otherwise poll their tables for it rest until then.
//!
//! What must stay true: the probe sees a commit once others can read it, never before, or a poll that follows would
//! miss it; where the probe does not run, or fails, each task polls at its own interval.

use std::time::Duration;

use sea_orm::ConnectionTrait;
use tokio::sync::watch;
use tokio::time::Instant;

use super::connection::Db;
use super::error::DbError;
use super::file_changes::FileProbe;

/// How long a task rests at most while the probe runs: a safety net.
const RESTS_FOR: Duration = Duration::from_secs(5);

/// Changes with every transaction that ended: which transactions a reader sees. The position of the log would not do:
/// it has a commit before readers see it.
const SNAPSHOT: &str = "SELECT CAST(pg_current_snapshot() AS TEXT) AS state";

impl Db {
    /// Asks whether anything was committed.
    pub fn probe(&self) -> Probe {
        Probe { db: self.clone(), of_file: self.file.clone().map(FileProbe::new), seen: None }
    }

    /// When a task polls this database.
    pub fn polls(&self) -> Polls {
        let now = Instant::now();
        Polls { probed: self.probed_changes.subscribe(), from: now, until: now }
    }

    /// Ends the rest of every task that polls. `is_watched`: whether they may rest again.
    pub(in crate::store) fn end_rests(&self, is_watched: bool) {
        self.probed_changes.send_replace(is_watched);
    }

    /// Whether tasks rest until the probe notices something.
    pub(in crate::store) fn is_watched(&self) -> bool {
        *self.probed_changes.borrow()
    }
}

/// Compares the state of the database with the one it found before.
pub struct Probe {
    db: Db,
    /// On SQLite.
    of_file: Option<FileProbe>,
    /// On PostgreSQL.
    seen: Option<String>,
}

impl Probe {
    /// Whether anything may have been committed since the last call, by this process or another; always at the first.
    pub async fn has_changed(&mut self) -> Result<bool, DbError> {
        if let Some(file) = &mut self.of_file {
            return file.has_changed();
        }
        let state = snapshot(&self.db).await?;
        Ok(self.seen.replace(state.clone()) != Some(state))
    }
}

async fn snapshot(db: &Db) -> Result<String, DbError> {
    let row = db.read().query_one_raw(db.statement(SNAPSHOT, [])).await?;
    let row = row.ok_or_else(|| DbError::Defect("no snapshot".into()))?;
    Ok(row.try_get("", "state")?)
}

/// When a task polls the database that waits for what some process commits.
pub struct Polls {
    /// Whether the probe runs; changes with everything it notices.
    probed: watch::Receiver<bool>,
    /// The next poll comes no sooner.
    from: Instant,
    /// It comes then if nothing is noticed.
    until: Instant,
}

impl Polls {
    /// What is noticed from here on is worth another poll. Until this one's end is reported the next one is due: it may
    /// be given up.
    pub fn begin(&mut self) {
        self.probed.mark_unchanged();
        self.until = self.from;
    }

    /// Whether anything was noticed since the last poll began, or may have been committed: no probe runs.
    pub fn has_noticed(&self) -> bool {
        !*self.probed.borrow() || self.probed.has_changed().unwrap_or(true)
    }

    /// The next poll comes after a pause.
    pub fn after(&mut self, pause: Duration) {
        self.from = Instant::now() + pause;
        self.until = self.from;
    }

    /// There was nothing to do: the next poll comes after `alone`, the interval of a task that nothing wakes, and while
    /// the probe runs only once it notices something, or something is due by time.
    pub fn idle(&mut self, alone: Duration, due_in: Option<Duration>) {
        let now = Instant::now();
        self.after(alone);
        if *self.probed.borrow() {
            self.until = self.from.max(now + due_in.unwrap_or(RESTS_FOR).min(RESTS_FOR));
        }
    }

    /// Whether the next poll is due.
    pub fn is_due(&self) -> bool {
        let now = Instant::now();
        now >= self.from && (now >= self.until || self.probed.has_changed().unwrap_or(true))
    }

    /// Waits until it is. May be given up at any moment.
    pub async fn next(&mut self) {
        tokio::time::sleep_until(self.from).await;
        if self.until > self.from {
            let _ = tokio::time::timeout_at(self.until, self.probed.changed()).await;
            // What was noticed counts as seen.
            self.until = self.from;
        }
    }
}
