//! `order.requested`: place an order at WeChat that its ingress recorded with its first attempt.
//!
//! The row, with every parameter that will be signed, is committed before WeChat is called. Whatever crashes
//! afterwards, the repeat sends the same number with the same parameters.

use std::time::Duration;

use tokio::time::Instant;

use super::claim::{Claim, place_claimed};
use super::submit::{Target, place};
use crate::bus::Verdict;
use crate::config::Merchant;
use crate::event::command::{OrderRequested, PrepayDue};
use crate::event::envelope::Envelope;
use crate::new_order::{NewOrderError, new_order};
use crate::order::UNPLACED;
use crate::store::{PlacingClaim, Recorded, ToPlace};
use crate::worker::core::config_skew;
use crate::worker::core::context::Context;
use crate::worker::core::error::{HandlerError, failed};
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
        crate::failpoint::point("worker.order_parsed");
        let wanted = ToPlace { merchant, order_no, requested_by: event.id, lease: ctx.config.store.lease };
        let begun = Instant::now();
        match ctx.claims.claim(wanted.clone()).await {
            // The ingress recorded it; one of the version before leaves that to this handler.
            Ok(PlacingClaim::Missing) => {}
            claimed => return go_on(ctx, claimed, begun, attempt).await,
        }
        match ctx.recorder.record(order).await {
            Ok(Recorded::New | Recorded::Same) => {
                let begun = Instant::now();
                go_on(ctx, ctx.claims.claim(wanted).await, begun, attempt).await
            }
            // The caller finds the other order under its number or its key, and the HTTP layer says so.
            Ok(Recorded::Differs | Recorded::KeyReused) => Verdict::Done,
            Err(e @ RecordError::NumberTaken(_)) => Verdict::Park { reason: "number_taken", why: e.to_string() },
            Err(e @ (RecordError::Store(_) | RecordError::Group(_))) => failed(e),
        }
    }
}

/// Places a recorded order that is still to be placed, unless another process does. One that another event asked for is
/// another request's for the same number, and has an event of its own: two calls at once would give the callers
/// different prepay ids.
async fn go_on(ctx: &Context, claimed: Result<PlacingClaim, HandlerError>, begun: Instant, attempt: u32) -> Verdict {
    let stored = match claimed {
        Ok(PlacingClaim::Taken(stored)) => stored,
        Ok(PlacingClaim::NotToPlace) => return Verdict::Done,
        Ok(PlacingClaim::Busy) => return Verdict::Locked { why: "another process changes the order".into() },
        Ok(PlacingClaim::Missing) => {
            return Verdict::Retry { after: Duration::from_secs(1), why: "the order is gone".into() };
        }
        Err(e) => return failed(e),
    };
    let now = ctx.clock.now();
    // A process that recorded it under a claim may have called and crashed, which `answered_at` tells, as it does of a
    // poll; or a delivery before this one may have called, or the scheduler's poll once the order was old enough.
    let asked = stored.order.queries.done > 0 || stored.order.queries.answered_at.is_some();
    let old = now.since(stored.order.created_at) >= UNPLACED;
    let claim = Claim::of_loaded(&stored, begun, ctx.config.store.lease);
    match claim.zip(Target::claimed(*stored, now)) {
        Some((claim, target)) => place_claimed(ctx, claim, target, attempt > 1 || asked || old).await,
        // Its time ended since; it is polled.
        None => Verdict::Done,
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
