//! A refund notification: a reason to ask WeChat, never more.
//!
//! Its encryption proves little (blocks can be rearranged by a party that saw others), so nothing of it is taken over.
//! What it says and what WeChat says when asked must agree; where they do not after a while, it becomes a dead letter,
//! and WeChat is asked again soon.

use std::time::Duration;

use super::adopt::{Adopted, Owner, adopt, is_first, learn_others};
use super::apply::{ApplyError, PollTiming};
use super::poll::{Answer, Learnt, ask, one};
use crate::bus::Verdict;
use crate::config::Merchant;
use crate::event::command::NotifyReceived;
use crate::event::envelope::Envelope;
use crate::refund::RefundState;
use crate::store::{NotificationRecord, StoredOrder, StoredRefund, Verdict as RecordedVerdict};
use crate::wechat::v2::refund_notify::{RefundHint, parse_and_decrypt};
use crate::wechat::v2::refund_query::RefundStatus;
use crate::worker::core::context::Context;
use crate::worker::core::error::failed;
use crate::worker::core::notification_record::{record, unverified};
use crate::worker::order::poll;

/// The pauses, in seconds, while WeChat's notification and query may still come to agree, or a refund of ours makes
/// room.
const PAUSES: &[u64] = &[1, 3, 5, 60, 300];
/// How often WeChat is asked whether its answer agrees with the notification about our refund.
const TRIES: u32 = 3;
/// When such a refund is polled again: WeChat's answers may lag behind its notifications.
const SOON: Duration = Duration::from_secs(60);
/// How long an order, or a refund that we did not make, may take to appear.
const ORDER_TIMEOUT: Duration = Duration::from_secs(240);
/// How long refunds of ours may hold what another one took: theirs come to their end first.
const ROOM_TIMEOUT: Duration = Duration::from_secs(75 * 60);

pub async fn notified(ctx: &Context, merchant: &Merchant, event: &Envelope<NotifyReceived>, attempt: u32) -> Verdict {
    let record = record(ctx, event, merchant);
    let hint = match parse_and_decrypt(&event.data.body, merchant, &ctx.app_ids(merchant), record.received_at) {
        Ok(hint) => hint,
        Err(e) => return unverified(ctx, record, &e, attempt).await,
    };
    let record = NotificationRecord {
        out_trade_no: Some(hint.out_trade_no.clone()),
        transaction_id: Some(hint.transaction_id.clone()),
        verified_by: Some("decrypted; WeChat was asked".to_owned()),
        ..record
    };
    crate::failpoint::point("refund.notified");
    let done = match ctx.store.refund(&merchant.key, &hint.out_refund_no).await {
        Ok(Some(stored)) => ours(ctx, merchant, &stored, &hint, record, attempt).await,
        Ok(None) => {
            let report = RefundReport { record, attempt };
            theirs(ctx, merchant, &hint, report).await
        }
        Err(e) => return failed(e),
    };
    done.unwrap_or_else(failed)
}

/// About a refund that we know.
async fn ours(
    ctx: &Context,
    merchant: &Merchant,
    stored: &StoredRefund,
    hint: &RefundHint,
    record: NotificationRecord,
    attempt: u32,
) -> Result<Verdict, ApplyError> {
    let record = NotificationRecord { order_id: stored.order_id, ..record };
    if has_ended_so(stored.refund.state, hint.status) {
        return recorded(ctx, record, RecordedVerdict::Duplicate).await;
    }
    let settled = NotificationRecord { verdict: RecordedVerdict::Settled, ..record.clone() };
    let learnt = ask(ctx, merchant, stored, Some(settled), PollTiming::Unscheduled).await?;
    let is_open = match learnt {
        Learnt::Unchanged(status) => status != hint.status,
        Learnt::NotFound | Learnt::NoAnswer | Learnt::Unconfirmed(_) => true,
        Learnt::Changed | Learnt::Refused(_) => false,
    };
    if is_open {
        ctx.store.poll_by(stored.refund.id, ctx.clock.now().after(SOON)).await?;
    }
    match learnt {
        Learnt::Changed => Ok(Verdict::Done),
        Learnt::Unchanged(status) if status == hint.status => recorded(ctx, record, RecordedVerdict::Duplicate).await,
        Learnt::Unchanged(_) | Learnt::NotFound => {
            let why = "WeChat's answer to the query contradicts the notification";
            Ok(doubted(ctx, RefundReport { record, attempt }, attempt < TRIES, "query_differs", why).await)
        }
        Learnt::Refused(refusal) => {
            // This one is the dead letter of it; the refund's own polls make no further ones.
            ctx.store.note_contradiction(stored.refund.id, refusal.reason()).await?;
            Ok(parked(ctx, record, refusal.reason(), &refusal.to_string()).await)
        }
        Learnt::NoAnswer | Learnt::Unconfirmed(_) => {
            Ok(Verdict::Retry { after: Duration::from_secs(5), why: "WeChat does not answer".into() })
        }
    }
}

/// Whether a refund has come to the end that WeChat tells of. Any other status of one that has ended is to be
/// investigated.
fn has_ended_so(state: RefundState, status: RefundStatus) -> bool {
    matches!(
        (state, status),
        (RefundState::Succeeded, RefundStatus::Success) | (RefundState::Failed, RefundStatus::Closed)
    )
}

/// A notification, and how often it was delivered.
struct RefundReport {
    record: NotificationRecord,
    attempt: u32,
}

impl RefundReport {
    /// Whether it came so short a time ago. The deadline is a time, not a number of attempts: a database outage must
    /// not use it up.
    fn is_within(&self, timeout: Duration, ctx: &Context) -> bool {
        ctx.clock.now().since(self.record.received_at) < timeout
    }
}

/// About a number that we never made.
async fn theirs(
    ctx: &Context,
    merchant: &Merchant,
    hint: &RefundHint,
    mut report: RefundReport,
) -> Result<Verdict, ApplyError> {
    let order = paid_order(ctx, merchant, hint).await?;
    let payment = match &order {
        Some(_) => None,
        None => ctx.store.paid_attempt(&merchant.key, &hint.transaction_id).await?.filter(|p| p.order_id.is_none()),
    };
    let (owner, appid) = match (&order, &payment) {
        (Some(order), _) => {
            report.record.order_id = Some(order.order.id);
            (Owner::Order(order), order.order.attempt(&hint.out_trade_no).map(|a| a.appid.clone()))
        }
        (None, Some(payment)) => (Owner::NoOrder(payment), Some(payment.appid.clone())),
        (None, None) => {
            let why = "no payment here has this out_trade_no and transaction_id";
            let waits = report.is_within(ORDER_TIMEOUT, ctx);
            return Ok(doubted(ctx, report, waits, "unknown_order", why).await);
        }
    };
    let Some(appid) = appid else {
        return Ok(parked(ctx, report.record, "unknown_order", "the order has no such attempt").await);
    };
    let (found, raw) = match one(ctx, merchant, &appid, &hint.out_refund_no).await {
        Answer::Found(found, raw) => (found, raw),
        Answer::NotFound => {
            let why = "WeChat's answer to the query has no refund of this number";
            let waits = report.is_within(ORDER_TIMEOUT, ctx);
            return Ok(doubted(ctx, report, waits, "unknown_refund", why).await);
        }
        Answer::None => {
            return Ok(Verdict::Retry { after: Duration::from_secs(5), why: "WeChat does not answer".into() });
        }
    };
    let Some(refund) = found.refunds.iter().find(|r| r.out_refund_no == hint.out_refund_no) else {
        return Ok(parked(ctx, report.record, "unknown_refund", "WeChat's answer has no such refund").await);
    };
    let settled = NotificationRecord { verdict: RecordedVerdict::Settled, ..report.record.clone() };
    match adopt(ctx, merchant, owner, (&found, refund, &raw), Some(settled)).await? {
        // Written with the change; where there was none any more, this is the end of it.
        Adopted::Known => {
            // It may not be the only one.
            learn_others(ctx, merchant, owner, (&appid, &hint.transaction_id)).await?;
            recorded(ctx, report.record, RecordedVerdict::Settled).await
        }
        Adopted::Refused { refusal, row } => {
            // This one is the dead letter of it.
            is_first(ctx, refusal, row).await?;
            Ok(parked(ctx, report.record, refusal.reason(), &refusal.to_string()).await)
        }
        Adopted::Unconfirmed => {
            Ok(Verdict::Retry { after: Duration::from_secs(5), why: "WeChat does not answer".into() })
        }
        Adopted::NoRoom => {
            let why = "refunds of ours hold what this one took";
            let waits = report.is_within(ROOM_TIMEOUT, ctx);
            Ok(doubted(ctx, report, waits, "refund_exceeds", why).await)
        }
    }
}

/// The order, if it is paid by the payment the notification names. One whose payment is not known yet is asked
/// about first.
async fn paid_order(ctx: &Context, merchant: &Merchant, hint: &RefundHint) -> Result<Option<StoredOrder>, ApplyError> {
    let numbers = std::slice::from_ref(&hint.out_trade_no);
    let is_paid = |o: &StoredOrder| o.order.payment(&hint.transaction_id).is_some();
    let Some(order) = ctx.store.orders_by_out_trade_no(&merchant.key, numbers).await?.pop() else { return Ok(None) };
    if is_paid(&order) {
        return Ok(Some(order));
    }
    // Its verdict is about the order; whether it is paid now, its row tells.
    let _ = poll::process(ctx, merchant, order, poll::Why { again: true, ..poll::Why::default() }).await;
    Ok(ctx.store.orders_by_out_trade_no(&merchant.key, numbers).await?.pop().filter(is_paid))
}

/// Retries later, or stores a dead letter.
async fn doubted(ctx: &Context, report: RefundReport, waits: bool, reason: &'static str, why: &str) -> Verdict {
    if !waits {
        return parked(ctx, report.record, reason, why).await;
    }
    let pause = PAUSES.get(report.attempt.saturating_sub(1) as usize).copied().unwrap_or(600);
    Verdict::Retry { after: Duration::from_secs(pause), why: why.to_owned() }
}

async fn parked(ctx: &Context, record: NotificationRecord, reason: &'static str, why: &str) -> Verdict {
    let record = NotificationRecord { verdict: RecordedVerdict::Parked(reason.into()), ..record };
    match ctx.store.record_notification(&record, None, ctx.clock.now()).await {
        Ok(()) => Verdict::Park { reason, why: why.to_owned() },
        Err(e) => failed(e),
    }
}

async fn recorded(ctx: &Context, record: NotificationRecord, verdict: RecordedVerdict) -> Result<Verdict, ApplyError> {
    let record = NotificationRecord { verdict, ..record };
    ctx.store.record_notification(&record, None, ctx.clock.now()).await?;
    Ok(Verdict::Done)
}
