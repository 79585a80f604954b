//! Attempts to log in, counted over all processes for each user name, each address, and each name from an address.
//!
//! An attempt counts before its password is compared, so that attempts that come at once cannot pass together. What
//! slows down grows to a bound and is forgotten after a while. The strict limit is that of a name from one address: a
//! stranger elsewhere does not slow its user down. The loose one of a name bounds what many addresses try together, and
//! leaves the first attempts from each address alone, or they would keep the user out.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::writer::WriteTx;

/// Attempts are forgotten when there was none for so long.
pub const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);
/// So many attempts on a name from one address pass whatever other addresses try.
const OWN: i64 = 3;

/// How fast attempts on one subject may follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limit {
    /// So many are free; each one after them has to wait.
    free: i64,
    /// The first wait; it doubles with the next three attempts.
    wait: Duration,
}

/// From one address, which may be many people's: at the worst, one attempt in 8 seconds.
const ADDRESS: Limit = Limit { free: 30, wait: Duration::from_secs(1) };
/// On one name from one address: at the worst, one attempt in 16 seconds.
const PAIR: Limit = Limit { free: 5, wait: Duration::from_secs(2) };
/// On one name from everywhere: at the worst, one attempt in 8 seconds beside the first of each address.
const NAME: Limit = Limit { free: 50, wait: Duration::from_secs(1) };

/// Whom an attempt counts for.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The user's name, hashed: people enter passwords there.
    pub name: String,
    /// The client's address or network.
    pub address: String,
}

impl Attempt {
    fn address(&self) -> String {
        format!("address:{}", self.address)
    }

    fn pair(&self) -> String {
        format!("pair:{}:{}", self.name, self.address)
    }

    fn user(&self) -> String {
        format!("user:{}", self.name)
    }
}

impl Store {
    /// Counts an attempt, or does not and answers false where it must wait.
    pub async fn begin_attempt(&self, attempt: &Attempt, now: Timestamp) -> Result<bool, DbError> {
        let data = (attempt.clone(), now);
        self.db.write("console.attempt", data, |tx, (attempt, now)| Box::pin(begin(tx, attempt, *now))).await
    }

    /// After an attempt that succeeded: it does not count, and those on the name from its address are forgotten. What
    /// the address or the name has to wait stays: a user's own login must not make room for guesses.
    pub async fn excuse_attempt(&self, attempt: &Attempt) -> Result<(), DbError> {
        self.db.write("console.excuse", attempt.clone(), |tx, attempt| Box::pin(excuse(tx, attempt))).await
    }

    /// Forgets attempts last counted before `before`; at most `limit`, answers how many.
    pub async fn purge_console_attempts(&self, before: Timestamp, limit: u64) -> Result<u64, DbError> {
        let sql = "DELETE FROM console_attempts WHERE subject IN (
                     SELECT subject FROM console_attempts WHERE last_at_ms < $1 LIMIT $2)";
        self.purge(sql, before, limit).await
    }
}

/// What is counted on one subject.
struct Counted {
    failures: i64,
    /// When the next attempt may come, if that is later than now.
    waits_until: Option<Timestamp>,
}

async fn begin(tx: &WriteTx, attempt: &Attempt, now: Timestamp) -> Result<bool, DbError> {
    // Always in this order, so that two attempts do not lock rows crosswise.
    let (address, pair, name) = (attempt.address(), attempt.pair(), attempt.user());
    let of_address = counted(tx, &address, now).await?;
    if of_address.waits_until.is_some() {
        return Ok(false);
    }
    let of_pair = counted(tx, &pair, now).await?;
    if of_pair.waits_until.is_some() {
        return Ok(false);
    }
    let of_name = counted(tx, &name, now).await?;
    if of_name.waits_until.is_some() && of_pair.failures >= OWN {
        return Ok(false);
    }
    for (subject, before, limit) in [(address, of_address, ADDRESS), (pair, of_pair, PAIR), (name, of_name, NAME)] {
        let failures = before.failures + 1;
        // One that passes within another's wait does not make that longer.
        let next = before.waits_until.unwrap_or_else(|| now.after(limit.wait_after(failures)));
        let sql = "UPDATE console_attempts SET failures = $2, last_at_ms = $3, next_at_ms = $4 WHERE subject = $1";
        tx.execute(sql, [subject.into(), failures.into(), now.as_ms().into(), next.as_ms().into()]).await?;
    }
    Ok(true)
}

/// Answers the row and locks it, whether or not it was there.
async fn counted(tx: &WriteTx, subject: &str, now: Timestamp) -> Result<Counted, DbError> {
    let sql = "INSERT INTO console_attempts (subject, failures, last_at_ms, next_at_ms) VALUES ($1, 0, $2, $2)
               ON CONFLICT (subject) DO UPDATE SET subject = excluded.subject
               RETURNING failures, last_at_ms, next_at_ms";
    let row = tx.one(sql, [subject.into(), now.as_ms().into()]).await?;
    let row = row.ok_or_else(|| DbError::Defect("an attempt has no row".into()))?;
    if now.since(Timestamp::from_ms(row.get("last_at_ms")?)) >= FORGOTTEN_AFTER {
        return Ok(Counted { failures: 0, waits_until: None });
    }
    let next = Timestamp::from_ms(row.get("next_at_ms")?);
    Ok(Counted { failures: row.get("failures")?, waits_until: Some(next).filter(|next| *next > now) })
}

impl Limit {
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

async fn excuse(tx: &WriteTx, attempt: &Attempt) -> Result<(), DbError> {
    // In the order of an attempt.
    let uncount = "UPDATE console_attempts SET failures = failures - 1 WHERE subject = $1 AND failures > 0";
    tx.execute(uncount, [attempt.address().into()]).await?;
    tx.execute("DELETE FROM console_attempts WHERE subject = $1", [attempt.pair().into()]).await?;
    tx.execute(uncount, [attempt.user().into()]).await?;
    Ok(())
}
