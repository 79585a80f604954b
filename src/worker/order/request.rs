//! `order.requested`: record the order with its first attempt, then place it at WeChat.
//!
//! The row, with every parameter that will be signed, is committed before WeChat is called. Whatever crashes
//! afterwards, the repeat sends the same number with the same parameters.

use std::time::Duration;

use super::submit::{Target, place};
use crate::bus::Verdict;
use crate::config::Merchant;
use crate::event::command::{OrderRequested, PrepayDue};
use crate::event::envelope::Envelope;
use crate::new_order::{NewOrderError, new_order};
use crate::order::UNPLACED;
use crate::store::Recorded;
use crate::worker::core::config_skew;
use crate::worker::core::context::Context;
use crate::worker::core::error::failed;
use crate::worker::core::handler::Handler;
use crate::worker::core::recorder::RecordError;

/// Handles `order.requested`.
pub struct PlaceOrder;

impl Handler for PlaceOrder {
    type Data = OrderRequested;

    async fn handle(ctx: &Context, _: &Merchant, event: Envelope<OrderRequested>, attempt: u32) -> Verdict {
        let OrderRequested { order: content, requested_at, idempotency } = event.data;
        let (merchant, order_no) = (content.merchant.clone(), content.order_no.clone());
        let order = match new_order(&ctx.config, content, event.id, requested_at, idempotency) {
            Ok(order) => order,
            Err(NewOrderError::NotConfigured) => {
                return config_skew::unknown(requested_at, ctx.clock.now(), attempt);
            }
            Err(e @ NewOrderError::Invalid(_)) => return Verdict::Park { reason: "invalid_order", why: e.to_string() },
        };
        let target = Target::first(&order);
        crate::failpoint::point("worker.order_parsed");
        match ctx.recorder.record(order).await {
            Ok(Recorded::New) => {
                crate::failpoint::point("worker.order_recorded");
                place(ctx, target, false).await
            }
            // Either this event's first delivery crashed, or the HTTP layer made the row for its Location: go on. Or
            // it is another request for the same order, whose own event is being worked on: two calls at once would
            // give the callers different prepay ids.
            Ok(Recorded::Same) => match ctx.store.order(&merchant, &order_no).await {
                Ok(Some(stored)) if stored.requested_by != event.id => Verdict::Done,
                Ok(Some(stored)) => match Target::current(&stored, ctx.clock.now()) {
                    Some(target) => {
                        // The ingress records a row without calling WeChat: only a delivery before this one, the
                        // scheduler once the order was old enough, or an unscheduled poll can have called.
                        let asked = stored.order.queries.done > 0 || stored.order.queries.answered_at.is_some();
                        let old = ctx.clock.now().since(stored.order.created_at) >= UNPLACED;
                        let called = attempt > 1 || asked || old;
                        place(ctx, target, called).await
                    }
                    None => Verdict::Done,
                },
                Ok(None) => Verdict::Retry { after: Duration::from_secs(1), why: "the order is gone".into() },
                Err(e) => failed(e),
            },
            // The caller finds the other order under its number or its key, and the HTTP layer says so.
            Ok(Recorded::Differs | Recorded::KeyReused) => Verdict::Done,
            Err(e @ RecordError::NumberTaken(_)) => Verdict::Park { reason: "number_taken", why: e.to_string() },
            Err(e @ (RecordError::Store(_) | RecordError::Group(_))) => failed(e),
        }
    }
}

/// Handles `order.prepay_due`: the prepay id is old; WeChat gives a fresh one for the same number and parameters.
pub struct RenewPrepay;

impl Handler for RenewPrepay {
    type Data = PrepayDue;

    async fn handle(ctx: &Context, merchant: &Merchant, event: Envelope<PrepayDue>, _: u32) -> Verdict {
        match ctx.store.order(&merchant.key, &event.data.order_no).await {
            Ok(Some(stored)) => match Target::renewable(&stored, ctx.clock.now()) {
                Some(target) => place(ctx, target, true).await,
                None => Verdict::Done,
            },
            Ok(None) => Verdict::Park { reason: "unknown_order", why: "no such order".into() },
            Err(e) => failed(e),
        }
    }
}
