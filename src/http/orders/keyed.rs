//! `POST /v1/orders` under an `Idempotency-Key`.
//!
//! The key, the order and its first attempt are written in one transaction before anything is published: of all
//! requests under one key, in any process and at any time, one makes an order. A request that a crash or the caller
//! cut short is continued by its repeat, or by the scheduler.

use std::sync::Arc;

use tokio::time::Instant;

use super::request::OrderRequest;
use super::requested::{Requested, has_begun, recorded_order};
use crate::event::command::Idempotency;
use crate::http::problem::Error;
use crate::http::state::HttpState;
use crate::ids::EventId;
use crate::order::{AttemptState, OrderState};
use crate::store::{DbError, Recorded, StoredOrder};

/// An order under a key.
pub struct Keyed {
    pub order: Arc<StoredOrder>,
    /// It was there before.
    pub replayed: bool,
}

/// Claims the key for the order and records it, or finds what the key names.
pub async fn place(
    app: &HttpState,
    asked: &OrderRequest,
    key: &Idempotency,
    deadline: Instant,
) -> Result<Keyed, Error> {
    let (merchant, order_no) = (&asked.content.merchant, &asked.content.order_no);
    if let Some(stored) = app.store.order(merchant, order_no).await? {
        return known(app, asked, key, stored, deadline).await;
    }
    if !asked.unplaceable.is_empty() {
        return Err(Error::Invalid(asked.unplaceable.clone()));
    }
    let requested = Requested::new(app, asked.content.clone(), EventId::new(), app.clock.now(), Some(key.clone()))?;
    crate::failpoint::point("ingress.order_parsed");
    let recorded = match app.store.record_orders(std::slice::from_ref(&requested.order)).await {
        Err(DbError::Exists(_)) => return Err(Error::NumberTaken),
        recorded => recorded?.first().copied(),
    };
    crate::failpoint::point("ingress.order_recorded");
    match recorded {
        Some(Recorded::New) => {
            publish(app, requested).await;
            let order = match app.orders.wait(merchant, order_no, None, deadline, has_begun).await {
                Some(order) => order,
                None => recorded_order(app, merchant, order_no).await?,
            };
            Ok(Keyed { order, replayed: false })
        }
        // Another request with the number was recorded at the same moment, or the key names another order.
        Some(Recorded::Same | Recorded::Differs | Recorded::KeyReused) | None => {
            let stored = app.store.order(merchant, order_no).await?.ok_or(Error::KeyReused)?;
            known(app, asked, key, stored, deadline).await
        }
    }
}

/// Answers with an order that is recorded, if the request and the key are its own.
async fn known(
    app: &HttpState,
    asked: &OrderRequest,
    key: &Idempotency,
    stored: StoredOrder,
    deadline: Instant,
) -> Result<Keyed, Error> {
    if !asked.is_for(&stored) {
        let used = app.store.idempotency(key).await?.is_some();
        return Err(if used { Error::KeyReused } else { Error::OrderDiffers });
    }
    if !app.store.claim_order(key, &stored, app.clock.now()).await? {
        return Err(Error::KeyReused);
    }
    let unplaced = stored.order.current().is_some_and(|attempt| attempt.state == AttemptState::Created);
    if stored.order.state == OrderState::Requested && unplaced {
        // Its process may have ended before the command was on the bus. Under the same id it is taken once.
        let (content, at) = (stored.content.clone(), stored.order.created_at);
        publish(app, Requested::new(app, content, stored.requested_by, at, Some(key.clone()))?).await;
    }
    Ok(Keyed { order: app.ready(Arc::new(stored), deadline).await?, replayed: true })
}

/// The order is recorded: without the bus the scheduler finds it, and the caller is answered that it is pending.
async fn publish(app: &HttpState, requested: Requested) {
    let order_no = requested.order.content.order_no.clone();
    if let Err(e) = requested.publish(app).await {
        tracing::warn!(%order_no, error = e.for_log(), "The request of a recorded order was not published");
    }
    crate::failpoint::point("ingress.order_published");
}
