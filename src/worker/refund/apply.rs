//! A fact reaches its refund: load, decide, commit; retried when the compare-and-set fails.

use crate::event::fact::RefundFact;
use crate::ids::{MerchantKey, OutRefundNo};
use crate::new_refund;
use crate::refund::{RefundDecision, RefundEvent, RefundRefusal, decide_refund};
use crate::store::{DbError, NotificationRecord, RefundCommit, RefundEvidence, RefundSource};
use crate::telemetry;
use crate::worker::core::context::Context;
use crate::worker::core::error::HandlerError;

/// How often a refund is decided anew because others change it at the same time.
const MAX_ROUNDS: usize = 12;

/// What became of a fact, after it is durable.
#[derive(Debug)]
pub enum Applied {
    /// The refund changed; the notification that led here is recorded with it.
    Changed,
    /// The refund said so already, or nothing follows yet.
    Unchanged,
    /// The fact contradicts the refund unless it is older than the refund's end.
    Doubtful(RefundRefusal),
    /// The fact contradicts the refund.
    Refused(RefundRefusal),
}

/// Why a fact was not applied: try again later.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The database did not take it.
    #[error(transparent)]
    Store(#[from] DbError),
    /// Others kept changing the refund.
    #[error("the refund is changed by others all the time")]
    Contended,
    /// There is no such refund.
    #[error("the refund is gone")]
    Gone,
}

impl From<ApplyError> for HandlerError {
    fn from(e: ApplyError) -> HandlerError {
        match e {
            ApplyError::Store(e) => e.into(),
            ApplyError::Contended | ApplyError::Gone => HandlerError::Failed(e.to_string()),
        }
    }
}

/// Why a fact was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PollTiming {
    /// The refund's time had come: what it says sets the next one.
    Scheduled,
    /// A caller asked, or WeChat notified or listed it: the refund's poll schedule is unchanged.
    Unscheduled,
}

/// Takes `fact` to the refund.
pub async fn apply(
    ctx: &Context,
    merchant: &MerchantKey,
    refund_no: &OutRefundNo,
    fact: RefundFact,
    source: RefundSource,
    notification: Option<NotificationRecord>,
    timing: PollTiming,
) -> Result<Applied, ApplyError> {
    for _ in 0..MAX_ROUNDS {
        let stored = ctx.store.refund(merchant, refund_no).await?.ok_or(ApplyError::Gone)?;
        let now = ctx.clock.now();
        let change = match decide_refund(&stored.refund, &fact, now) {
            RefundDecision::Apply(change) => *change,
            RefundDecision::AlreadyApplied => return Ok(Applied::Unchanged),
            RefundDecision::AskAgain { at } => {
                let r = &stored.refund;
                let was_due = r.queries.next_at.is_none_or(|next| next <= now);
                if timing == PollTiming::Scheduled || was_due {
                    ctx.store.schedule_refund(r.id, r.version, r.queries.done + 1, at).await?;
                } else {
                    ctx.store.refund_answered(r.id, now).await?;
                }
                return Ok(Applied::Unchanged);
            }
            RefundDecision::Doubtful(refusal) => return Ok(Applied::Doubtful(refusal)),
            RefundDecision::Refused(refusal) => return Ok(Applied::Refused(refusal)),
        };
        let (next, news) = (change.next.clone(), change.news);
        let elsewhere = match news {
            Some(RefundEvent::Failed) => ctx.store.refunded_elsewhere(&next).await?,
            _ => None,
        };
        let commit = RefundCommit {
            order_id: stored.order_id,
            before: stored.refund.version,
            unanswered_before: stored.refund.unanswered_at,
            event: news.map(|n| new_refund::refund_event(&next, n, elsewhere).encode(now)),
            change,
            evidence: RefundEvidence { fact: fact.clone(), source: source.clone(), received_at: now },
            notification: notification.clone(),
        };
        if !ctx.store.commit_refund(&commit, now).await? {
            continue;
        }
        crate::failpoint::point("refund.committed");
        if let Some(news) = news {
            metrics::counter!(telemetry::REFUNDS_TOTAL, "merchant" => merchant.to_string(), "outcome" => news.as_str())
                .increment(1);
        }
        return Ok(Applied::Changed);
    }
    Err(ApplyError::Contended)
}
