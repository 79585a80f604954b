//! An attempt with all that it changes: its row, its delivery, its endpoint, the item of its replay.

use sea_orm::Value;

use super::types::{DeliveryStep, Disabling, NewAttempt, OfDelivery};
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::evidence::outbox_row;
use crate::store::outbox::write_events;
use crate::store::payment::audit::write_audit;
use crate::store::replay::results::write_result;
use crate::store::writer::WriteTx;

impl Store {
    /// Writes an attempt at each of some deliveries that was made, all or none; answers whether an endpoint was
    /// disabled by it.
    ///
    /// What the receiver answered is written whatever became of the claim meanwhile. A failure changes only the
    /// delivery that is taken still: of one that another process has taken since, that one decides.
    pub async fn record_webhook_attempts(&self, attempts: Vec<NewAttempt>) -> Result<bool, DbError> {
        let disabled = self
            .db
            .write("webhook.attempt", attempts, |tx, attempts| {
                Box::pin(async move {
                    let mut disabled = false;
                    for attempt in attempts {
                        disabled |= record(tx, attempt).await?;
                    }
                    Ok(disabled)
                })
            })
            .await?;
        if disabled {
            self.changed();
        }
        Ok(disabled)
    }
}

async fn record(tx: &WriteTx, a: &NewAttempt) -> Result<bool, DbError> {
    insert(tx, a).await?;
    if let Some(of) = &a.of {
        step(tx, a, of).await?;
    }
    let (id, at_ms) = (a.endpoint_id.as_str(), a.ended_at.as_ms());
    let mut disabled = false;
    if a.is_success {
        let sql = "UPDATE webhook_endpoints SET failing_since_ms = NULL
                   WHERE id = $1 AND failing_since_ms IS NOT NULL";
        tx.execute(sql, [id.into()]).await?;
    } else if a.blames_endpoint {
        let sql = "UPDATE webhook_endpoints SET failing_since_ms = $2 WHERE id = $1 AND failing_since_ms IS NULL";
        tx.execute(sql, [id.into(), at_ms.into()]).await?;
        for disabling in &a.disabling {
            disabled = disabled || disable(tx, id, at_ms, disabling).await?;
        }
    }
    if let Some((mark, result)) = &a.replayed {
        write_result(tx, mark, result, a.ended_at).await?;
    }
    Ok(disabled)
}

async fn insert(tx: &WriteTx, a: &NewAttempt) -> Result<(), DbError> {
    let sql = "INSERT INTO webhook_attempts (endpoint_id, delivery_id, merchant, event_id, event_type, order_no, cause,
                                             outcome, status, error, url, request_bytes, answer, started_at_ms, took_ms)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";
    let values: [Value; 15] = [
        a.endpoint_id.as_str().into(),
        a.of.as_ref().map(|of| of.id).into(),
        a.merchant.as_str().into(),
        a.event_id.as_str().into(),
        a.event_type.as_str().into(),
        a.order_no.clone().into(),
        a.cause.as_str().into(),
        a.outcome.into(),
        a.status.map(i64::from).into(),
        a.error.clone().into(),
        a.url.as_str().into(),
        i64::try_from(a.request_bytes).unwrap_or(i64::MAX).into(),
        a.answer.clone().into(),
        a.started_at.as_ms().into(),
        i64::try_from(a.took_ms).unwrap_or(i64::MAX).into(),
    ];
    tx.execute(sql, values).await?;
    Ok(())
}

/// What becomes of the delivery. One that was delivered stays so, whatever an attempt beside the schedule comes to.
async fn step(tx: &WriteTx, a: &NewAttempt, of: &OfDelivery) -> Result<(), DbError> {
    const TAKEN: &str = " AND claim = $2 AND state = 'pending'";
    let (sets, only) = match of.step {
        DeliveryStep::Delivered => {
            ("state = 'delivered', ended_at_ms = $3, tries = tries + 1,", " AND state <> 'cancelled'")
        }
        DeliveryStep::Again(_) => ("due_at_ms = $7, tries = tries + 1,", TAKEN),
        DeliveryStep::GivenUp => ("state = 'failed', ended_at_ms = $3, tries = tries + 1,", TAKEN),
        DeliveryStep::Unchanged => ("", " AND claim = $2"),
    };
    let sql = format!(
        "UPDATE webhook_deliveries SET {sets} attempts = attempts + 1, last_attempt_at_ms = $3,
           first_attempt_at_ms = COALESCE(first_attempt_at_ms, $4), last_status = $5, last_error = $6,
           claim = CASE WHEN claim = $2 THEN NULL ELSE claim END,
           claimed_until_ms = CASE WHEN claim = $2 THEN NULL ELSE claimed_until_ms END
         WHERE id = $1{only}"
    );
    let error = Some(a.outcome).filter(|_| !a.is_success);
    let mut values: Vec<Value> = vec![
        of.id.into(),
        of.claim.as_str().into(),
        a.ended_at.as_ms().into(),
        a.started_at.as_ms().into(),
        a.status.map(i64::from).into(),
        error.map(str::to_owned).into(),
    ];
    if let DeliveryStep::Again(at) = of.step {
        values.push(at.as_ms().into());
    }
    tx.execute(&sql, values).await?;
    Ok(())
}

async fn disable(tx: &WriteTx, id: &str, at_ms: i64, disabling: &Disabling) -> Result<bool, DbError> {
    let since_ms = disabling.failing_since.map_or(i64::MAX, crate::clock::Timestamp::as_ms);
    let sql = "UPDATE webhook_endpoints SET state = 'disabled', disabled_reason = $2, disabled_at_ms = $3
               WHERE id = $1 AND state = 'enabled' AND failing_since_ms <= $4";
    let values = [id.into(), disabling.reason.as_str().into(), at_ms.into(), since_ms.into()];
    if tx.execute(sql, values).await? == 0 {
        return Ok(false);
    }
    write_audit(tx, &disabling.audit).await?;
    write_events(tx, vec![outbox_row(&disabling.event)]).await?;
    Ok(true)
}
