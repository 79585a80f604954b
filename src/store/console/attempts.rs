//! Attempts to log in, counted for each user and each address over all processes.
//!
//! An attempt counts before its password is compared, so that attempts that come at once cannot pass together. What
//! slows down grows to a bound and is forgotten after a while: no one is locked out for good.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::writer::WriteTx;

/// Attempts are forgotten when there was none for so long.
pub const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);

/// How fast attempts on one subject may follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptLimit {
    /// So many are free; each one after them has to wait.
    pub free: i64,
    /// The first wait; it doubles with the next three attempts.
    pub wait: Duration,
}

impl AttemptLimit {
    /// On one user name: at the worst, one attempt in 16 seconds.
    pub const USER: AttemptLimit = AttemptLimit { free: 5, wait: Duration::from_secs(2) };
    /// From one address, which may be many people's: at the worst, one attempt in 8 seconds.
    pub const ADDRESS: AttemptLimit = AttemptLimit { free: 30, wait: Duration::from_secs(1) };
}

/// What an attempt counts for.
#[derive(Debug, Clone)]
pub struct AttemptOn {
    /// `user:` or `address:` and whose.
    pub subject: String,
    pub limit: AttemptLimit,
}

impl Store {
    /// Counts an attempt on all subjects, or on none and answers false where one of them must wait.
    pub async fn begin_attempt(&self, subjects: Vec<AttemptOn>, now: Timestamp) -> Result<bool, DbError> {
        let mut subjects = subjects;
        // In one order, so that two attempts do not lock them crosswise.
        subjects.sort_by(|a, b| a.subject.cmp(&b.subject));
        let data = (subjects, now);
        self.db.write("console.attempt", data, |tx, (subjects, now)| Box::pin(count(tx, subjects, *now))).await
    }

    /// After an attempt that succeeded: forgets all on the user, and this one on the address.
    pub async fn excuse_attempt(&self, user: &str, address: &str) -> Result<(), DbError> {
        let data = (user.to_owned(), address.to_owned());
        self.db.write("console.excuse", data, |tx, (user, address)| Box::pin(excuse(tx, user, address))).await
    }

    /// Forgets attempts last counted before `before`; at most `limit`, answers how many.
    pub async fn purge_console_attempts(&self, before: Timestamp, limit: u64) -> Result<u64, DbError> {
        let sql = "DELETE FROM console_attempts WHERE subject IN (
                     SELECT subject FROM console_attempts WHERE last_at_ms < $1 LIMIT $2)";
        self.purge(sql, before, limit).await
    }
}

async fn count(tx: &WriteTx, subjects: &[AttemptOn], now: Timestamp) -> Result<bool, DbError> {
    let mut counted = Vec::with_capacity(subjects.len());
    for AttemptOn { subject, limit } in subjects {
        // Answers the row and locks it, whether or not it was there.
        let sql = "INSERT INTO console_attempts (subject, failures, last_at_ms, next_at_ms) VALUES ($1, 0, $2, $2)
                   ON CONFLICT (subject) DO UPDATE SET subject = excluded.subject
                   RETURNING failures, last_at_ms, next_at_ms";
        let row = tx.one(sql, [subject.as_str().into(), now.as_ms().into()]).await?;
        let row = row.ok_or_else(|| DbError::Defect("an attempt has no row".into()))?;
        let last = Timestamp::from_ms(row.get("last_at_ms")?);
        let is_old = now.since(last) >= FORGOTTEN_AFTER;
        if !is_old && row.get::<i64>("next_at_ms")? > now.as_ms() {
            return Ok(false);
        }
        let failures = if is_old { 1 } else { row.get::<i64>("failures")? + 1 };
        counted.push((subject, failures, now.after(limit.wait_after(failures))));
    }
    for (subject, failures, next) in counted {
        let sql = "UPDATE console_attempts SET failures = $2, last_at_ms = $3, next_at_ms = $4 WHERE subject = $1";
        let values = [subject.as_str().into(), failures.into(), now.as_ms().into(), next.as_ms().into()];
        tx.execute(sql, values).await?;
    }
    Ok(true)
}

impl AttemptLimit {
    /// How long the next attempt has to wait after so many.
    fn wait_after(self, failures: i64) -> Duration {
        match failures - self.free {
            ..0 => Duration::ZERO,
            0 => self.wait,
            1 => self.wait * 2,
            2 => self.wait * 4,
            _ => self.wait * 8,
        }
    }
}

async fn excuse(tx: &WriteTx, user: &str, address: &str) -> Result<(), DbError> {
    // The address first, as in the order of an attempt.
    let sql = "UPDATE console_attempts SET failures = failures - 1, next_at_ms = last_at_ms
               WHERE subject = $1 AND failures > 0";
    tx.execute(sql, [address.into()]).await?;
    tx.execute("DELETE FROM console_attempts WHERE subject = $1", [user.into()]).await?;
    Ok(())
}
