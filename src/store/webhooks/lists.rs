//! What people read of webhooks: deliveries, attempts, how an endpoint is doing.

use super::types::{DeliveryState, EndpointHealth, WebhookAttempt, WebhookDelivery};
use crate::clock::Timestamp;
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::ops::filter::Conditions;
use crate::store::writer::Row;

/// Rows that a count goes up to.
pub const COUNTED: i64 = 1000;

/// The columns of a delivery.
pub(super) const DELIVERY: &str = "id, endpoint_id, merchant, event_id, event_type, order_no, state, attempts, tries,
                                   due_at_ms, first_attempt_at_ms, last_attempt_at_ms, last_status, last_error,
                                   created_at_ms, ended_at_ms";

impl Store {
    /// Up to `limit` deliveries of an endpoint, newest first, older than `before`. One that cannot be read is among
    /// them with what can be read of it.
    pub async fn webhook_deliveries(
        &self,
        endpoint_id: &str,
        state: Option<DeliveryState>,
        before: Option<i64>,
        limit: u64,
    ) -> Result<Vec<WebhookDelivery>, DbError> {
        let mut only = Conditions::default();
        only.add("endpoint_id = {}", endpoint_id);
        if let Some(state) = state {
            // As it stands, so that the partial indices serve it.
            only.plain(&format!("state = '{}'", state.as_str()));
        }
        only.add_option("id < {}", before);
        let text = only.text();
        let sql = format!("SELECT {DELIVERY} FROM webhook_deliveries WHERE {text} ORDER BY id DESC LIMIT {limit}");
        self.db.reader().rows(&sql, only.values()).await?.iter().map(delivery_or_rest).collect()
    }

    /// Up to `limit` attempts at an endpoint, of one delivery where it is named, newest first, older than `before`.
    pub async fn webhook_attempts(
        &self,
        endpoint_id: &str,
        delivery_id: Option<i64>,
        before: Option<i64>,
        limit: u64,
    ) -> Result<Vec<WebhookAttempt>, DbError> {
        let mut only = Conditions::default();
        only.add("endpoint_id = {}", endpoint_id);
        only.add_option("delivery_id = {}", delivery_id);
        only.add_option("id < {}", before);
        let text = only.text();
        let sql = format!(
            "SELECT id, delivery_id, event_id, event_type, order_no, cause, outcome, status, error, url, request_bytes,
                    answer, started_at_ms, took_ms
             FROM webhook_attempts WHERE {text} ORDER BY id DESC LIMIT {limit}"
        );
        self.db.reader().rows(&sql, only.values()).await?.iter().map(attempt).collect()
    }

    /// How an endpoint is doing.
    pub async fn webhook_health(&self, endpoint_id: &str) -> Result<EndpointHealth, DbError> {
        let sql = format!(
            "SELECT (SELECT COUNT(*) FROM (SELECT 1 AS one FROM webhook_deliveries
                       WHERE endpoint_id = $1 AND state = 'pending' LIMIT {COUNTED}) AS p) AS pending,
                    (SELECT COUNT(*) FROM (SELECT 1 AS one FROM webhook_deliveries
                       WHERE endpoint_id = $1 AND state = 'failed' LIMIT {COUNTED}) AS f) AS failed,
                    (SELECT MIN(due_at_ms) FROM webhook_deliveries
                       WHERE endpoint_id = $1 AND state = 'pending') AS next_at_ms,
                    COUNT(*) AS attempts, COALESCE(SUM(a.succeeded), 0) AS succeeded,
                    MAX(a.started_at_ms) AS last_attempt_at_ms
             FROM (SELECT CASE WHEN outcome = 'delivered' THEN 1 ELSE 0 END AS succeeded, started_at_ms
                   FROM webhook_attempts WHERE endpoint_id = $1 ORDER BY id DESC LIMIT {COUNTED}) AS a"
        );
        let rows = self.db.reader().rows(&sql, [endpoint_id.into()]).await?;
        let Some(row) = rows.first() else { return Ok(EndpointHealth::default()) };
        Ok(EndpointHealth {
            pending: row.get("pending")?,
            failed: row.get("failed")?,
            next_at: row.get::<Option<i64>>("next_at_ms")?.map(Timestamp::from_ms),
            attempts: row.get("attempts")?,
            succeeded: row.get("succeeded")?,
            last_attempt_at: row.get::<Option<i64>>("last_attempt_at_ms")?.map(Timestamp::from_ms),
        })
    }

    /// Of all enabled endpoints, how many deliveries are pending, and when the oldest was made; and how many endpoints
    /// disabled themselves. Counts end at [`COUNTED`].
    pub async fn webhook_gauges(&self) -> Result<(i64, Option<Timestamp>, i64), DbError> {
        let sql = format!(
            "SELECT (SELECT COUNT(*) FROM (SELECT 1 AS one FROM webhook_deliveries WHERE state = 'pending'
                       AND endpoint_id IN (SELECT id FROM webhook_endpoints WHERE state = 'enabled')
                       LIMIT {COUNTED}) AS p) AS pending,
                    (SELECT MIN(created_at_ms) FROM webhook_deliveries WHERE state = 'pending'
                       AND endpoint_id IN (SELECT id FROM webhook_endpoints WHERE state = 'enabled')) AS oldest_ms,
                    (SELECT COUNT(*) FROM webhook_endpoints
                       WHERE state = 'disabled' AND disabled_reason <> 'operator') AS disabled"
        );
        let rows = self.db.reader().rows(&sql, []).await?;
        let row = rows.first().ok_or_else(|| DbError::Defect("a count without a row".into()))?;
        let oldest = row.get::<Option<i64>>("oldest_ms")?.map(Timestamp::from_ms);
        Ok((row.get("pending")?, oldest, row.get("disabled")?))
    }
}

pub(in crate::store) fn delivery(row: &Row) -> Result<WebhookDelivery, DbError> {
    let unknown = |column: &str| DbError::Defect(format!("{column} of a delivery is not known"));
    let time = |column: &str| -> Result<Option<Timestamp>, DbError> {
        Ok(row.get::<Option<i64>>(column)?.map(Timestamp::from_ms))
    };
    let count =
        |column: &str| -> Result<u32, DbError> { Ok(u32::try_from(row.get::<i64>(column)?).unwrap_or(u32::MAX)) };
    Ok(WebhookDelivery {
        id: row.get("id")?,
        endpoint_id: row.get("endpoint_id")?,
        merchant: row.get("merchant")?,
        event_id: row.get("event_id")?,
        event_type: row.get("event_type")?,
        order_no: row.get("order_no")?,
        state: DeliveryState::parse(&row.get::<String>("state")?).ok_or_else(|| unknown("state"))?,
        attempts: count("attempts")?,
        tries: count("tries")?,
        due_at: time("due_at_ms")?.ok_or_else(|| unknown("due_at_ms"))?,
        first_attempt_at: time("first_attempt_at_ms")?,
        last_attempt_at: time("last_attempt_at_ms")?,
        last_status: row.get("last_status")?,
        last_error: row.get("last_error")?,
        created_at: time("created_at_ms")?.ok_or_else(|| unknown("created_at_ms"))?,
        ended_at: time("ended_at_ms")?,
    })
}

/// A delivery, or what can be read of it.
fn delivery_or_rest(row: &Row) -> Result<WebhookDelivery, DbError> {
    delivery(row).or_else(|_| rest_of_delivery(row))
}

fn rest_of_delivery(row: &Row) -> Result<WebhookDelivery, DbError> {
    let text = |column: &str| row.get::<String>(column).unwrap_or_default();
    let count = |column: &str| u32::try_from(row.get::<i64>(column).unwrap_or_default()).unwrap_or(u32::MAX);
    let time = |column: &str| row.get::<Option<i64>>(column).ok().flatten().map(Timestamp::from_ms);
    Ok(WebhookDelivery {
        id: row.get("id")?,
        endpoint_id: text("endpoint_id"),
        merchant: text("merchant"),
        event_id: text("event_id"),
        event_type: text("event_type"),
        order_no: row.get("order_no").unwrap_or_default(),
        state: DeliveryState::parse(&text("state")).unwrap_or(DeliveryState::Failed),
        attempts: count("attempts"),
        tries: count("tries"),
        due_at: time("due_at_ms").unwrap_or(Timestamp::from_ms(0)),
        first_attempt_at: time("first_attempt_at_ms"),
        last_attempt_at: time("last_attempt_at_ms"),
        last_status: row.get("last_status").unwrap_or_default(),
        last_error: row.get("last_error").unwrap_or_default(),
        created_at: time("created_at_ms").unwrap_or(Timestamp::from_ms(0)),
        ended_at: time("ended_at_ms"),
    })
}

fn attempt(row: &Row) -> Result<WebhookAttempt, DbError> {
    Ok(WebhookAttempt {
        id: row.get("id")?,
        delivery_id: row.get("delivery_id")?,
        event_id: row.get("event_id")?,
        event_type: row.get("event_type")?,
        order_no: row.get("order_no")?,
        cause: row.get("cause")?,
        outcome: row.get("outcome")?,
        status: row.get("status")?,
        error: row.get("error")?,
        url: row.get("url")?,
        request_bytes: row.get("request_bytes")?,
        answer: row.get("answer")?,
        started_at: Timestamp::from_ms(row.get("started_at_ms")?),
        took_ms: row.get("took_ms")?,
    })
}
