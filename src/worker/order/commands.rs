//! `order.close_requested` and `order.attempt_requested`: what a business asks of an open order.
//!
//! The command is stored first, in a change of its own with who asked for it as evidence. Then the order is processed
//! as for any question; what WeChat does not allow yet (nothing is closed within five minutes of its placing) is done
//! when it is due, even if this process crashes in between.

use super::answer::refused;
use super::poll::{Why, process};
use super::submit::{Target, place};
use crate::bus::Verdict;
use crate::config::Merchant;
use crate::event::command::{OrderAttemptRequested, OrderCloseRequested};
use crate::event::envelope::Envelope;
use crate::event::fact::Fact;
use crate::ids::{OrderNo, OutTradeNo};
use crate::new_order::{NewOrderError, new_order};
use crate::store::{AttemptParams, EvidenceSource};
use crate::worker::core::config_skew;
use crate::worker::core::context::Context;
use crate::worker::core::error::failed;
use crate::worker::core::fact::{Applied, Item};
use crate::worker::core::handler::Handler;

/// Handles `order.close_requested`.
pub struct CloseOrder;

impl Handler for CloseOrder {
    type Data = OrderCloseRequested;

    async fn handle(ctx: &Context, merchant: &Merchant, event: Envelope<OrderCloseRequested>, attempt: u32) -> Verdict {
        let command = StoredCommand {
            order_no: event.data.order_no,
            fact: Fact::CloseRequested,
            by: event.data.by,
            wanted: None,
            replaces: None,
        };
        carry_out(ctx, merchant, command, attempt > 1).await
    }
}

/// Handles `order.attempt_requested`.
pub struct OpenAttempt;

impl Handler for OpenAttempt {
    type Data = OrderAttemptRequested;

    async fn handle(
        ctx: &Context,
        merchant: &Merchant,
        event: Envelope<OrderAttemptRequested>,
        attempt: u32,
    ) -> Verdict {
        let OrderAttemptRequested { mut order, replaces, requested_at, expires_at, by } = event.data;
        let (order_no, trade_type) = (order.order_no.clone(), order.trade_type);
        order.expires_at = Some(expires_at);
        let wanted = match new_order(&ctx.config, order, event.id, requested_at, None) {
            Ok(like) => like.params,
            Err(NewOrderError::NotConfigured) => {
                return config_skew::unknown(requested_at, ctx.clock.now(), attempt);
            }
            Err(e @ NewOrderError::Invalid(_)) => return Verdict::Park { reason: "invalid_order", why: e.to_string() },
        };
        let fact = Fact::AttemptRequested { trade_type, expires_at };
        carry_out(
            ctx,
            merchant,
            StoredCommand { order_no, fact, by, wanted: Some(wanted), replaces: Some(replaces) },
            attempt > 1,
        )
        .await
    }
}

struct StoredCommand {
    order_no: OrderNo,
    fact: Fact,
    by: String,
    wanted: Option<AttemptParams>,
    /// The attempt that was the newest when it was asked for.
    replaces: Option<OutTradeNo>,
}

async fn carry_out(ctx: &Context, merchant: &Merchant, command: StoredCommand, again: bool) -> Verdict {
    let stored = match ctx.store.order(&merchant.key, &command.order_no).await {
        Ok(Some(stored)) => stored,
        Ok(None) => return Verdict::Park { reason: "unknown_order", why: "no such order".into() },
        Err(e) => return failed(e),
    };
    let current = stored.order.current().map(|a| a.out_trade_no.clone());
    let Some(number) = command.replaces.or(current) else {
        return Verdict::Park { reason: "defect", why: "the order has no attempt".into() };
    };
    let source = EvidenceSource::Request { by: command.by };
    let item = Item {
        wanted: command.wanted,
        ..Item::new(&ctx.config, merchant.key.clone(), number, command.fact, source, ctx.clock.now())
    };
    match ctx.apply(item).await {
        Ok(Applied::Changed(after)) => match Target::unplaced(&after, ctx.clock.now()) {
            Some(target) => place(ctx, target, false).await,
            None => process(ctx, merchant, *after, Why { again, ..Why::default() }).await,
        },
        // A repeat: the first delivery may have crashed before WeChat was asked, or before the new attempt was placed.
        Ok(Applied::Already | Applied::AskAgain { .. }) if stored.order.state.is_open() => {
            let unplaced = Target::unplaced(&stored, ctx.clock.now()).filter(|_| stored.order.attempts.len() > 1);
            match unplaced {
                Some(target) if again => place(ctx, target, true).await,
                _ if again || stored.order.intent.is_some() => {
                    process(ctx, merchant, stored, Why { again, refresh: true }).await
                }
                _ => Verdict::Done,
            }
        }
        Ok(Applied::Settled | Applied::Already | Applied::AskAgain { .. } | Applied::UnknownOrder) => Verdict::Done,
        Ok(Applied::Refused { refusal, first }) => refused(&refusal, first),
        Err(e) => failed(e),
    }
}
