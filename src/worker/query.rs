//! `query.due`: ask WeChat how an order stands, and take its answer the same way as a notification's.
//!
//! This is what resolves an unknown outcome and what finds a payment whose notification was lost.

use std::time::Duration;

use super::apply::{Applied, Item};
use super::context::Context;
use super::place::{Target, place};
use crate::bus::{Delivery, Verdict};
use crate::config::Merchant;
use crate::event::command::QueryDue;
use crate::event::envelope::Envelope;
use crate::order::{Attempt, AttemptState, OrderState, Refusal, next_query};
use crate::store::{EvidenceSource, StoredOrder};
use crate::wechat::v2::query::{self, Asked};
use crate::wechat::v2::reply::RawReply;

/// A question older than this was asked anew by the scheduler; after an outage there may be thousands of them.
pub const STALE: Duration = Duration::from_secs(60);

/// Asks about every attempt of the order that may still be paid.
pub async fn due(ctx: &Context, delivery: Delivery) -> Verdict {
    let event = match Envelope::<QueryDue>::parse(&delivery.message.payload) {
        Ok(event) => event,
        Err(e) => return Verdict::Park { reason: "malformed", why: e.to_string() },
    };
    if ctx.clock.now().since(delivery.published_at) > STALE {
        return Verdict::Done;
    }
    let Some(merchant) = super::handlers::merchant_of(ctx, &delivery.message.subject) else {
        // Its orders keep their questions: when the merchant is configured again, they are asked.
        tracing::warn!(subject = delivery.message.subject, "a question about an order of no configured merchant");
        return Verdict::Done;
    };
    let stored = match ctx.store.order(&merchant.key, &event.data.order_no).await {
        Ok(Some(stored)) => stored,
        Ok(None) => return Verdict::Park { reason: "unknown_order", why: "no such order".into() },
        Err(e) => return Verdict::Retry { after: Duration::from_secs(1), why: e.to_string() },
    };
    for attempt in stored.order.attempts.iter().filter(|a| may_be_paid(a.state)) {
        if let Some(verdict) = ask_about(ctx, merchant, &stored, attempt, delivery.attempt > 1).await {
            return verdict;
        }
    }
    Verdict::Done
}

fn may_be_paid(state: AttemptState) -> bool {
    match state {
        AttemptState::Created | AttemptState::Unknown | AttemptState::Payable => true,
        AttemptState::Paid | AttemptState::Closed | AttemptState::Failed => false,
    }
}

/// Asks about one attempt; a verdict ends the handling, nothing goes on with the next attempt. `again` says that this
/// question was delivered before.
async fn ask_about(
    ctx: &Context,
    merchant: &Merchant,
    stored: &StoredOrder,
    attempt: &Attempt,
    again: bool,
) -> Option<Verdict> {
    crate::crash::point("worker.query_begun");
    let asked = query::ask(&ctx.wechat, merchant, &attempt.appid, &attempt.out_trade_no).await;
    crate::crash::point("worker.query_answered");
    let (fact, raw) = match asked {
        Asked::Fact(fact, raw) => (fact, raw),
        Asked::Refused(error) => {
            // Parameters and keys are ours to mend; the order is asked about again all the same.
            tracing::warn!(order.out_trade_no = %attempt.out_trade_no, code = error.code, "WeChat refuses the query");
            return put_off(ctx, stored).await;
        }
        Asked::Unknown { why } => {
            tracing::info!(order.out_trade_no = %attempt.out_trade_no, why, "the query has no answer");
            return put_off(ctx, stored).await;
        }
    };
    let item = Item {
        merchant: merchant.key.clone(),
        out_trade_no: attempt.out_trade_no.clone(),
        fact,
        source: source(merchant, &raw),
        received_at: ctx.clock.now(),
        notification: None,
        sign_type: None,
    };
    match ctx.applier.apply(item).await {
        Ok(Applied::Changed(after)) => match Target::current(&after) {
            Some(target) => Some(place(ctx, target, true).await),
            None => None,
        },
        Ok(Applied::Already | Applied::UnknownOrder) => None,
        Ok(Applied::AskAgain { order_id, done, at, place_again }) => {
            if let Err(e) = ctx.store.schedule_query(order_id, done + 1, at).await {
                return Some(Verdict::Retry { after: Duration::from_secs(1), why: e.to_string() });
            }
            match Target::current(stored).filter(|_| place_again) {
                Some(target) => Some(place(ctx, target, true).await),
                None => None,
            }
        }
        // The mark on the order asked for a question at once, which this was; the next one has time.
        Ok(Applied::Refused { refusal, first }) => match put_off(ctx, stored).await {
            // Whoever set the mark may have died before its dead letter was kept: the same question parks once more,
            // and a dead letter that is there already stays one.
            Some(Verdict::Done) | None => Some(refused(&refusal, first || again)),
            other => other,
        },
        Err(e) => Some(Verdict::Retry { after: Duration::from_secs(1), why: e.to_string() }),
    }
}

/// A contradiction is a dead letter once; the mark on the order stands for the rest.
pub(super) fn refused(refusal: &Refusal, first: bool) -> Verdict {
    if first { Verdict::Park { reason: refusal.reason(), why: refusal.to_string() } } else { Verdict::Done }
}

async fn put_off(ctx: &Context, stored: &StoredOrder) -> Option<Verdict> {
    let order = &stored.order;
    if !matches!(order.state, OrderState::Requested | OrderState::Payable) {
        return Some(Verdict::Done);
    }
    let done = order.queries.done + 1;
    let at = next_query(order, done, ctx.clock.now());
    Some(match ctx.store.schedule_query(order.id, done, at).await {
        Ok(()) => Verdict::Done,
        Err(e) => Verdict::Retry { after: Duration::from_secs(1), why: e.to_string() },
    })
}

/// The evidence of a query's answer.
pub(super) fn source(merchant: &Merchant, raw: &RawReply) -> EvidenceSource {
    EvidenceSource::Query {
        raw: raw.as_str().to_owned(),
        verified_by: format!("reply signed with key {}", merchant.v2_key.fingerprint()),
    }
}
