//! One item of a replay: through the handler of its consumer, or to the bus where it is an event.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;

use crate::bus::{Bus, ConsumerName, Delivery, Message, Parked, Parking, ParkingError, PublishError, Verdict};
use crate::clock::Timestamp;
use crate::config::Merchant;
use crate::event::command::{NoticeKind, NotifyReceived, QueryDue};
use crate::event::envelope::{Envelope, EventData};
use crate::event::subject;
use crate::ids::EventId;
use crate::store::{
    DbError, EndpointState, ItemResult, Replay, ReplayContent, ReplayItem, ReplayKind, ReplayMark, ReplayResult,
    ReplaySource, Store, StoredMessage, StoredNotification, WebhookDelivery, WebhookEndpoint,
};
use crate::webhooks;
use crate::webhooks::{AttemptError, pause_between};
use crate::wechat::v2::notify::{NotifyError, parse_and_verify};
use crate::wechat::v2::refund_notify::{is_refund, parse_and_decrypt};
use crate::worker::core::context::Context;
use crate::worker::core::dead_letter::StoreParking;
use crate::worker::handlers;

/// A handler that takes longer is stopped, and its item has failed.
const MAX_HANDLING: Duration = Duration::from_secs(60);

/// What became of an item.
pub(super) enum Handled {
    /// Its result is written, with its effect.
    Written,
    /// Its result is to be written.
    Result(ItemResult),
    /// The database or the bus is away: the item stays open.
    Unavailable(String),
    /// This endpoint gets no message before then: the item stays open.
    Rests(String, Timestamp),
}

impl Handled {
    fn done(result: ReplayResult, reason: Option<&str>) -> Handled {
        Handled::Result(ItemResult { result, reason: reason.map(str::to_owned), error: None })
    }

    fn failed(reason: &str, error: impl Into<String>) -> Handled {
        let (reason, error) = (Some(reason.to_owned()), Some(error.into()));
        Handled::Result(ItemResult { result: ReplayResult::Failed, reason, error })
    }
}

pub(super) fn mark(replay: &Replay, item: &ReplayItem) -> ReplayMark {
    ReplayMark {
        replay_id: replay.id.clone(),
        n: item.n,
        source: item.source,
        source_id: item.source_id.clone(),
        by: replay.started_by.clone().unwrap_or_default(),
        reason: replay.reason.clone(),
    }
}

/// What is done at once.
pub(super) enum Work {
    One(ReplayItem),
    /// One message about several deliveries to an endpoint.
    Together(WebhookEndpoint, Vec<(WebhookDelivery, ReplayMark)>),
}

/// The items in their order, with deliveries that one message can be about put together.
pub(super) async fn gathered(store: &Store, replay: &Replay, items: Vec<ReplayItem>) -> Result<Vec<Work>, DbError> {
    if replay.kind != ReplayKind::Webhook {
        return Ok(items.into_iter().map(Work::One).collect());
    }
    let ids: Vec<&str> = items.iter().map(|item| item.source_id.as_str()).collect();
    let mut contents = match store.replay_contents(ReplaySource::Webhook, &ids).await {
        // One of them cannot be read: each is read by itself.
        Err(DbError::Defect(_)) => return Ok(items.into_iter().map(Work::One).collect()),
        contents => contents?,
    };
    let (mut works, mut messaged) = (Vec::new(), HashMap::new());
    for item in items {
        let Some(ReplayContent::Webhook(delivery)) = contents.remove(&item.source_id) else {
            works.push(Work::One(item));
            continue;
        };
        if !messaged.contains_key(&delivery.endpoint_id) {
            let known = store.webhook(&delivery.endpoint_id).await?.filter(is_messaged);
            let at = known.map(|endpoint| {
                works.push(Work::Together(endpoint, Vec::new()));
                works.len() - 1
            });
            messaged.insert(delivery.endpoint_id.clone(), at);
        }
        let at = messaged.get(&delivery.endpoint_id).copied().flatten();
        match at.and_then(|at| works.get_mut(at)) {
            Some(Work::Together(_, together)) => together.push((delivery, mark(replay, &item))),
            _ => works.push(Work::One(item)),
        }
    }
    Ok(works)
}

/// Whether an endpoint gets messages about several events. One that is disabled gets none: its items fail.
fn is_messaged(endpoint: &WebhookEndpoint) -> bool {
    endpoint.state == EndpointState::Enabled && pause_between(endpoint.format).is_some()
}

/// Works on an item. It may run twice: handlers recognise what they did, and a result is written once.
pub(super) async fn handle(
    ctx: &Context,
    (bus, webhooks): (&Bus, &webhooks::Maker),
    mark: &ReplayMark,
) -> Result<Handled, DbError> {
    let ctx = ctx.for_replay(mark.clone());
    let mut contents = match ctx.store.replay_contents(mark.source, &[&mark.source_id]).await {
        // Of one row, and the same at the next try: it must not keep the others waiting.
        Err(DbError::Defect(why)) => return Ok(Handled::failed("defect", why)),
        contents => contents?,
    };
    match contents.remove(&mark.source_id) {
        None => Ok(Handled::failed("gone", "the row was removed")),
        Some(ReplayContent::Notification(notification)) => notified(&ctx, mark, notification).await,
        Some(ReplayContent::DeadLetter { message, state }) if state == "parked" => parked(&ctx, mark, message).await,
        Some(ReplayContent::DeadLetter { state, .. }) => Ok(Handled::done(ReplayResult::NoOp, Some(&state))),
        Some(ReplayContent::Event { subject, payload, relayed }) => {
            Ok(published(bus, mark, subject, payload, relayed).await)
        }
        Some(ReplayContent::Webhook(delivery)) => delivered(webhooks, mark, &delivery).await,
    }
}

async fn notified(ctx: &Context, mark: &ReplayMark, n: StoredNotification) -> Result<Handled, DbError> {
    let merchant = n.merchant_key().and_then(|key| ctx.config.merchant(key.as_str()).cloned());
    let Some(merchant) = merchant else {
        return Ok(Handled::failed("unknown_merchant", "no such merchant is configured"));
    };
    let refund = is_refund(&n.body).unwrap_or_else(|| n.kind.as_deref() == Some("refund"));
    let (kind, subject) = if refund {
        (NoticeKind::Refund, subject::notify_refund(&merchant.key))
    } else {
        (NoticeKind::Pay, subject::notify_received(&merchant.key))
    };
    let StoredNotification { id, body, headers, remote_addr, received_at, .. } = n;
    let data = NotifyReceived { body, headers, remote_addr, received_at, kind };
    if let Err(e) = verified(ctx, &merchant, &data) {
        return Ok(Handled::failed(e.reason(), e.to_string()));
    }
    let event = Envelope { id, ..Envelope::new(&merchant.key, NotifyReceived::TYPE, None, received_at, data) };
    let payload = event.to_json().map_err(|e| DbError::Defect(e.to_string()))?.into_bytes();
    let message = Message { subject, id, payload, headers: Vec::new() };
    let verdict = judged(ctx, ConsumerName::SETTLE.as_str(), message.clone()).await;
    if let Verdict::Park { reason, why } = &verdict {
        // It verifies, and what it says cannot be: it waits for a person, as if it had come over the bus.
        let parked = Parked {
            message,
            consumer: ConsumerName::SETTLE,
            reason,
            first_error: why.clone(),
            last_error: why.clone(),
            attempts: 1,
            published_at: received_at,
        };
        match StoreParking::new(ctx.store.clone(), ctx.clock.clone()).park(parked).await {
            Ok(()) => {}
            Err(ParkingError::Unavailable(why)) => return Ok(Handled::Unavailable(why)),
            Err(ParkingError::Impossible(why)) => return Ok(Handled::failed("defect", why)),
        }
    }
    result(ctx, mark, verdict, true).await
}

async fn parked(ctx: &Context, mark: &ReplayMark, message: StoredMessage) -> Result<Handled, DbError> {
    let StoredMessage { event_id, consumer, subject, headers, payload, .. } = message;
    let Ok(id) = EventId::parse(&event_id) else {
        return Ok(Handled::failed("malformed", "the message has no id of ours"));
    };
    let mut is_notification = false;
    if let Ok(event) = Envelope::<NotifyReceived>::parse(&payload) {
        is_notification = true;
        // The handler would wait for a process with another configuration; here it is now or never.
        if let Some(merchant) = subject.split('.').nth(2).and_then(|key| ctx.config.merchant(key))
            && let Err(e) = verified(ctx, merchant, &event.data)
        {
            return Ok(Handled::failed(e.reason(), e.to_string()));
        }
    }
    if subject.split('.').nth(2).and_then(|key| ctx.config.merchant(key)).is_none() {
        return Ok(Handled::failed("unknown_merchant", "no such merchant is configured"));
    }
    if let Some(failed) = unpolled(ctx, &subject, &payload).await? {
        return Ok(failed);
    }
    let message = Message { subject, id, payload, headers }.replayed(&mark.replay_id);
    let verdict = judged(ctx, &consumer, message).await;
    result(ctx, mark, verdict, is_notification).await
}

/// Of a poll: why its order cannot be polled, however often it is tried.
async fn unpolled(ctx: &Context, subject: &str, payload: &[u8]) -> Result<Option<Handled>, DbError> {
    let Ok(event) = Envelope::<QueryDue>::parse(payload) else { return Ok(None) };
    let Some(merchant) = subject.split('.').nth(2).and_then(|key| ctx.config.merchant(key)) else { return Ok(None) };
    match ctx.store.order(&merchant.key, &event.data.order_no).await {
        Ok(Some(_)) => Ok(None),
        Ok(None) => Ok(Some(Handled::failed("unknown_order", "no such order"))),
        Err(DbError::Defect(why)) => Ok(Some(Handled::failed("defect", why))),
        Err(e) => Err(e),
    }
}

/// Whether a notification verifies with the keys configured now, at the time when it came.
fn verified(ctx: &Context, merchant: &Merchant, data: &NotifyReceived) -> Result<(), NotifyError> {
    let apps = ctx.app_ids(merchant);
    match data.kind {
        NoticeKind::Pay => parse_and_verify(&data.body, merchant, &apps, data.received_at).map(|_| ()),
        NoticeKind::Refund => parse_and_decrypt(&data.body, merchant, &apps, data.received_at).map(|_| ()),
    }
}

/// A panic and a handler that hangs fail one item.
async fn judged(ctx: &Context, consumer: &str, message: Message) -> Verdict {
    // A redelivery: what an earlier attempt noted is no reason to be done with it.
    let delivery = Delivery { message, attempt: 2, published_at: ctx.clock.now(), ending: None };
    let handling = AssertUnwindSafe(handlers::handle_again(consumer, ctx.clone(), delivery)).catch_unwind();
    match tokio::time::timeout(MAX_HANDLING, handling).await {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(_)) => Verdict::Park { reason: "defect", why: "the handler panicked".to_owned() },
        Err(_) => Verdict::Park { reason: "defect", why: "the handler hung and was stopped".to_owned() },
    }
}

async fn result(ctx: &Context, mark: &ReplayMark, verdict: Verdict, is_notification: bool) -> Result<Handled, DbError> {
    Ok(match verdict {
        Verdict::Done if !is_notification => Handled::done(ReplayResult::Settled, None),
        // Written with the effect.
        Verdict::Done if !ctx.store.is_replay_item_open(mark).await? => Handled::Written,
        Verdict::Done => Handled::done(ReplayResult::NoOp, Some("already_applied")),
        Verdict::Park { reason, why } => Handled::failed(reason, why),
        Verdict::Retry { why, .. } | Verdict::Locked { why } => Handled::failed("not_yet", why),
        Verdict::Unavailable { why } => Handled::Unavailable(why),
    })
}

/// Sends a delivery once more, with the same id. Its result is written with the attempt.
async fn delivered(
    webhooks: &webhooks::Maker,
    mark: &ReplayMark,
    delivery: &WebhookDelivery,
) -> Result<Handled, DbError> {
    match webhooks.replayed(delivery, mark.clone()).await {
        Ok(()) => Ok(Handled::Written),
        // What is being sent is sent once more after that: the process that sends it may have died.
        Err(e @ AttemptError::InFlight) => Ok(Handled::Unavailable(e.to_string())),
        Err(AttemptError::Rests(until)) => Ok(Handled::Rests(delivery.endpoint_id.clone(), until)),
        Err(e @ AttemptError::EndpointGone) => Ok(Handled::failed("endpoint_gone", e.to_string())),
        Err(e @ AttemptError::EndpointDisabled) => Ok(Handled::failed("endpoint_disabled", e.to_string())),
        Err(AttemptError::Store(e)) => Err(e),
        Err(e @ AttemptError::Envelope(_)) => Ok(Handled::failed("defect", e.to_string())),
    }
}

/// Publishes an event again, under its own id. The feed is as it was.
async fn published(bus: &Bus, mark: &ReplayMark, subject: String, payload: String, relayed: bool) -> Handled {
    if !bus.has_outside_subscribers() {
        return Handled::done(ReplayResult::NoOp, Some("no_subscribers"));
    }
    if !relayed {
        return Handled::done(ReplayResult::NoOp, Some("not_published"));
    }
    let Ok(id) = EventId::parse(&mark.source_id) else {
        return Handled::failed("malformed", "the event has no valid id");
    };
    // Of the duplicate window, a repeat after a crash is the same publish, and another replay is another one.
    let message = Message { subject, id, payload: payload.into_bytes(), headers: Vec::new() }.replayed(&mark.replay_id);
    match bus.publish(message).await {
        Ok(()) => Handled::done(ReplayResult::Settled, None),
        Err(e @ (PublishError::TooLarge | PublishError::Misdirected(_))) => {
            Handled::failed("unpublishable", e.to_string())
        }
        Err(e @ (PublishError::Unavailable(_) | PublishError::Full | PublishError::Timeout)) => {
            Handled::Unavailable(e.to_string())
        }
    }
}
