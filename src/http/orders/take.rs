//! Taking an order: recorded once, and placed at WeChat by one process.
//!
//! The order, its first attempt and the caller's `Idempotency-Key` are written in one transaction before anything else
//! happens: of all requests for one number or under one key, in any process and at any time, one makes an order. Its
//! row is what has it placed, by the time it is polled at; all else only makes that sooner.
//!
//! Where the workers run in this process, the order is recorded under this process's claim and placed from here: the
//! request has its answer from memory. Elsewhere a command on the bus has a worker claim and place it. What is polled
//! and what is published again finds a claimed order claimed and leaves it.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::recorder::RecordError;
use super::request::OrderRequest;
use super::requested::{Requested, has_begun, recorded_order};
use crate::bus::PublishError;
use crate::event::command::{Idempotency, OrderContent};
use crate::http::change_hub::Seen;
use crate::http::problem::Error;
use crate::http::state::HttpState;
use crate::ids::EventId;
use crate::new_order::Slot;
use crate::order::{Attempt, AttemptState, OrderState};
use crate::store::{Recorded, StoredOrder};

/// An order that is recorded.
pub(crate) struct Taken {
    pub order: Arc<StoredOrder>,
    /// It was there before.
    pub replayed: bool,
}

/// Records the order, or finds it, and waits for it; answers it as far as it got by `deadline`.
pub(crate) async fn take(
    app: &HttpState,
    asked: &OrderRequest,
    key: Option<&Idempotency>,
    deadline: Instant,
) -> Result<Taken, Error> {
    let (merchant, order_no) = (&asked.content.merchant, &asked.content.order_no);
    if !asked.unplaceable.is_empty() {
        // No new order can be made of it, but there may be one from when it was possible.
        return match app.store.order(merchant, order_no).await? {
            Some(stored) => known(app, asked, key, stored, deadline).await,
            None => Err(Error::Invalid(asked.unplaceable.clone())),
        };
    }
    let slot = app.place_here.as_ref().and_then(|here| here.slot());
    let now = app.clock.now();
    let mut requested = Requested::new(app, asked.content.clone(), EventId::new(), now, key.cloned())?;
    requested.order.placing_until = slot.as_ref().map(|slot| now.after(slot.lease));
    crate::failpoint::point("ingress.order_parsed");
    let Recording { recorded, placing, seen } = match record(app, slot, &requested).await {
        Ok(recorded) => recorded,
        // A repeat is answered while the database takes no writes.
        Err(e @ RecordError::Unavailable(_)) => match app.store.order(merchant, order_no).await {
            Ok(Some(stored)) => return known(app, asked, key, stored, deadline).await,
            Ok(None) | Err(_) => return Err(e.into()),
        },
        Err(e) => return Err(e.into()),
    };
    let order = match (recorded, placing) {
        (Recorded::New, Some(placing)) => placed_here(app, placing, &asked.content, deadline).await?,
        (Recorded::New, None) => {
            publish(app, requested).await?;
            until_begun(app, asked, seen, deadline).await?
        }
        // Another request with the number came before, or the key names another order.
        (Recorded::Same | Recorded::Differs | Recorded::KeyReused, _) => {
            let stored = app.store.order(merchant, order_no).await?.ok_or(Error::KeyReused)?;
            return known(app, asked, key, stored, deadline).await;
        }
    };
    Ok(Taken { order, replayed: false })
}

type Placing = JoinHandle<Option<StoredOrder>>;

/// What recording an order came to.
struct Recording {
    recorded: Recorded,
    /// The workers of this process place it.
    placing: Option<Placing>,
    /// A new one that is placed elsewhere, as it is until then.
    seen: Seen,
}

/// Records the order; where there is a slot, the workers of this process begin to place it. A task of its own: it goes
/// on when the caller has gone, so that no claim is left that no process works under.
async fn record(app: &HttpState, slot: Option<Slot>, requested: &Requested) -> Result<Recording, RecordError> {
    let (app, order, command) = (app.clone(), requested.order.clone(), requested.command.clone());
    let recording = tokio::spawn(async move {
        let (recorded, row) = app.recorder.record(order.clone()).await?;
        crate::failpoint::point("ingress.order_recorded");
        let (placing, seen) = match (slot, row) {
            (Some(slot), Some(row)) => (Some(tokio::spawn(slot.place(order, row, command))), None),
            (None, Some(row)) => (None, Some(Arc::new(order.as_stored(&row)))),
            (_, None) => (None, None),
        };
        Ok(Recording { recorded, placing, seen })
    });
    recording.await.unwrap_or_else(|e| Err(RecordError::Failed(e.to_string())))
}

/// Waits for what the workers of this process make of an order.
async fn placed_here(
    app: &HttpState,
    placing: Placing,
    content: &OrderContent,
    deadline: Instant,
) -> Result<Arc<StoredOrder>, Error> {
    let (merchant, order_no) = (content.merchant.clone(), content.order_no.clone());
    let placed = app.shutdown.run_until_cancelled(tokio::time::timeout_at(deadline, placing)).await;
    let placed = match placed {
        Some(Ok(Ok(placed))) => placed.map(Arc::new),
        // The deadline, this process's end, or a defect.
        Some(Ok(Err(_)) | Err(_)) | None => return recorded_order(app, &merchant, &order_no).await,
    };
    // Without an answer of WeChat a poll may bring one in time.
    match app.orders.wait(&merchant, &order_no, placed, deadline, has_begun).await {
        Some(order) => Ok(order),
        None => recorded_order(app, &merchant, &order_no).await,
    }
}

/// Waits for what another process makes of the order.
async fn until_begun(
    app: &HttpState,
    asked: &OrderRequest,
    seen: Seen,
    deadline: Instant,
) -> Result<Arc<StoredOrder>, Error> {
    let (merchant, order_no) = (&asked.content.merchant, &asked.content.order_no);
    match app.orders.wait(merchant, order_no, seen, deadline, has_begun).await {
        Some(order) => Ok(order),
        None => recorded_order(app, merchant, order_no).await,
    }
}

/// Answers with an order that is recorded, if the request and the key are its own.
async fn known(
    app: &HttpState,
    asked: &OrderRequest,
    key: Option<&Idempotency>,
    stored: StoredOrder,
    deadline: Instant,
) -> Result<Taken, Error> {
    let order_no = stored.order.order_no.clone();
    if !asked.is_for(&stored) {
        let used = match key {
            Some(key) => app.store.idempotency(key).await?.is_some(),
            None => false,
        };
        return Err(if used { Error::KeyReused } else { Error::OrderDiffers });
    }
    if let Some(key) = key
        && !app.store.claim_order(key, &stored, app.clock.now()).await?
    {
        return Err(Error::KeyReused);
    }
    // Its poll places a later attempt.
    let is_first = |attempt: &Attempt| attempt.n == 1 && attempt.state == AttemptState::Created;
    let unplaced = stored.order.current().is_some_and(is_first);
    if stored.order.state == OrderState::Requested && unplaced && !stored.is_being_placed(app.clock.now()) {
        // Its process may have ended before the order was placed. Under the same id the command is taken once.
        let (content, at) = (stored.content.clone(), stored.order.created_at);
        let requested = Requested::new(app, content, stored.requested_by, at, key.cloned())?;
        if let Err(error) = publish(app, requested).await {
            tracing::warn!(%order_no, %error, "The request of a recorded order was not published again");
        }
    }
    Ok(Taken { order: app.ready(Arc::new(stored), deadline).await?, replayed: true })
}

/// The order is recorded: while the bus is away its row has it placed. A bus without room is refused, as all new work
/// is then; the same request finds the order later.
async fn publish(app: &HttpState, requested: Requested) -> Result<(), Error> {
    let order_no = requested.order.content.order_no.clone();
    match app.bus.publish(requested.message()?).await {
        Ok(()) => {}
        Err(e @ PublishError::Full) => return Err(e.into()),
        Err(error) => tracing::warn!(%order_no, %error, "The request of a recorded order was not published"),
    }
    crate::failpoint::point("ingress.order_published");
    Ok(())
}
