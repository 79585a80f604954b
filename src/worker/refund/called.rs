//! What a refund call comes to.

use super::apply::{Applied, ApplyError, PollTiming, apply};
use super::poll::{Learnt, confirm};
use crate::config::Merchant;
use crate::event::fact::RefundFact;
use crate::refund::RefundRefusal;
use crate::store::{RefundSource, StoredRefund};
use crate::worker::core::context::Context;

/// The result of a call; all of it is durable.
#[derive(Debug)]
pub enum Called {
    /// The answer reached the refund.
    Answered,
    /// Not now: the refund is scheduled.
    Waits,
    /// Another process changed the refund, or too much time passed: the next step must be decided anew.
    Overtaken,
    /// WeChat says what cannot be.
    Refused(RefundRefusal),
}

/// Takes what a call brought to the refund.
pub async fn taken(
    ctx: &Context,
    merchant: &Merchant,
    stored: &StoredRefund,
    fact: RefundFact,
    source: RefundSource,
) -> Result<Called, ApplyError> {
    let r = &stored.refund;
    let timing = PollTiming::Scheduled;
    let refusal = match apply(ctx, &r.merchant, &r.refund_no, fact, source, None, timing).await? {
        Applied::Changed | Applied::Unchanged => return Ok(Called::Answered),
        Applied::Refused(refusal) => return Ok(Called::Refused(refusal)),
        Applied::Doubtful(refusal) => refusal,
    };
    Ok(match confirm(ctx, merchant, stored, refusal, None, timing).await? {
        Learnt::Changed | Learnt::Unchanged(_) => Called::Answered,
        Learnt::Refused(refusal) | Learnt::Unconfirmed(refusal) => Called::Refused(refusal),
        Learnt::NotFound | Learnt::NoAnswer => Called::Refused(refusal),
    })
}
