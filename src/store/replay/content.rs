//! What an item holds: the bytes of a notification, a message, an event.

use std::collections::HashMap;

use sea_orm::{ConnectionTrait, FromQueryResult, QueryResult, Value};

use super::types::ReplaySource;
use crate::clock::Timestamp;
use crate::ids::{EventId, MerchantKey};
use crate::store::Store;
use crate::store::db::{DbError, placeholders};
use crate::store::dead_letters::StoredMessage;
use crate::store::entity::{notification, outbox};
use crate::store::order::rows::unreadable;
use crate::store::packed::rows::{defect, read_event, read_notification};
use crate::store::webhooks::lists::delivery;
use crate::store::webhooks::types::WebhookDelivery;
use crate::store::writer::Row;

/// What an item holds. There is no `Debug`: raw bodies are not logged.
pub enum ReplayContent {
    Notification(StoredNotification),
    DeadLetter {
        message: StoredMessage,
        /// `parked`, or what became of it.
        state: String,
    },
    Event {
        subject: String,
        payload: String,
        /// Whether the bus has got it before.
        relayed: bool,
    },
    Webhook(WebhookDelivery),
}

/// A notification as it came.
pub struct StoredNotification {
    /// The id it travels under. One that was refused has got none from the bus: its row's, or one made of its bytes.
    pub id: EventId,
    pub merchant: String,
    /// `pay` or `refund`, where it is known.
    pub kind: Option<String>,
    pub body: Vec<u8>,
    pub headers: Vec<(String, String)>,
    pub remote_addr: String,
    pub received_at: Timestamp,
}

impl Store {
    /// The contents of rows of one table. One that was removed meanwhile is left out.
    pub async fn replay_contents(
        &self,
        source: ReplaySource,
        ids: &[&str],
    ) -> Result<HashMap<String, ReplayContent>, DbError> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let among = placeholders(1, ids.len(), 0);
        let values: Vec<Value> = match source {
            ReplaySource::DeadLetter | ReplaySource::Sample | ReplaySource::Webhook => {
                let numbers = ids.iter().map(|id| id.trim_start_matches("sample-").parse::<i64>());
                numbers.map(|n| n.unwrap_or_default().into()).collect()
            }
            ReplaySource::Notification | ReplaySource::Refused | ReplaySource::Event => {
                ids.iter().map(|id| (*id).into()).collect()
            }
        };
        let sql = match source {
            ReplaySource::Notification => {
                format!("SELECT n.*, n.event_id AS source_id FROM notifications AS n WHERE event_id IN {among}")
            }
            ReplaySource::Refused => format!(
                "SELECT r.id AS source_id, r.merchant, r.kind, b.body, r.headers, r.remote_addr, r.received_at_ms
                 FROM refused_notifications AS r
                 JOIN refused_bodies AS b ON b.merchant = r.merchant AND b.hash = r.hash WHERE r.id IN {among}"
            ),
            ReplaySource::Sample => format!(
                "SELECT 'sample-' || CAST(id AS TEXT) AS source_id, merchant, body, remote_addr, received_at_ms
                 FROM quarantine WHERE id IN {among}"
            ),
            ReplaySource::DeadLetter => format!(
                "SELECT CAST(id AS TEXT) AS source_id, event_id, consumer, subject, headers, payload, attempts,
                        first_error, last_error, state FROM dead_letters WHERE id IN {among}"
            ),
            ReplaySource::Event => {
                format!("SELECT x.*, x.event_id AS source_id FROM outbox AS x WHERE event_id IN {among}")
            }
            ReplaySource::Webhook => {
                format!("SELECT d.*, CAST(d.id AS TEXT) AS source_id FROM webhook_deliveries AS d WHERE id IN {among}")
            }
        };
        let rows = self.db.read().query_all_raw(self.db.statement(sql, values)).await?;
        rows.into_iter().map(|row| Ok((row.try_get("", "source_id")?, content(source, row)?))).collect()
    }
}

fn content(source: ReplaySource, row: QueryResult) -> Result<ReplayContent, DbError> {
    match source {
        ReplaySource::Notification | ReplaySource::Refused | ReplaySource::Sample => {
            Ok(ReplayContent::Notification(stored_notification(source, &row)?))
        }
        ReplaySource::DeadLetter => Ok(ReplayContent::DeadLetter {
            message: StoredMessage {
                event_id: row.try_get("", "event_id")?,
                consumer: row.try_get("", "consumer")?,
                subject: row.try_get("", "subject")?,
                headers: headers(&row)?,
                payload: row.try_get("", "payload")?,
                attempts: u32::try_from(row.try_get::<i64>("", "attempts")?).unwrap_or(u32::MAX),
                first_error: row.try_get("", "first_error")?,
                last_error: row.try_get("", "last_error")?,
            },
            state: row.try_get("", "state")?,
        }),
        ReplaySource::Event => {
            let event = outbox::Model::from_query_result(&row, "")?;
            let (subject, payload) = read_event(&event).map_err(|e| defect("outbox", event.id, e))?;
            Ok(ReplayContent::Event { subject, payload, relayed: event.relayed_at_ms.is_some() })
        }
        ReplaySource::Webhook => Ok(ReplayContent::Webhook(delivery(&Row::Driver(row))?)),
    }
}

fn stored_notification(source: ReplaySource, row: &QueryResult) -> Result<StoredNotification, DbError> {
    let merchant: String = row.try_get("", "merchant")?;
    let source_id: String = row.try_get("", "source_id")?;
    let (headers, body) = match source {
        ReplaySource::Notification => {
            let stored = notification::Model::from_query_result(row, "")?;
            read_notification(&stored).map_err(|e| defect("notifications", &source_id, e))?
        }
        ReplaySource::Sample => ("[]".to_owned(), row.try_get("", "body")?),
        _ => (row.try_get("", "headers")?, row.try_get("", "body")?),
    };
    // The same refused bytes have the same id however often they came and are replayed: one row is made of them.
    let refused = || EventId::of_bytes(&merchant, &body);
    let id = match source {
        ReplaySource::Notification => EventId::parse(&source_id).map_err(|e| DbError::Defect(e.to_string()))?,
        _ => refused(),
    };
    let sample = source == ReplaySource::Sample;
    Ok(StoredNotification {
        id,
        kind: if sample { None } else { Some(row.try_get("", "kind")?) },
        headers: parsed(&headers)?,
        remote_addr: row.try_get("", "remote_addr")?,
        received_at: Timestamp::from_ms(row.try_get("", "received_at_ms")?),
        merchant,
        body,
    })
}

fn headers(row: &QueryResult) -> Result<Vec<(String, String)>, DbError> {
    parsed(&row.try_get::<String>("", "headers")?)
}

fn parsed(headers: &str) -> Result<Vec<(String, String)>, DbError> {
    serde_json::from_str(headers).map_err(|e| unreadable("headers", &e))
}

impl StoredNotification {
    /// The merchant's key, where it is one.
    pub fn merchant_key(&self) -> Option<MerchantKey> {
        MerchantKey::parse(self.merchant.as_str()).ok()
    }
}
