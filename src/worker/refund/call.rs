//! The refund call: the same number with the same stored parameters, however often.
//!
//! The call slot is held in the database, and that a call is made is written there before it: a refusal is believed
//! only of the very first call. After any other, WeChat is asked whether an earlier one was executed. Replies that
//! WeChat did not sign are never believed.

use std::time::{Duration, Instant};

use super::apply::{ApplyError, PollTiming};
use super::called::{Called, taken};
use super::poll;
use super::poll::Learnt;
use super::refused::refused;
use crate::config::Merchant;
use crate::event::fact::{RefundFact, WechatError};
use crate::ids::OutRefundNo;
use crate::refund::{RefundRefusal, SEND_WITHIN};
use crate::store::{CallSlot, RefundSource, StoredRefund};
use crate::wechat::outcome::Api;
use crate::wechat::setup_fault::SetupFault;
use crate::wechat::v2::refund::Refunding;
use crate::worker::core::context::Context;
use crate::worker::core::setup_judge::{judge_refund, refund_passed};
use crate::worker::pay::calls as pay;

/// A refund without a permit is due again after this at the earliest.
const PUT_OFF: Duration = Duration::from_secs(1);

/// Calls WeChat for a refund if it holds the call slot.
pub async fn call(ctx: &Context, merchant: &Merchant, stored: &StoredRefund) -> Result<Called, ApplyError> {
    let r = &stored.refund;
    let Some(client) = ctx.refund_clients.get(&merchant.key) else {
        tracing::error!(merchant = %merchant.key, refund_no = %r.refund_no, "a refund waits for client_cert_file");
        put_off(ctx, stored).await?;
        return Ok(Called::Waits);
    };
    // Before the call is written down: one that was never made must not count.
    let permit = match ctx.pacer.permit(merchant, Api::Refund).await {
        Ok(permit) => permit,
        Err(put_off) => {
            let at = ctx.clock.now().after(put_off.after.max(PUT_OFF));
            ctx.store.schedule_refund(r.id, r.version, r.queries.done, at).await?;
            return Ok(Called::Waits);
        }
    };
    let begun = Instant::now();
    let lasts = SEND_WITHIN + ctx.config.wechat.timeout;
    let open = match ctx.store.take_call_slot(stored, lasts, ctx.clock.now()).await? {
        CallSlot::Call(open) => open,
        CallSlot::Wait { until } => {
            ctx.store.schedule_refund(r.id, r.version, r.queries.done, until).await?;
            return Ok(Called::Waits);
        }
        CallSlot::Changed => return Ok(Called::Overtaken),
    };
    crate::failpoint::point("refund.called");
    if begun.elapsed() > SEND_WITHIN {
        // This process was stopped, or the database was slow: others do not wait for this call much longer.
        tracing::warn!(refund_no = %r.refund_no, "the slot for the refund call has expired");
        ctx.store.close_call(r, open).await?;
        return Ok(Called::Overtaken);
    }
    let answer = pay::refund(ctx, merchant, client, &stored.params.params, permit).await;
    crate::failpoint::point("refund.answered");
    log(&r.refund_no, &answer);
    judged(ctx, merchant, stored, &answer).await;
    let too_often = matches!(answer, Refunding::TooFrequent(_));
    // Inconclusive replies leave the outcome of the call open.
    let ended = !matches!(answer, Refunding::Doubt(_));
    // Durable before the call counts as over: where the database fails between the two, nothing is lost.
    let called = answered(ctx, merchant, stored, open.before, answer).await?;
    ctx.store.delay_next_call(r, too_often, ctx.clock.now()).await?;
    if ended {
        ctx.store.close_call(r, open).await?;
    }
    Ok(called)
}

/// What the answer says about the merchant's setup.
async fn judged(ctx: &Context, merchant: &Merchant, stored: &StoredRefund, answer: &Refunding) {
    let refusal = match answer {
        Refunding::Accepted(..) => None,
        Refunding::Unknown { .. } => return,
        Refunding::Refused(error)
        | Refunding::Ask(error)
        | Refunding::Doubt(error)
        | Refunding::Later(error)
        | Refunding::TooFrequent(error) => Some(error),
    };
    match refusal.map(|error| (setup_fault(error), error)) {
        Some((Some(fault), error)) => {
            judge_refund(ctx, merchant, poll::appid(stored).as_ref(), fault, error).await;
        }
        // Words without a signature may come from in front of what checks the setup.
        Some((None, error)) if error.is_unsigned() => {}
        Some((None, _)) | None => refund_passed(ctx, merchant).await,
    }
}

/// Without a certificate that it accepts, WeChat's front end answers a page.
fn setup_fault(error: &WechatError) -> Option<SetupFault> {
    match error.code.as_str() {
        WechatError::HTTP => Some(SetupFault::Certificate),
        _ => SetupFault::of(error),
    }
}

/// One line about an answer that does not accept the refund.
fn log(refund_no: &OutRefundNo, answer: &Refunding) {
    match answer {
        Refunding::Accepted(..) => {}
        Refunding::Unknown { why, .. } => tracing::warn!(%refund_no, why, "the outcome of the refund call is unknown"),
        Refunding::Refused(e)
        | Refunding::Ask(e)
        | Refunding::Doubt(e)
        | Refunding::Later(e)
        | Refunding::TooFrequent(e) => {
            tracing::warn!(%refund_no, code = e.code, said = e.message, "WeChat does not accept the refund");
        }
    }
}

/// Takes WeChat's answer to the refund.
async fn answered(
    ctx: &Context,
    merchant: &Merchant,
    stored: &StoredRefund,
    before: u32,
    answer: Refunding,
) -> Result<Called, ApplyError> {
    let (fact, raw) = match answer {
        Refunding::Accepted(accepted, raw) => {
            (RefundFact::Accepted { refund_id: accepted.refund_id }, Some(raw.into_string()))
        }
        Refunding::Refused(error) if before == 0 => {
            let source = RefundSource::Call { raw: None };
            return refused(ctx, merchant, stored, error.clone(), (RefundFact::Refused(error), source)).await;
        }
        Refunding::Refused(error) | Refunding::Ask(error) => {
            let why = format!("{}: {}", error.code, error.message);
            let unheard = RefundFact::Unknown { why, said: Some(error.clone()) };
            return doubted(ctx, merchant, stored, error.clone(), (RefundFact::Refused(error), unheard)).await;
        }
        Refunding::Doubt(error) => {
            let waits = RefundFact::NotYet(error.clone());
            return doubted(ctx, merchant, stored, error, (waits.clone(), waits)).await;
        }
        Refunding::Later(error) => (RefundFact::NotYet(error), None),
        Refunding::TooFrequent(error) => (RefundFact::TooFrequent(error), None),
        Refunding::Unknown { why, said: Some(error) } => {
            let unheard = RefundFact::Unknown { why, said: Some(error.clone()) };
            return refused(ctx, merchant, stored, error, (unheard, RefundSource::Call { raw: None })).await;
        }
        Refunding::Unknown { why, said: None } => (RefundFact::Unknown { why, said: None }, None),
    };
    taken(ctx, merchant, stored, fact, RefundSource::Call { raw }).await
}

/// WeChat does not take a refund that it may know: it is asked first. `unknown` is what follows where it knows none of
/// that number, `unheard` where it does not answer.
async fn doubted(
    ctx: &Context,
    merchant: &Merchant,
    stored: &StoredRefund,
    error: WechatError,
    (unknown, unheard): (RefundFact, RefundFact),
) -> Result<Called, ApplyError> {
    let of_query = || RefundSource::Query { raw: None, verified_by: poll::verified_by(merchant) };
    match poll::ask(ctx, merchant, stored, None, PollTiming::Scheduled).await? {
        Learnt::Changed | Learnt::Unchanged(_) => Ok(Called::Answered),
        // A number is one refund at WeChat: ours was refused, and there will be none under this number.
        Learnt::Refused(RefundRefusal::AnotherPayment) if matches!(unknown, RefundFact::Refused(_)) => {
            taken(ctx, merchant, stored, unknown, of_query()).await
        }
        Learnt::Refused(refusal) | Learnt::Unconfirmed(refusal) => Ok(Called::Refused(refusal)),
        Learnt::NotFound => refused(ctx, merchant, stored, error, (unknown, of_query())).await,
        Learnt::NoAnswer => taken(ctx, merchant, stored, unheard, RefundSource::Call { raw: None }).await,
    }
}

/// Polls again on the refund's own schedule.
pub async fn put_off(ctx: &Context, stored: &StoredRefund) -> Result<(), ApplyError> {
    let r = &stored.refund;
    let done = r.queries.done + 1;
    if let Some(at) = crate::refund::next_refund_poll(r, done, ctx.clock.now()) {
        ctx.store.schedule_refund(r.id, r.version, done, at).await?;
    }
    Ok(())
}
