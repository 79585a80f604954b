//! The refund call: the same number with the same stored parameters, however often.
//!
//! Whose turn it is stands in the database, and that a call is made is written there before it: a refusal is believed only
//! of the very first call. After any other, WeChat is asked whether an earlier one was executed.

use super::apply::{Applied, ApplyError, apply};
use super::ask::{self, Learnt};
use crate::config::Merchant;
use crate::event::fact::{RefundFact, WechatError};
use crate::order::RefundRefusal;
use crate::store::{RefundSource, StoredRefund, Turn};
use crate::wechat::v2::refund::{self, Refunding};
use crate::worker::Context;

/// What calling brought; all of it is durable.
#[derive(Debug)]
pub enum Called {
    /// The answer reached the refund.
    Answered,
    /// Not now: the refund is scheduled.
    Waits,
    /// Somebody else changed the refund: what is to be done must be looked at anew.
    Overtaken,
    /// WeChat says what cannot be.
    Refused(RefundRefusal),
}

/// Calls WeChat for a refund if it is its turn.
pub async fn call(ctx: &Context, merchant: &Merchant, stored: &StoredRefund) -> Result<Called, ApplyError> {
    let r = &stored.refund;
    let Some(client) = ctx.refund_clients.get(&merchant.key) else {
        tracing::error!(merchant = %merchant.key, refund_no = %r.refund_no, "a refund waits for client_cert_file");
        put_off(ctx, stored).await?;
        return Ok(Called::Waits);
    };
    let now = ctx.clock.now();
    let before = match ctx.store.take_turn(stored, now).await? {
        Turn::Call { before } => before,
        Turn::Wait { until } => {
            ctx.store.schedule_refund(r.id, r.version, r.queries.done, until).await?;
            return Ok(Called::Waits);
        }
        Turn::Changed => return Ok(Called::Overtaken),
    };
    crate::crash::point("refund.called");
    let answer = refund::place(client, &merchant.v2_key, &stored.params.params).await;
    crate::crash::point("refund.answered");
    let too_often = matches!(answer, Refunding::TooFrequent(_));
    ctx.store.end_turn(r, too_often, ctx.clock.now()).await?;
    let (fact, raw) = match answer {
        Refunding::Accepted(accepted, raw) => {
            (RefundFact::Accepted { refund_id: accepted.refund_id }, Some(raw.into_string()))
        }
        Refunding::Refused(error) if before == 0 => (RefundFact::Refused(error), None),
        Refunding::Refused(error) | Refunding::Ask(error) => return doubted(ctx, merchant, stored, error).await,
        Refunding::Later(error) => (RefundFact::NotYet(error), None),
        Refunding::TooFrequent(error) => (RefundFact::TooFrequent(error), None),
        Refunding::Unknown { why } => (RefundFact::Unknown { why }, None),
    };
    taken(apply(ctx, &merchant.key, &r.refund_no, fact, RefundSource::Call { raw }, None).await?)
}

/// WeChat refuses a number that it may know.
async fn doubted(
    ctx: &Context,
    merchant: &Merchant,
    stored: &StoredRefund,
    error: WechatError,
) -> Result<Called, ApplyError> {
    let (fact, source) = match ask::ask(ctx, merchant, stored, None).await? {
        Learnt::Changed | Learnt::Unchanged(_) => return Ok(Called::Answered),
        Learnt::Refused(refusal) => return Ok(Called::Refused(refusal)),
        Learnt::NotFound => {
            let source = RefundSource::Query { raw: None, verified_by: ask::verified_by(merchant) };
            (RefundFact::Refused(error), source)
        }
        Learnt::NoAnswer => (RefundFact::Unknown { why: error.code }, RefundSource::Call { raw: None }),
    };
    taken(apply(ctx, &merchant.key, &stored.refund.refund_no, fact, source, None).await?)
}

fn taken(applied: Applied) -> Result<Called, ApplyError> {
    Ok(match applied {
        Applied::Changed | Applied::Unchanged => Called::Answered,
        Applied::Refused(refusal) => Called::Refused(refusal),
    })
}

/// Looks again by the refund's own rhythm.
pub async fn put_off(ctx: &Context, stored: &StoredRefund) -> Result<(), ApplyError> {
    let r = &stored.refund;
    let done = r.queries.done + 1;
    if let Some(at) = crate::order::next_refund_look(r, done, ctx.clock.now()) {
        ctx.store.schedule_refund(r.id, r.version, done, at).await?;
    }
    Ok(())
}
