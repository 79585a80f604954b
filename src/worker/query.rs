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
use crate::order::{Attempt, AttemptState, OrderState, next_query};
use crate::store::{EvidenceSource, StoredOrder};
use crate::wechat::v2::query::{self, Asked};
use crate::wechat::v2::reply::RawReply;

/// Asks about every attempt of the order that may still be paid.
pub async fn due(ctx: &Context, delivery: Delivery) -> Verdict {
    let event = match Envelope::<QueryDue>::parse(&delivery.message.payload) {
        Ok(event) => event,
        Err(e) => return Verdict::Park { reason: "malformed", why: e.to_string() },
    };
    let Some(merchant) = super::handlers::merchant_of(ctx, &delivery.message.subject) else {
        return Verdict::Park { reason: "unknown_merchant", why: "no such merchant is configured".into() };
    };
    let stored = match ctx.store.order(&merchant.key, &event.data.order_no).await {
        Ok(Some(stored)) => stored,
        Ok(None) => return Verdict::Park { reason: "unknown_order", why: "no such order".into() },
        Err(e) => return Verdict::Retry { after: Duration::from_secs(1), why: e.to_string() },
    };
    for attempt in stored.order.attempts.iter().filter(|a| may_be_paid(a.state)) {
        if let Some(verdict) = ask_about(ctx, merchant, &stored, attempt).await {
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

/// Asks about one attempt; a verdict ends the handling, nothing goes on with the next attempt.
async fn ask_about(ctx: &Context, merchant: &Merchant, stored: &StoredOrder, attempt: &Attempt) -> Option<Verdict> {
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
        Ok(Applied::Refused(refusal)) => Some(Verdict::Park { reason: refusal.reason(), why: refusal.to_string() }),
        Ok(Applied::TransactionElsewhere) => Some(Verdict::Park {
            reason: "transaction_elsewhere",
            why: "the transaction is in the ledger of another order".into(),
        }),
        Err(e) => Some(Verdict::Retry { after: Duration::from_secs(1), why: e.to_string() }),
    }
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
