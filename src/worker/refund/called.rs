//! What a refund call comes to.

use super::apply::{Applied, ApplyError, PollTiming, apply};
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
    stored: &StoredRefund,
    fact: RefundFact,
    source: RefundSource,
) -> Result<Called, ApplyError> {
    let r = &stored.refund;
    Ok(match apply(ctx, &r.merchant, &r.refund_no, fact, source, None, PollTiming::Scheduled).await? {
        Applied::Changed | Applied::Unchanged => Called::Answered,
        Applied::Refused(refusal) => Called::Refused(refusal),
    })
}
