//! Endpoints, deliveries and attempts as JSON.

use serde_json::{Value, json};

use crate::ops::webhooks::View;
use crate::store::{EndpointState, WebhookAttempt, WebhookDelivery};
use crate::webhooks::{Answer, SigningSecret};

pub fn endpoint_json(view: &View) -> Value {
    let (endpoint, health) = (&view.endpoint, &view.health);
    let is_enabled = endpoint.state == EndpointState::Enabled;
    json!({
        "id": endpoint.id,
        "merchant": endpoint.merchant.as_str(),
        "format": endpoint.format.as_str(),
        "url": endpoint.url,
        "description": endpoint.description,
        "events": endpoint.event_types,
        "state": endpoint.state.as_str(),
        "disabled_reason": endpoint.disabled_reason.map(|reason| reason.as_str()),
        "disabled_at": endpoint.disabled_at,
        "failing_since": endpoint.failing_since,
        "old_secret_until": endpoint.old_secret.as_ref().map(|(_, until)| until),
        "created_at": endpoint.created_at,
        "created_by": endpoint.created_by,
        "updated_at": endpoint.updated_at,
        "pending": health.pending,
        "failed": health.failed,
        "next_attempt_at": health.next_at.filter(|_| is_enabled),
        "last_attempt_at": health.last_attempt_at,
        "attempts": {"total": health.attempts, "succeeded": health.succeeded},
    })
}

/// With the secret, which no later answer has; a robot has none of ours.
pub fn made_json(view: &View, secret: Option<&SigningSecret>) -> Value {
    let mut json = endpoint_json(view);
    if let Some(secret) = secret {
        json["secret"] = secret.expose().into();
    }
    json
}

pub fn delivery_json(delivery: &WebhookDelivery) -> Value {
    json!({
        "id": delivery.id.to_string(),
        "event_id": delivery.event_id,
        "type": delivery.event_type,
        "order_no": delivery.order_no,
        "state": delivery.state.as_str(),
        "attempts": delivery.attempts,
        "next_attempt_at": delivery.ended_at.is_none().then_some(delivery.due_at),
        "first_attempt_at": delivery.first_attempt_at,
        "last_attempt_at": delivery.last_attempt_at,
        "last_status": delivery.last_status,
        "last_error": delivery.last_error,
        "created_at": delivery.created_at,
        "ended_at": delivery.ended_at,
    })
}

pub fn attempt_json(attempt: &WebhookAttempt) -> Value {
    json!({
        "id": attempt.id.to_string(),
        "delivery": attempt.delivery_id.map(|id| id.to_string()),
        "cause": attempt.cause,
        "order_no": attempt.order_no,
        "started_at": attempt.started_at,
        "took_ms": attempt.took_ms,
        "outcome": attempt.outcome,
        "error": attempt.error,
        "request": {
            "url": attempt.url,
            "webhook-id": attempt.event_id,
            "webhook-timestamp": attempt.started_at.as_seconds().to_string(),
            "type": attempt.event_type,
            "bytes": attempt.request_bytes,
        },
        "answer": attempt.status.map(|status| json!({"status": status, "body": attempt.answer})),
    })
}

pub fn test_json(answer: &Answer) -> Value {
    json!({
        "outcome": answer.outcome.as_str(),
        "error": answer.error,
        "took_ms": u64::try_from(answer.took.as_millis()).unwrap_or(u64::MAX),
        "answer": answer.status.map(|status| json!({"status": status, "body": answer.body})),
    })
}
