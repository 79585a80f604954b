//! `refund.requested` and `refund.due`: bring one refund a step on.

use std::time::Duration;

use super::apply::ApplyError;
use super::ask::{Learnt, ask};
use super::call::{Called, call, put_off};
use crate::bus::{Delivery, Verdict};
use crate::config::Merchant;
use crate::event::command::RefundDue;
use crate::event::envelope::Envelope;
use crate::order::{RefundRefusal, RefundState};
use crate::store::StoredRefund;
use crate::worker::Context;
use crate::worker::query::STALE;

/// Handles one refund.
pub async fn due(ctx: &Context, delivery: Delivery) -> Verdict {
    let event = match Envelope::<RefundDue>::parse(&delivery.message.payload) {
        Ok(event) => event,
        Err(e) => return Verdict::Park { reason: "malformed", why: e.to_string() },
    };
    if ctx.clock.now().since(event.time) > STALE {
        // The scheduler published it anew.
        return Verdict::Done;
    }
    let Some(merchant) = crate::worker::handlers::merchant_of(ctx, &delivery.message.subject) else {
        tracing::warn!(subject = delivery.message.subject, "a refund of no configured merchant");
        return Verdict::Done;
    };
    let stored = match ctx.store.refund(&merchant.key, &event.data.refund_no).await {
        Ok(Some(stored)) => stored,
        Ok(None) => return Verdict::Park { reason: "unknown_refund", why: "no such refund".into() },
        Err(e) => return later(e),
    };
    match step(ctx, merchant, &stored, event.data.only_ask).await {
        Ok(None) => Verdict::Done,
        Ok(Some(refusal)) => {
            // It is looked at again by its rhythm, and a person looks at the contradiction.
            if let Err(e) = put_off(ctx, &stored).await {
                return later(e);
            }
            refused(refusal)
        }
        Err(Step::Overtaken) => later("the refund was changed by another worker"),
        Err(Step::Failed(e)) => later(e),
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
    only_ask: bool,
) -> Result<Option<RefundRefusal>, Step> {
    let state = stored.refund.state;
    if state.is_final() {
        return Ok(None);
    }
    if state == RefundState::Requested && only_ask {
        return Ok(None);
    }
    if state != RefundState::Requested {
        match ask(ctx, merchant, stored, None).await? {
            Learnt::Changed | Learnt::Unchanged(_) => return Ok(None),
            Learnt::Refused(refusal) => return Ok(Some(refusal)),
            Learnt::NotFound | Learnt::NoAnswer if only_ask || !state.wants_call() => {
                put_off(ctx, stored).await?;
                return Ok(None);
            }
            Learnt::NotFound | Learnt::NoAnswer => {}
        }
    }
    match call(ctx, merchant, stored).await? {
        Called::Answered | Called::Waits => Ok(None),
        Called::Overtaken => Err(Step::Overtaken),
        Called::Refused(refusal) => Ok(Some(refusal)),
    }
}

fn refused(refusal: RefundRefusal) -> Verdict {
    Verdict::Park { reason: refusal.reason(), why: refusal.to_string() }
}

fn later(why: impl std::fmt::Display) -> Verdict {
    Verdict::Retry { after: Duration::from_secs(1), why: why.to_string() }
}
