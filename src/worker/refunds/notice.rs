//! A refund notification: a reason to ask WeChat, never more.
//!
//! Its encryption proves little (blocks can be rearranged by whoever saw others), so nothing of it is taken over. What it
//! says and what WeChat says when asked must agree; where they do not after some tries, a person looks.

use std::time::Duration;

use super::adopt::{Adopted, adopt};
use super::apply::ApplyError;
use super::ask::{Answer, Learnt, ask, one};
use crate::bus::{Delivery, Verdict};
use crate::config::Merchant;
use crate::event::command::NotifyReceived;
use crate::event::envelope::Envelope;
use crate::store::{NotificationRecord, StoredOrder, StoredRefund, Verdict as Fate};
use crate::wechat::v2::refund_notify::{RefundHint, parse_and_decrypt};
use crate::worker::settle::{record, rejected, store_failed};
use crate::worker::{Context, query};

/// The pauses, in seconds, while WeChat's two voices may still come to agree, or a refund of ours makes room.
const PAUSES: &[u64] = &[1, 3, 5, 60, 300];

/// Whether a body is JSON: the newer API's notification, which its own key opens.
pub fn is_json(body: &[u8]) -> bool {
    body.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{')
}

/// Handles one notification.
pub async fn told(
    ctx: &Context,
    merchant: &Merchant,
    event: &Envelope<NotifyReceived>,
    delivery: &Delivery,
) -> Verdict {
    let record = record(event, merchant);
    if is_json(&event.data.body) {
        return parked(ctx, record, "needs_v3_key", "a notification of API v3, whose key is not configured").await;
    }
    let hint = match parse_and_decrypt(&event.data.body, merchant, &ctx.app_ids(merchant), record.received_at) {
        Ok(hint) => hint,
        Err(e) => return rejected(ctx, record, e.reason(), &e.to_string()).await,
    };
    let record = NotificationRecord {
        out_trade_no: Some(hint.out_trade_no.clone()),
        transaction_id: Some(hint.transaction_id.clone()),
        verified_by: Some("decrypted; WeChat was asked".to_owned()),
        ..record
    };
    crate::crash::point("refund.notified");
    let done = match ctx.store.refund(&merchant.key, &hint.out_refund_no).await {
        Ok(Some(stored)) => ours(ctx, merchant, &stored, &hint, record, delivery.attempt).await,
        Ok(None) => theirs(ctx, merchant, &hint, record, delivery.attempt).await,
        Err(e) => return store_failed(&e),
    };
    done.unwrap_or_else(|e| Verdict::Retry { after: Duration::from_secs(1), why: e.to_string() })
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
    let record = NotificationRecord { order_id: Some(stored.order_id), ..record };
    if stored.refund.state.is_final() {
        return recorded(ctx, record, Fate::Duplicate).await;
    }
    let settled = NotificationRecord { verdict: Fate::Settled, ..record.clone() };
    match ask(ctx, merchant, stored, Some(settled)).await? {
        Learnt::Changed => Ok(Verdict::Done),
        Learnt::Unchanged(status) if status == hint.status => recorded(ctx, record, Fate::Duplicate).await,
        Learnt::Unchanged(_) | Learnt::NotFound => {
            let why = "WeChat, asked about the refund, says otherwise";
            Ok(doubted(ctx, record, attempt, 3, "query_differs", why).await)
        }
        Learnt::Refused(refusal) => Ok(parked(ctx, record, refusal.reason(), &refusal.to_string()).await),
        Learnt::NoAnswer => Ok(Verdict::Retry { after: Duration::from_secs(5), why: "WeChat does not answer".into() }),
    }
}

/// About a number that we never made.
async fn theirs(
    ctx: &Context,
    merchant: &Merchant,
    hint: &RefundHint,
    record: NotificationRecord,
    attempt: u32,
) -> Result<Verdict, ApplyError> {
    let Some(order) = paid_order(ctx, merchant, hint).await? else {
        let why = "no paid order has this out_trade_no and transaction_id";
        return Ok(doubted(ctx, record, attempt, 4, "unknown_order", why).await);
    };
    let record = NotificationRecord { order_id: Some(order.order.id), ..record };
    let Some(appid) = order.order.attempt(&hint.out_trade_no).map(|a| a.appid.clone()) else {
        return Ok(parked(ctx, record, "unknown_order", "the order has no such attempt").await);
    };
    let (found, raw) = match one(ctx, merchant, &appid, &hint.out_refund_no).await {
        Answer::Found(found, raw) => (found, raw),
        Answer::NotFound => {
            let why = "WeChat, asked about the refund, knows none of this number";
            return Ok(doubted(ctx, record, attempt, 3, "unknown_refund", why).await);
        }
        Answer::None => {
            return Ok(Verdict::Retry { after: Duration::from_secs(5), why: "WeChat does not answer".into() });
        }
    };
    let Some(refund) = found.refunds.iter().find(|r| r.out_refund_no == hint.out_refund_no) else {
        return Ok(parked(ctx, record, "unknown_refund", "WeChat's answer has no such refund").await);
    };
    let settled = NotificationRecord { verdict: Fate::Settled, ..record.clone() };
    match adopt(ctx, merchant, &order, (&found, refund, &raw), Some(settled)).await? {
        // Written with the change; where there was none any more, this is the end of it.
        Adopted::Known => recorded(ctx, record, Fate::Settled).await,
        Adopted::Refused(refusal) => Ok(parked(ctx, record, refusal.reason(), &refusal.to_string()).await),
        Adopted::NoRoom => {
            let why = "refunds of ours hold what this one took";
            Ok(doubted(ctx, record, attempt, 12, "refund_exceeds", why).await)
        }
    }
}

/// The order, if it is paid by the payment the notification names. One whose payment we have not heard of is asked about
/// first.
async fn paid_order(ctx: &Context, merchant: &Merchant, hint: &RefundHint) -> Result<Option<StoredOrder>, ApplyError> {
    let numbers = std::slice::from_ref(&hint.out_trade_no);
    let is_paid = |o: &StoredOrder| o.order.transactions.contains(&hint.transaction_id);
    let Some(order) = ctx.store.orders_by_out_trade_no(&merchant.key, numbers).await?.pop() else { return Ok(None) };
    if is_paid(&order) {
        return Ok(Some(order));
    }
    // Its verdict is about the order; whether it is paid now, its row tells.
    let _ = query::look_after(ctx, merchant, order, query::Why { again: true, ..query::Why::default() }).await;
    Ok(ctx.store.orders_by_out_trade_no(&merchant.key, numbers).await?.pop().filter(is_paid))
}

/// Waits a little, `tries` times; then a person looks.
async fn doubted(
    ctx: &Context,
    record: NotificationRecord,
    attempt: u32,
    tries: u32,
    reason: &'static str,
    why: &str,
) -> Verdict {
    if attempt >= tries {
        return parked(ctx, record, reason, why).await;
    }
    let pause = PAUSES.get(attempt.saturating_sub(1) as usize).copied().unwrap_or(600);
    Verdict::Retry { after: Duration::from_secs(pause), why: why.to_owned() }
}

async fn parked(ctx: &Context, record: NotificationRecord, reason: &'static str, why: &str) -> Verdict {
    let record = NotificationRecord { verdict: Fate::Parked(reason.into()), ..record };
    match ctx.store.record_notification(&record, None, ctx.clock.now()).await {
        Ok(()) => Verdict::Park { reason, why: why.to_owned() },
        Err(e) => store_failed(&e),
    }
}

async fn recorded(ctx: &Context, record: NotificationRecord, fate: Fate) -> Result<Verdict, ApplyError> {
    let record = NotificationRecord { verdict: fate, ..record };
    ctx.store.record_notification(&record, None, ctx.clock.now()).await?;
    Ok(Verdict::Done)
}
