//! What is delivered to an endpoint: deliveries, attempts, recovery of what was given up.

use super::endpoints::{WebhookError, entry, visible};
use crate::clock::Timestamp;
use crate::ops::operator::{Operator, Page};
use crate::store::{DeliveryState, Store, WebhookAttempt, WebhookDelivery};
use crate::webhooks::Maker;

/// A page of an endpoint's deliveries, newest first.
pub async fn deliveries(
    store: &Store,
    operator: &Operator,
    id: &str,
    (state, before, limit): (Option<DeliveryState>, Option<i64>, u64),
) -> Result<Page<WebhookDelivery, i64>, WebhookError> {
    visible(store, operator, id).await?;
    let rows = store.webhook_deliveries(id, state, before, limit).await?;
    let next = rows.last().filter(|_| rows.len() as u64 >= limit).map(|row| row.id);
    Ok(Page { rows, next })
}

/// A page of the attempts at an endpoint, of one delivery where it is named, newest first.
pub async fn attempts(
    store: &Store,
    operator: &Operator,
    id: &str,
    (delivery, before, limit): (Option<i64>, Option<i64>, u64),
) -> Result<Page<WebhookAttempt, i64>, WebhookError> {
    visible(store, operator, id).await?;
    let rows = store.webhook_attempts(id, delivery, before, limit).await?;
    let next = rows.last().filter(|_| rows.len() as u64 >= limit).map(|row| row.id);
    Ok(Page { rows, next })
}

/// Puts what was given up at or after `since` back on the schedule, due at once; answers how many.
pub async fn recover(
    maker: &Maker,
    operator: &Operator,
    id: &str,
    since: Option<Timestamp>,
    reason: String,
) -> Result<u64, WebhookError> {
    let endpoint = visible(&maker.store, operator, id).await?;
    let audit = entry(operator, ("webhook.recover", reason), id, &endpoint.merchant, maker.clock.now());
    Ok(maker.store.recover_deliveries(id, since, &audit).await?)
}
