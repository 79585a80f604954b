//! Dead letters as operators read them, and the end that they give one.

use sea_orm::{ConnectionTrait, QueryResult, Value};

use super::filter::{Conditions, Scanned, page, page_statement};
use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::order::rows::{unknown, unreadable};
use crate::store::payment::audit::{AuditEntry, write_audit};
use crate::store::writer::WriteTx;

/// What a dead letter is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadLetterState {
    /// Waits for a person.
    Parked,
    /// Was processed after all.
    Replayed,
    /// A person decided that it is not to be processed.
    Discarded,
}

named!(DeadLetterState { Parked = "parked", Replayed = "replayed", Discarded = "discarded" });

/// A dead letter without its message.
#[derive(Debug, Clone)]
pub struct DeadLetterRow {
    pub id: i64,
    pub event_id: String,
    pub consumer: String,
    pub subject: String,
    pub reason: String,
    pub first_error: String,
    pub last_error: String,
    pub attempts: i64,
    pub parked_at: Timestamp,
    pub state: DeadLetterState,
    pub ended_at: Option<Timestamp>,
    pub ended_by: Option<String>,
    pub ended_reason: Option<String>,
    pub order_no: Option<String>,
}

impl DeadLetterRow {
    /// The merchant of its subject. A message of another publisher may have none.
    pub fn merchant(&self) -> Option<MerchantKey> {
        MerchantKey::parse(self.subject.split('.').nth(2)?).ok()
    }
}

/// A dead letter with its message.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    pub row: DeadLetterRow,
    pub headers: Vec<(String, String)>,
    pub payload: Vec<u8>,
    /// Those whose time is known, oldest first.
    pub attempts: Vec<AttemptRow>,
}

/// An attempt that failed.
#[derive(Debug, Clone)]
pub struct AttemptRow {
    pub attempt: i64,
    pub at: Timestamp,
    pub error: String,
}

/// Dead letters of one reason and consumer that wait for a person.
#[derive(Debug, Clone)]
pub struct DeadLetterGroup {
    pub reason: String,
    pub consumer: String,
    pub count: i64,
    pub first: Timestamp,
    pub last: Timestamp,
}

/// How many of a group were parked in one interval.
#[derive(Debug, Clone)]
pub struct DeadLetterSpread {
    pub reason: String,
    pub consumer: String,
    /// Counted from 0.
    pub interval: i64,
    pub count: u64,
}

/// Which dead letters are listed; what is not set does not restrict.
#[derive(Debug, Clone, Default)]
pub struct DeadLetterFilter {
    pub merchants: Option<Vec<MerchantKey>>,
    pub state: Option<DeadLetterState>,
    pub reason: Option<String>,
    pub consumer: Option<String>,
    pub order_no: Option<String>,
    pub event_id: Option<String>,
    /// Parked at or after.
    pub from: Option<Timestamp>,
    /// Parked before.
    pub to: Option<Timestamp>,
    /// Older rows than this one.
    pub before_id: Option<i64>,
}

/// What became of a request to discard a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discarded {
    /// It was parked, and is discarded now.
    Now,
    /// It was discarded before.
    Before,
    /// It was replayed: there is nothing to discard.
    Replayed,
    /// There is no such dead letter.
    None,
}

const COLUMNS: &str = "id, event_id, consumer, subject, reason, first_error, last_error, attempts, parked_at_ms, state,
                       ended_at_ms, ended_by, ended_reason, order_no";

impl Store {
    /// Up to `limit` dead letters, newest first.
    pub async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        limit: u64,
    ) -> Result<Scanned<DeadLetterRow, i64>, DbError> {
        let (sql, values) = dead_letters_statement(filter, limit);
        let rows = self.db.read().query_all_raw(self.db.statement(sql, values)).await?;
        page(&rows, dead_letter_row, |row| row.id)
    }

    /// One with its message and its attempts.
    pub async fn dead_letter(&self, id: i64) -> Result<Option<DeadLetter>, DbError> {
        let sql = format!("SELECT {COLUMNS}, headers, payload FROM dead_letters WHERE id = $1");
        let Some(found) = self.db.read().query_one_raw(self.db.statement(sql, [id.into()])).await? else {
            return Ok(None);
        };
        let row = dead_letter_row(&found)?;
        let sql = "SELECT attempt, at_ms, error FROM failed_attempts WHERE event_id = $1 AND consumer = $2
                   ORDER BY attempt";
        let values = [row.event_id.as_str().into(), row.consumer.as_str().into()];
        let attempt = |row: QueryResult| {
            Ok(AttemptRow {
                attempt: row.try_get("", "attempt")?,
                at: Timestamp::from_ms(row.try_get("", "at_ms")?),
                error: row.try_get("", "error")?,
            })
        };
        let attempts = self.db.read().query_all_raw(self.db.statement(sql, values)).await?;
        let headers: String = found.try_get("", "headers")?;
        Ok(Some(DeadLetter {
            headers: serde_json::from_str(&headers).map_err(|e| unreadable("headers", &e))?,
            payload: found.try_get("", "payload")?,
            attempts: attempts.into_iter().map(attempt).collect::<Result<_, DbError>>()?,
            row,
        }))
    }

    /// What waits for a person, by reason and consumer, the largest group first.
    pub async fn dead_letter_groups(&self, merchants: Option<&[MerchantKey]>) -> Result<Vec<DeadLetterGroup>, DbError> {
        let (sql, values) = groups_statement(merchants);
        let rows = self.db.read().query_all_raw(self.db.statement(sql, values)).await?;
        let group = |row: QueryResult| {
            Ok(DeadLetterGroup {
                reason: row.try_get("", "reason")?,
                consumer: row.try_get("", "consumer")?,
                count: row.try_get("", "n")?,
                first: Timestamp::from_ms(row.try_get("", "first_ms")?),
                last: Timestamp::from_ms(row.try_get("", "last_ms")?),
            })
        };
        rows.into_iter().map(group).collect()
    }

    /// What waits for a person by reason, consumer and interval of `step_ms` from `from` on.
    pub async fn dead_letter_spread(
        &self,
        merchants: Option<&[MerchantKey]>,
        from: Timestamp,
        step_ms: i64,
    ) -> Result<Vec<DeadLetterSpread>, DbError> {
        let mut only = Conditions::default();
        only.plain("state = 'parked'");
        of_merchants(&mut only, merchants);
        let sql = format!(
            "SELECT reason, consumer, (parked_at_ms - {}) / {} AS part, COUNT(*) AS n FROM dead_letters
             WHERE {} GROUP BY reason, consumer, part",
            from.as_ms(),
            step_ms.max(1),
            only.text()
        );
        let rows = self.db.read().query_all_raw(self.db.statement(sql, only.values())).await?;
        let spread = |row: QueryResult| {
            Ok(DeadLetterSpread {
                reason: row.try_get("", "reason")?,
                consumer: row.try_get("", "consumer")?,
                interval: row.try_get("", "part")?,
                count: u64::try_from(row.try_get::<i64>("", "n")?).unwrap_or(0),
            })
        };
        rows.into_iter().map(spread).collect()
    }

    /// When the last dead letter of all was parked, whatever became of it: the newest row has the highest number.
    pub async fn last_dead_letter(&self) -> Result<Option<Timestamp>, DbError> {
        let sql = "SELECT parked_at_ms FROM dead_letters ORDER BY id DESC LIMIT 1";
        let row = self.db.read().query_one_raw(self.db.statement(sql, [])).await?;
        row.map(|row| Ok(Timestamp::from_ms(row.try_get("", "parked_at_ms")?))).transpose()
    }

    /// Discards a dead letter that is parked. The audit has every request, with its result.
    pub async fn discard_dead_letter(&self, id: i64, audit: &AuditEntry) -> Result<Discarded, DbError> {
        let write = (id, audit.clone());
        self.db.write("dead_letter.discard", write, |tx, (id, audit)| Box::pin(discard(tx, *id, audit))).await
    }

    /// Forgets failed attempts from before `before` at messages that are no dead letters.
    pub async fn purge_failed_attempts(&self, before: Timestamp, limit: u64) -> Result<u64, DbError> {
        let sql = "DELETE FROM failed_attempts WHERE (event_id, consumer, attempt) IN (
                     SELECT f.event_id, f.consumer, f.attempt FROM failed_attempts AS f
                     WHERE f.at_ms < $1
                       AND NOT EXISTS (SELECT 1 FROM dead_letters AS d
                                       WHERE d.event_id = f.event_id AND d.consumer = f.consumer)
                       AND NOT EXISTS (SELECT 1 FROM deferred AS m
                                       WHERE m.event_id = f.event_id AND m.consumer = f.consumer)
                     LIMIT $2)";
        self.purge(sql, before, limit).await
    }
}

/// What an index has in order, or has few of.
fn window(filter: &DeadLetterFilter) -> Conditions {
    let mut only = Conditions::default();
    only.add_option("order_no = {}", filter.order_no.as_deref());
    only.add_option("event_id = {}", filter.event_id.as_deref());
    only.add_option("id < {}", filter.before_id);
    only
}

pub(in crate::store) fn dead_letters_statement(filter: &DeadLetterFilter, limit: u64) -> (String, Vec<Value>) {
    let mut only = window(filter);
    let window = only.take().text();
    of_merchants(&mut only, filter.merchants.as_deref());
    only.add_option("state = {}", filter.state.map(DeadLetterState::as_str));
    only.add_option("reason = {}", filter.reason.as_deref());
    only.add_option("consumer = {}", filter.consumer.as_deref());
    only.add_option("parked_at_ms >= {}", filter.from.map(Timestamp::as_ms));
    only.add_option("parked_at_ms < {}", filter.to.map(Timestamp::as_ms));
    (page_statement("dead_letters", COLUMNS, (&window, &only.text()), limit), only.values())
}

pub(in crate::store) fn groups_statement(merchants: Option<&[MerchantKey]>) -> (String, Vec<Value>) {
    let mut only = Conditions::default();
    only.plain("state = 'parked'");
    of_merchants(&mut only, merchants);
    let sql = format!(
        "SELECT reason, consumer, COUNT(*) AS n, MIN(parked_at_ms) AS first_ms, MAX(parked_at_ms) AS last_ms
         FROM dead_letters WHERE {} GROUP BY reason, consumer ORDER BY n DESC, reason, consumer",
        only.text()
    );
    (sql, only.values())
}

/// The merchant is a part of the subject: rows of the version before have no column of it. A key has no character that
/// means something in a pattern.
fn of_merchants(only: &mut Conditions, merchants: Option<&[MerchantKey]>) {
    let Some(merchants) = merchants else { return };
    let patterns = merchants.iter().map(|merchant| only.value(format!("pay.in.{merchant}.%")));
    let patterns: Vec<String> = patterns.map(|number| format!("subject LIKE {number}")).collect();
    only.plain(&if patterns.is_empty() { "FALSE".to_owned() } else { format!("({})", patterns.join(" OR ")) });
}

async fn discard(tx: &WriteTx, id: i64, audit: &AuditEntry) -> Result<Discarded, DbError> {
    let sql = "UPDATE dead_letters SET state = 'discarded', ended_at_ms = $2, ended_by = $3, ended_reason = $4
               WHERE id = $1 AND state = 'parked'";
    let values = [id.into(), audit.at.as_ms().into(), audit.actor.clone().into(), audit.reason.clone().into()];
    let (outcome, result) = if tx.execute(sql, values).await? > 0 {
        (Discarded::Now, "done")
    } else {
        let state = tx.one("SELECT state FROM dead_letters WHERE id = $1", [id.into()]).await?;
        match state.map(|row| row.get::<String>("state")).transpose()?.as_deref() {
            Some("discarded") => (Discarded::Before, "repeated"),
            Some(_) => (Discarded::Replayed, "dead_letter_ended"),
            None => return Ok(Discarded::None),
        }
    };
    write_audit(tx, &AuditEntry { result: result.to_owned(), ..audit.clone() }).await?;
    Ok(outcome)
}

fn dead_letter_row(row: &QueryResult) -> Result<DeadLetterRow, DbError> {
    let state: String = row.try_get("", "state")?;
    Ok(DeadLetterRow {
        id: row.try_get("", "id")?,
        event_id: row.try_get("", "event_id")?,
        consumer: row.try_get("", "consumer")?,
        subject: row.try_get("", "subject")?,
        reason: row.try_get("", "reason")?,
        first_error: row.try_get("", "first_error")?,
        last_error: row.try_get("", "last_error")?,
        attempts: row.try_get("", "attempts")?,
        parked_at: Timestamp::from_ms(row.try_get("", "parked_at_ms")?),
        state: DeadLetterState::parse(&state).ok_or_else(|| unknown("state", &state))?,
        ended_at: row.try_get::<Option<i64>>("", "ended_at_ms")?.map(Timestamp::from_ms),
        ended_by: row.try_get("", "ended_by")?,
        ended_reason: row.try_get("", "ended_reason")?,
        order_no: row.try_get("", "order_no")?,
    })
}
