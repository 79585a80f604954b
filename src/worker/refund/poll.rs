//! `refundquery` about one refund: the only source that makes it refunded, abnormal or closed.

use super::apply::{Applied, ApplyError, PollTiming, apply};
use crate::config::Merchant;
use crate::event::fact::{RefundFact, RefundSeen, RefundStanding};
use crate::ids::{AppId, OutRefundNo};
use crate::refund::RefundRefusal;
use crate::store::{NotificationRecord, RefundSource, StoredRefund};
use crate::wechat::v2::refund_query::{Refund, RefundStatus, Refunds, RefundsAsked, Which};
use crate::wechat::v2::reply::RawReply;
use crate::worker::core::context::Context;
use crate::worker::core::setup_judge::judge;
use crate::worker::pay::calls;

#[derive(Debug)]
pub enum Learnt {
    /// WeChat said how it stands, and the refund took it over.
    Changed,
    /// WeChat said how it stands, and nothing followed.
    Unchanged(RefundStatus),
    /// WeChat said what cannot be, unless it meant how the refund stood before it ended, and did not say it again.
    Unconfirmed(RefundRefusal),
    /// WeChat says what cannot be.
    Refused(RefundRefusal),
    /// WeChat knows no such refund.
    NotFound,
    /// No answer to build on.
    NoAnswer,
}

/// The app in whose name a refund is asked about.
pub fn appid(stored: &StoredRefund) -> Option<AppId> {
    stored.params.params.get("appid").and_then(|id| AppId::parse(id.clone()).ok())
}

/// Asks about a refund of ours and takes the answer to it; `notification` is recorded if that changes it.
pub async fn ask(
    ctx: &Context,
    merchant: &Merchant,
    stored: &StoredRefund,
    notification: Option<NotificationRecord>,
    timing: PollTiming,
) -> Result<Learnt, ApplyError> {
    match ask_once(ctx, merchant, stored, notification.clone(), timing).await? {
        Learnt::Unconfirmed(refusal) => confirm(ctx, merchant, stored, refusal, notification, timing).await,
        learnt
        @ (Learnt::Changed | Learnt::Unchanged(_) | Learnt::Refused(_) | Learnt::NotFound | Learnt::NoAnswer) => {
            Ok(learnt)
        }
    }
}

/// Asks again about a refund that an answer contradicts which may be older than the refund's end. What WeChat says
/// again is no longer that; without an answer it remains unconfirmed.
pub async fn confirm(
    ctx: &Context,
    merchant: &Merchant,
    stored: &StoredRefund,
    refusal: RefundRefusal,
    notification: Option<NotificationRecord>,
    timing: PollTiming,
) -> Result<Learnt, ApplyError> {
    Ok(match ask_once(ctx, merchant, stored, notification, timing).await? {
        Learnt::Unconfirmed(again) => Learnt::Refused(again),
        Learnt::NotFound | Learnt::NoAnswer => Learnt::Unconfirmed(refusal),
        learnt @ (Learnt::Changed | Learnt::Unchanged(_) | Learnt::Refused(_)) => learnt,
    })
}

async fn ask_once(
    ctx: &Context,
    merchant: &Merchant,
    stored: &StoredRefund,
    notification: Option<NotificationRecord>,
    timing: PollTiming,
) -> Result<Learnt, ApplyError> {
    let refund_no = &stored.refund.refund_no;
    let Some(appid) = appid(stored) else { return Ok(Learnt::NoAnswer) };
    let (found, raw) = match one(ctx, merchant, &appid, refund_no).await {
        Answer::Found(found, raw) => (found, raw),
        Answer::NotFound => return Ok(Learnt::NotFound),
        Answer::None => return Ok(Learnt::NoAnswer),
    };
    let Some(refund) = found.refunds.iter().find(|r| r.out_refund_no == *refund_no) else {
        return Ok(Learnt::NoAnswer);
    };
    let fact = RefundFact::Status(seen(&found, refund));
    Ok(match apply(ctx, &merchant.key, refund_no, fact, source(merchant, &raw), notification, timing).await? {
        Applied::Changed => Learnt::Changed,
        Applied::Unchanged => Learnt::Unchanged(refund.status),
        Applied::Doubtful(refusal) => Learnt::Unconfirmed(refusal),
        Applied::Refused(refusal) => Learnt::Refused(refusal),
    })
}

/// WeChat's answer about one number.
pub enum Answer {
    /// It knows it.
    Found(Refunds, RawReply),
    /// It knows no such refund.
    NotFound,
    /// Nothing to build on.
    None,
}

/// Asks about one number, ours or not.
pub async fn one(ctx: &Context, merchant: &Merchant, appid: &AppId, refund_no: &OutRefundNo) -> Answer {
    let asked = calls::ask_refunds(ctx, merchant, appid, &Which::Refund(refund_no.clone())).await;
    crate::failpoint::point("refund.asked");
    match asked {
        RefundsAsked::Found(found, raw) => Answer::Found(found, raw),
        RefundsAsked::NotFound => Answer::NotFound,
        RefundsAsked::Refused(error) => {
            let (code, said) = (&error.code, &error.message);
            tracing::warn!(%refund_no, code, said, "WeChat refuses the query about a refund");
            judge(ctx, merchant, Some(appid), &error).await;
            Answer::None
        }
        RefundsAsked::Unknown { why, .. } => {
            tracing::info!(%refund_no, why, "the query about a refund has no conclusive answer");
            Answer::None
        }
    }
}

/// A refund as WeChat's answer has it.
pub fn seen(found: &Refunds, refund: &Refund) -> RefundSeen {
    RefundSeen {
        refund_id: refund.refund_id.clone(),
        transaction_id: found.transaction_id.clone(),
        refund_fee: refund.refund_fee,
        status: match refund.status {
            RefundStatus::Processing => RefundStanding::Processing,
            RefundStatus::Success => RefundStanding::Success { at: refund.success_time },
            RefundStatus::Closed => RefundStanding::Closed,
            RefundStatus::Abnormal => RefundStanding::Change,
        },
    }
}

/// The evidence of such an answer.
pub fn source(merchant: &Merchant, raw: &RawReply) -> RefundSource {
    RefundSource::Query { raw: Some(raw.as_str().to_owned()), verified_by: verified_by(merchant) }
}

/// Which key verified an answer.
pub fn verified_by(merchant: &Merchant) -> String {
    format!("reply signed with key {}", merchant.v2_key.fingerprint())
}
