//! An order on its way from a request to the database and the workers.

use std::sync::Arc;

use crate::bus::Message;
use crate::clock::Timestamp;
use crate::event::command::{Idempotency, OrderContent, OrderRequested};
use crate::event::envelope::{Envelope, EventData};
use crate::event::subject;
use crate::http::problem::Error;
use crate::http::state::HttpState;
use crate::ids::{EventId, MerchantKey, OrderNo};
use crate::new_order::new_order;
use crate::order::OrderState;
use crate::store::{NewOrder, StoredOrder};

/// Whether WeChat was called for the order, and what it answered is known.
pub(super) fn has_begun(order: &StoredOrder) -> bool {
    order.order.state != OrderState::Requested || order.order.is_blocked()
}

/// An order as it will be recorded, and the command that has it placed. Both have one id.
pub(super) struct Requested {
    pub order: NewOrder,
    pub command: Envelope<OrderRequested>,
}

impl Requested {
    /// Built before anything is written or published: a request from which no order can be made must not reach the
    /// workers.
    pub fn new(
        app: &HttpState,
        content: OrderContent,
        id: EventId,
        requested_at: Timestamp,
        idempotency: Option<Idempotency>,
    ) -> Result<Requested, Error> {
        let (merchant, order_no) = (content.merchant.clone(), content.order_no.clone());
        let data = OrderRequested { order: content.clone(), requested_at, idempotency: idempotency.clone() };
        let about = Some(order_no.to_string());
        let command = Envelope { id, ..Envelope::new(&merchant, OrderRequested::TYPE, about, requested_at, data) };
        let order = new_order(&app.config, content, id, requested_at, idempotency)
            .map_err(|e| Error::Internal { internal: format!("order {order_no}: {e}") })?;
        Ok(Requested { order, command })
    }

    /// The command on its way.
    pub fn message(self) -> Result<Message, Error> {
        let Requested { order, command } = self;
        let payload = command.to_json()?.into_bytes();
        let subject = subject::order_requested(&order.content.merchant);
        Ok(Message { subject, id: command.id, payload, headers: Vec::new() })
    }
}

/// An order that was recorded a moment ago.
pub(super) async fn recorded_order(
    app: &HttpState,
    merchant: &MerchantKey,
    order_no: &OrderNo,
) -> Result<Arc<StoredOrder>, Error> {
    let order = app.store.order(merchant, order_no).await?.map(Arc::new);
    order.ok_or_else(|| Error::Internal { internal: format!("order {order_no} is gone after it was recorded") })
}
