//! Messages that wait longer than a bus should hold them, and messages that cannot be processed now.
//!
//! Both are rows before the bus forgets them: nothing disappears, everything can be listed.

use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QueryResult, QuerySelect,
    QueryTrait, Select, Set,
};

use super::Store;
use super::db::DbError;
use super::entity::{dead_letter, deferred};
use super::evidence::outbox_row;
use super::order::rows::unreadable;
use super::outbox::write_events;
use super::writer::WriteTx;
use crate::clock::Timestamp;
use crate::event::domain::EncodedEvent;
use crate::ids::OrderNo;

/// How long a deferred message that cannot be published waits, doubled with each attempt, and how often at most: what
/// is due in more than an hour counts as written by a wrong clock.
const PUT_OFF_MS: i64 = 60_000;
const PUT_OFF_DOUBLED: i64 = 5;

/// A message as the bus carried it.
#[derive(Debug, Clone)]
pub struct StoredMessage {
    pub event_id: String,
    pub consumer: String,
    pub subject: String,
    pub headers: Vec<(String, String)>,
    pub payload: Vec<u8>,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it failed first.
    pub first_error: String,
    /// Why it failed last.
    pub last_error: String,
}

impl Store {
    /// Parks a message for a person, by the order it is about, and emits `news` in the same transaction. Parking it
    /// twice changes nothing.
    pub async fn park(
        &self,
        m: &StoredMessage,
        reason: &str,
        order_no: Option<&OrderNo>,
        news: &EncodedEvent,
        at: Timestamp,
    ) -> Result<(), DbError> {
        let row = dead_letter::ActiveModel {
            id: sea_orm::NotSet,
            event_id: Set(m.event_id.clone()),
            consumer: Set(m.consumer.clone()),
            subject: Set(m.subject.clone()),
            headers: Set(headers_json(m)?),
            payload: Set(m.payload.clone()),
            reason: Set(reason.to_owned()),
            first_error: Set(m.first_error.clone()),
            last_error: Set(m.last_error.clone()),
            attempts: Set(i64::from(m.attempts)),
            parked_at_ms: Set(at.as_ms()),
            state: Set("parked".into()),
            ended_at_ms: Set(None),
            order_no: Set(order_no.map(ToString::to_string)),
        };
        let write = (row, FailedAttempt::of(m, at), news.clone());
        self.db
            .write("dead_letter.park", write, |tx, (row, attempt, news)| Box::pin(park(tx, row, attempt, news)))
            .await?;
        self.changed();
        Ok(())
    }

    /// Keeps a message until `due`, and its failed attempt.
    pub async fn defer(&self, m: &StoredMessage, due: Timestamp, at: Timestamp) -> Result<(), DbError> {
        let row = deferred::ActiveModel {
            event_id: Set(m.event_id.clone()),
            consumer: Set(m.consumer.clone()),
            subject: Set(m.subject.clone()),
            headers: Set(headers_json(m)?),
            payload: Set(m.payload.clone()),
            attempts: Set(i64::from(m.attempts)),
            first_error: Set(m.first_error.clone()),
            last_error: Set(m.last_error.clone()),
            next_attempt_at_ms: Set(due.as_ms()),
        };
        // The headers too: they tell the publish that is now due apart from the one before, which the bus would take
        // for a repeat and drop.
        use deferred::Column::{Attempts, Consumer, EventId, Headers, LastError, NextAttemptAtMs};
        let insert = deferred::Entity::insert(row).on_conflict(
            OnConflict::columns([EventId, Consumer])
                .update_columns([Headers, Attempts, LastError, NextAttemptAtMs])
                .to_owned(),
        );
        let write = (insert, FailedAttempt::of(m, at));
        self.db
            .write("message.defer", write, |tx, (insert, attempt)| {
                Box::pin(async move {
                    tx.run(insert).await?;
                    attempt.write(tx).await
                })
            })
            .await
    }

    /// Messages whose time has come, oldest first. One that cannot be read is put off: it keeps none of the others.
    pub async fn due_messages(&self, now: Timestamp, limit: u64) -> Result<Vec<StoredMessage>, DbError> {
        let rows = self.db.read().query_all_raw(due_query(now, limit).build(self.db.kind().backend())).await?;
        let mut due = Vec::with_capacity(rows.len());
        for row in rows {
            match stored_message(&row) {
                Ok(message) => due.push(message),
                Err(error) => {
                    let text = |column: &str| row.try_get::<String>("", column).unwrap_or_default();
                    let (event_id, consumer) = (text("event_id"), text("consumer"));
                    tracing::error!(event.id = event_id, consumer, %error, "a deferred message cannot be read");
                    let attempts: i64 = row.try_get("", "attempts").unwrap_or(0);
                    self.put_off(&event_id, &consumer, attempts, now).await?;
                }
            }
        }
        Ok(due)
    }

    /// Puts off a message that cannot be published, for a longer time with each try: it must not take the place of
    /// others. Its row stays and can be listed.
    pub async fn put_off_deferred(&self, m: &StoredMessage, now: Timestamp) -> Result<(), DbError> {
        self.put_off(&m.event_id, &m.consumer, i64::from(m.attempts), now).await
    }

    async fn put_off(&self, event_id: &str, consumer: &str, attempts: i64, now: Timestamp) -> Result<(), DbError> {
        let due_ms = now.as_ms().saturating_add(PUT_OFF_MS << attempts.clamp(0, PUT_OFF_DOUBLED));
        let sql = "UPDATE deferred SET attempts = attempts + 1, next_attempt_at_ms = $4
                   WHERE event_id = $1 AND consumer = $2 AND attempts = $3";
        let values = [event_id.into(), consumer.into(), attempts.into(), due_ms.into()];
        self.db.execute("message.put_off", sql, values).await?;
        Ok(())
    }

    /// Forgets a deferred message once the bus has it again, unless it was deferred anew meanwhile.
    pub async fn forget_deferred(&self, m: &StoredMessage) -> Result<(), DbError> {
        let sql = "DELETE FROM deferred WHERE event_id = $1 AND consumer = $2 AND attempts = $3";
        let values = [m.event_id.as_str().into(), m.consumer.as_str().into(), i64::from(m.attempts).into()];
        self.db.execute("message.forget", sql, values).await?;
        Ok(())
    }

    /// Dead letters waiting for a person, by reason.
    pub async fn dead_letters_by_reason(&self) -> Result<Vec<(String, i64)>, DbError> {
        let rows = self.db.read().query_all_raw(self.db.statement(PARKED, [])).await?;
        rows.into_iter().map(|r| Ok((r.try_get("", "reason")?, r.try_get("", "n")?))).collect()
    }
}

pub(super) const PARKED: &str = "SELECT reason, COUNT(*) AS n FROM dead_letters WHERE state = 'parked' GROUP BY reason";

pub(super) fn due_query(now: Timestamp, limit: u64) -> Select<deferred::Entity> {
    deferred::Entity::find()
        .filter(deferred::Column::NextAttemptAtMs.lte(now.as_ms()))
        .order_by_asc(deferred::Column::NextAttemptAtMs)
        .limit(limit)
}

fn stored_message(row: &QueryResult) -> Result<StoredMessage, DbError> {
    let row = deferred::Model::from_query_result(row, "")?;
    Ok(StoredMessage {
        event_id: row.event_id,
        consumer: row.consumer,
        subject: row.subject,
        headers: serde_json::from_str(&row.headers).map_err(|e| unreadable("headers", &e))?,
        payload: row.payload,
        attempts: u32::try_from(row.attempts).unwrap_or(u32::MAX),
        first_error: row.first_error,
        last_error: row.last_error,
    })
}

fn headers_json(m: &StoredMessage) -> Result<String, DbError> {
    serde_json::to_string(&m.headers).map_err(|e| unreadable("headers", &e))
}

async fn park(
    tx: &WriteTx,
    row: &dead_letter::ActiveModel,
    attempt: &FailedAttempt,
    news: &EncodedEvent,
) -> Result<(), DbError> {
    let once =
        OnConflict::columns([dead_letter::Column::EventId, dead_letter::Column::Consumer]).do_nothing().to_owned();
    if tx.run(&dead_letter::Entity::insert_many([row.clone()]).on_conflict(once)).await? > 0 {
        attempt.write(tx).await?;
        write_events(tx, vec![outbox_row(news)]).await?;
    }
    Ok(())
}

/// A failed attempt at a message, kept to explain later why it was parked.
struct FailedAttempt {
    event_id: String,
    consumer: String,
    attempt: i64,
    at: Timestamp,
    error: String,
}

impl FailedAttempt {
    fn of(m: &StoredMessage, at: Timestamp) -> FailedAttempt {
        FailedAttempt {
            event_id: m.event_id.clone(),
            consumer: m.consumer.clone(),
            attempt: i64::from(m.attempts),
            at,
            error: m.last_error.clone(),
        }
    }

    async fn write(&self, tx: &WriteTx) -> Result<(), DbError> {
        let sql = "INSERT INTO failed_attempts (event_id, consumer, attempt, at_ms, error) VALUES ($1, $2, $3, $4, $5)
                   ON CONFLICT DO NOTHING";
        let values = [
            self.event_id.clone().into(),
            self.consumer.clone().into(),
            self.attempt.into(),
            self.at.as_ms().into(),
            self.error.clone().into(),
        ];
        tx.execute(sql, values).await?;
        Ok(())
    }
}
