//! Where the consumer loop leaves what the bus must not keep: rows.
//!
//! What must stay true: no text is stored with a NUL character in it, which PostgreSQL refuses and any client on NATS
//! may send; and a refusal that will never change is distinguished from a database outage.

use std::future::Future;

use serde::Deserialize;

use crate::bus::{Deferred, Message, Parked, Parking, ParkingError};
use crate::clock::Clock;
use crate::event::command::NotifyReceived;
use crate::event::domain::{DeadLetterParked, DomainData, DomainEvent};
use crate::event::envelope::Envelope;
use crate::ids::{MerchantKey, OrderNo, OutRefundNo, OutTradeNo};
use crate::store::{DbError, Store, StoredMessage};
use crate::wechat::v2::xml;

/// Parks and defers into the store.
#[derive(Clone, Debug)]
pub struct StoreParking {
    store: Store,
    clock: Clock,
}

impl StoreParking {
    pub fn new(store: Store, clock: Clock) -> StoreParking {
        StoreParking { store, clock }
    }
}

impl Parking for StoreParking {
    fn park(&self, p: Parked) -> impl Future<Output = Result<(), ParkingError>> + Send {
        let StoreParking { store, clock } = self.clone();
        async move {
            let now = clock.now();
            let p = Parked {
                first_error: without_nul(p.first_error),
                last_error: without_nul(p.last_error),
                message: storable(p.message),
                ..p
            };
            let merchant = merchant_of(&p.message.subject)?;
            let order_no = order_of(&store, &merchant, &p.message).await;
            let news = DomainEvent {
                merchant,
                // What it is about may be a claim that nothing verified: it is in the data alone.
                order_no: None,
                data: DomainData::DeadLetterParked(DeadLetterParked {
                    event_id: p.message.id.to_string(),
                    consumer: p.consumer.to_string(),
                    message_subject: p.message.subject.clone(),
                    reason: p.reason.to_owned(),
                    last_error: p.last_error.clone(),
                    attempts: p.attempts,
                    order_no: order_no.clone(),
                }),
            };
            let message = StoredMessage {
                event_id: p.message.id.to_string(),
                consumer: p.consumer.to_string(),
                subject: p.message.subject,
                headers: p.message.headers,
                payload: p.message.payload,
                attempts: p.attempts,
                first_error: p.first_error,
                last_error: p.last_error,
            };
            store.park(&message, p.reason, order_no.as_ref(), &news.encode(now), now).await.map_err(refusal)
        }
    }

    fn is_there(&self) -> impl Future<Output = bool> + Send {
        let store = self.store.clone();
        async move { store.db().health().await.is_ok_and(|health| health.takes_writes) }
    }

    fn defer(&self, d: Deferred) -> impl Future<Output = Result<(), ParkingError>> + Send {
        let StoreParking { store, clock } = self.clone();
        async move {
            let d = Deferred { why: without_nul(d.why), message: storable(d.message), ..d };
            let first_error = d.message.first_error().unwrap_or(&d.why).to_owned();
            let message = StoredMessage {
                event_id: d.message.id.to_string(),
                consumer: d.consumer.to_string(),
                subject: d.message.subject,
                headers: d.message.headers,
                payload: d.message.payload,
                attempts: d.attempts,
                first_error,
                last_error: d.why,
            };
            let now = clock.now();
            store.defer(&message, now.after(d.due_in), now).await.map_err(refusal)
        }
    }
}

fn refusal(e: DbError) -> ParkingError {
    match e {
        DbError::Unavailable(_) | DbError::Exists(_) => ParkingError::Unavailable(e.to_string()),
        DbError::Defect(_) => ParkingError::Impossible(e.to_string()),
    }
}

fn storable(message: Message) -> Message {
    Message {
        subject: without_nul(message.subject),
        headers: message.headers.into_iter().map(|(n, v)| (without_nul(n), without_nul(v))).collect(),
        ..message
    }
}

fn without_nul(mut text: String) -> String {
    text.retain(|c| c != '\0');
    text
}

/// The merchant whose subject it is; a message without one is reported under the key `unknown`.
fn merchant_of(subject: &str) -> Result<MerchantKey, ParkingError> {
    let key = subject.split('.').nth(2).unwrap_or_default();
    MerchantKey::parse(key)
        .or_else(|_| MerchantKey::parse("unknown"))
        .map_err(|e| ParkingError::Impossible(e.to_string()))
}

/// The order that a message is about, as far as its parts and the database say. What cannot be found out now keeps no
/// message from being parked.
async fn order_of(store: &Store, merchant: &MerchantKey, message: &Message) -> Option<OrderNo> {
    #[derive(Deserialize)]
    struct Named {
        subject: Option<String>,
        data: NamedData,
    }
    #[derive(Deserialize)]
    struct NamedData {
        order_no: Option<String>,
        refund_no: Option<String>,
    }
    let named: Named = serde_json::from_slice(&message.payload).ok()?;
    if let Some(order_no) = named.data.order_no.or(named.subject).and_then(|text| OrderNo::parse(text).ok()) {
        return Some(order_no);
    }
    if let Some(refund_no) = named.data.refund_no.and_then(|text| OutRefundNo::parse(text).ok()) {
        return store.refund(merchant, &refund_no).await.ok()??.refund.order_no;
    }
    let notified = Envelope::<NotifyReceived>::parse(&message.payload).ok()?.data;
    if let Some(order_no) = store.order_of_notification(message.id).await.ok()? {
        return Some(order_no);
    }
    let number = xml::parse(&notified.body).ok()?.remove("out_trade_no")?;
    let numbers = [OutTradeNo::parse(number).ok()?];
    store.orders_by_out_trade_no(merchant, &numbers).await.ok()?.pop().map(|found| found.order.order_no)
}
