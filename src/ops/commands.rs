//! Commands about an order: close it, ask WeChat about it. The workers carry them out.

use serde::Serialize;

use crate::bus::{Bus, Message, PublishError};
use crate::clock::Clock;
use crate::event::command::{OrderCloseRequested, QueryDue};
use crate::event::envelope::{Envelope, EnvelopeError, EventData};
use crate::event::subject;
use crate::ops::Operator;
use crate::order::Order;
use crate::store::{AuditEntry, DbError, Store};

/// Why a command is not on the bus.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    #[error(transparent)]
    Store(#[from] DbError),
}

/// Asks for an order to be closed at WeChat. Returns when the command is durable. A business closes its own orders; a
/// person gives a reason, which is in the audit before anything happens.
pub async fn close(
    (store, bus, clock): (&Store, &Bus, &Clock),
    operator: &Operator,
    order: &Order,
    reason: Option<&str>,
) -> Result<(), CommandError> {
    let (merchant, order_no) = (&order.merchant, &order.order_no);
    let audit = reason.map(|reason| AuditEntry {
        merchant: Some(merchant.clone()),
        order_no: Some(order_no.clone()),
        result: "asked".to_owned(),
        ..operator.audit("order.close", reason.to_owned(), clock.now())
    });
    if let Some(audit) = &audit {
        store.record_audit(audit).await?;
    }
    let command = OrderCloseRequested { order_no: order_no.clone(), by: operator.name.clone() };
    let about = Some(order_no.to_string());
    let envelope = Envelope::new(merchant, OrderCloseRequested::TYPE, about, clock.now(), command);
    let published = publish(bus, subject::order_close_requested(merchant), envelope).await;
    if let (Err(_), Some(asked)) = (&published, audit) {
        // The command may be on the bus for all that.
        let audit = AuditEntry { at: clock.now(), result: "unconfirmed".to_owned(), ..asked };
        store.record_audit(&audit).await?;
    }
    published
}

/// Has WeChat asked about an order outside its schedule. Returns when the command is durable.
pub async fn ask(bus: &Bus, clock: &Clock, order: &Order) -> Result<(), CommandError> {
    let (merchant, order_no) = (&order.merchant, &order.order_no);
    let due = QueryDue { order_no: order_no.clone(), refresh: true };
    let envelope = Envelope::new(merchant, QueryDue::TYPE, Some(order_no.to_string()), clock.now(), due);
    publish(bus, subject::query_due(merchant), envelope).await
}

async fn publish<T: Serialize>(bus: &Bus, subject: String, envelope: Envelope<T>) -> Result<(), CommandError> {
    let payload = envelope.to_json()?.into_bytes();
    Ok(bus.publish(Message { subject, id: envelope.id, payload, headers: Vec::new() }).await?)
}
