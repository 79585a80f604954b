//! `refund.requested` and `refund.due`: advance one refund by one step.

use super::adopt::{Owner, learn_others};
use super::apply::{ApplyError, PollTiming};
use super::call::{call, put_off};
use super::called::Called;
use super::poll::{Learnt, ask};
use crate::bus::Verdict;
use crate::config::Merchant;
use crate::event::command::RefundDue;
use crate::event::envelope::Envelope;
use crate::refund::{Refund, RefundRefusal, RefundState};
use crate::store::StoredRefund;
use crate::worker::core::context::Context;
use crate::worker::core::error::{HandlerError, failed};
use crate::worker::core::handler::Handler;
use crate::worker::order::poll::STALE;

/// Handles `refund.requested` and `refund.due`.
pub struct StepRefund;

impl Handler for StepRefund {
    type Data = RefundDue;

    /// A refund keeps its due time: when its merchant is configured again, it goes on.
    const REPUBLISHED: bool = true;

    async fn handle(ctx: &Context, merchant: &Merchant, event: Envelope<RefundDue>, attempt: u32) -> Verdict {
        let stored = match ctx.store.refund(&merchant.key, &event.data.refund_no).await {
            Ok(Some(stored)) => stored,
            Ok(None) => return Verdict::Park { reason: "unknown_refund", why: "no such refund".into() },
            Err(e) => return failed(e),
        };
        let now = ctx.clock.now();
        // Under clock skew nothing due may be dropped: an old poll is dropped only where the refund has a later one.
        let has_a_later_one = stored.refund.queries.next_at.is_none_or(|at| at > now);
        if ctx.replay.is_none() && now.since(event.time) > STALE && has_a_later_one {
            return Verdict::Done;
        }
        let only_ask = event.data.only_ask;
        match step(ctx, merchant, &stored, (only_ask, attempt > 1)).await {
            Ok(None) => Verdict::Done,
            Ok(Some(refusal)) => match contradicted(ctx, &stored, refusal, only_ask).await {
                // The process that noted it may have crashed before its dead letter was stored.
                Ok(first) if first || attempt > 1 => refused(refusal),
                Ok(_) => Verdict::Done,
                Err(e) => failed(e),
            },
            Err(Step::Overtaken) => failed(HandlerError::Failed("the refund must be loaded again".into())),
            Err(Step::Failed(e)) => failed(e),
        }
    }
}

enum Step {
    Overtaken,
    Failed(ApplyError),
}

impl From<ApplyError> for Step {
    fn from(e: ApplyError) -> Step {
        Step::Failed(e)
    }
}

/// Asks about what WeChat may know, calls for what it does not. A contradiction is the result, if there was one.
async fn step(
    ctx: &Context,
    merchant: &Merchant,
    stored: &StoredRefund,
    (only_ask, again): (bool, bool),
) -> Result<Option<RefundRefusal>, Step> {
    let state = stored.refund.state;
    if state.is_final() {
        return if again { after_its_end(ctx, merchant, stored).await } else { Ok(None) };
    }
    if state == RefundState::Requested && only_ask {
        return Ok(None);
    }
    if state != RefundState::Requested {
        let timing = if only_ask { PollTiming::Unscheduled } else { PollTiming::Scheduled };
        match ask(ctx, merchant, stored, None, timing).await? {
            Learnt::Changed | Learnt::Unchanged(_) => return Ok(None),
            // Whether ours can be is known from the answer to its own call.
            Learnt::Refused(RefundRefusal::AnotherPayment) if state.wants_call() && !only_ask => {}
            // The refund has ended and is not polled again: a person is better asked in vain than not.
            Learnt::Refused(refusal) | Learnt::Unconfirmed(refusal) => return Ok(Some(refusal)),
            // Who only asks moves nothing: the call that is due comes when it is due.
            Learnt::NotFound if only_ask => {
                ctx.store.refund_answered(stored.refund.id, ctx.clock.now()).await.map_err(ApplyError::from)?;
                return Ok(None);
            }
            Learnt::NoAnswer if only_ask => return Ok(None),
            Learnt::NotFound | Learnt::NoAnswer if !state.wants_call() => {
                put_off(ctx, stored).await?;
                return Ok(None);
            }
            Learnt::NotFound | Learnt::NoAnswer => {}
        }
    }
    if state == RefundState::Requested && stored.order_id.is_none() {
        learn_unmatched(ctx, merchant, &stored.refund).await?;
    }
    match call(ctx, merchant, stored).await? {
        Called::Answered | Called::Waits => Ok(None),
        Called::Overtaken => Err(Step::Overtaken),
        Called::Refused(refusal) => Ok(Some(refusal)),
    }
}

/// The process that had the message before may have crashed between WeChat's answer that contradicts the refund's end
/// and its dead letter: WeChat is asked once more.
async fn after_its_end(
    ctx: &Context,
    merchant: &Merchant,
    stored: &StoredRefund,
) -> Result<Option<RefundRefusal>, Step> {
    Ok(match ask(ctx, merchant, stored, None, PollTiming::Unscheduled).await? {
        Learnt::Refused(refusal) | Learnt::Unconfirmed(refusal) => match refusal {
            RefundRefusal::UndoneAfterSuccess | RefundRefusal::AliveAfterFailure => Some(refusal),
            // Why it failed.
            RefundRefusal::Differs | RefundRefusal::AnotherPayment | RefundRefusal::RefundIdDiffers => None,
        },
        Learnt::Changed | Learnt::Unchanged(_) | Learnt::NotFound | Learnt::NoAnswer => None,
    })
}

/// No poll tells of refunds of a payment of no order: they are learnt before ours is called for.
async fn learn_unmatched(ctx: &Context, merchant: &Merchant, refund: &Refund) -> Result<(), ApplyError> {
    let payment = ctx.store.paid_attempt(&refund.merchant, &refund.transaction_id).await?;
    if let Some(payment) = payment.filter(|payment| payment.order_id.is_none()) {
        let of = (&payment.appid, &payment.transaction_id);
        learn_others(ctx, merchant, Owner::NoOrder(&payment), of).await?;
    }
    Ok(())
}

/// Polls the refund again on its schedule, and records the contradiction for a dead letter. `true`: for the first time.
async fn contradicted(
    ctx: &Context,
    stored: &StoredRefund,
    refusal: RefundRefusal,
    only_ask: bool,
) -> Result<bool, ApplyError> {
    if only_ask {
        ctx.store.refund_answered(stored.refund.id, ctx.clock.now()).await?;
    } else {
        put_off(ctx, stored).await?;
    }
    Ok(ctx.store.note_contradiction(stored.refund.id, refusal.reason()).await?)
}

fn refused(refusal: RefundRefusal) -> Verdict {
    Verdict::Park { reason: refusal.reason(), why: refusal.to_string() }
}
