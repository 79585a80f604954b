//! `notify.received`: verify again, and settle what WeChat says. Of refunds, `refunds` has the rest.
//!
//! The ingress's verdict is not proof: whatever reached the queue is verified here again, independently.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::future::join_all;

use super::core::context::Context;
use super::core::error::failed;
use super::core::fact::{Applied, Item};
use super::core::fact_applier::ApplyError;
use super::core::handler;
use super::core::handler::Handler;
use super::core::notification_record::{record, unverified};
use super::pay::calls;
use crate::bus::{Delivery, Verdict};
use crate::clock::Timestamp;
use crate::config::Merchant;
use crate::event::command::{NoticeKind, NotifyReceived};
use crate::event::domain::{DomainData, DomainEvent, PaymentOrphaned};
use crate::event::envelope::Envelope;
use crate::event::fact::{Fact, Payment};
use crate::ids::OutTradeNo;
use crate::order::{Order, Queries};
use crate::store::{DbError, EvidenceSource, NotificationRecord, Verdict as RecordedVerdict};
use crate::wechat::v2::notify;
use crate::wechat::v2::notify::{Notice, NoticeResult};
use crate::wechat::v2::query::Asked;

/// How long the order of a payment may take to appear: its own event may be behind the notification.
const ORDER_TIMEOUT: Duration = Duration::from_secs(240);
/// The pauses in between, in seconds.
const PAUSES: &[u64] = &[1, 2, 5, 15, 30, 60];

/// Handles `notify.received` and `notify.refund`.
pub struct Settle;

impl Handler for Settle {
    type Data = NotifyReceived;

    async fn handle(ctx: &Context, merchant: &Merchant, event: Envelope<NotifyReceived>, attempt: u32) -> Verdict {
        if event.data.kind == NoticeKind::Refund {
            return super::refund::notified(ctx, merchant, &event, attempt).await;
        }
        let record = record(ctx, &event, merchant);
        let notice = match notify::parse_and_verify(
            &event.data.body,
            merchant,
            &ctx.app_ids(merchant),
            event.data.received_at,
        ) {
            Ok(notice) => notice,
            Err(e) => return unverified(ctx, record, &e, attempt).await,
        };
        let record = verified(record, &notice);
        crate::failpoint::point("worker.verified");
        match notice.result {
            NoticeResult::Paid(ref payment) => {
                let record = of_payment(record, payment);
                let payment = if asks_first(merchant, &notice, payment) {
                    match confirmed(ctx, merchant, &record, payment, attempt).await {
                        Ok(payment) => payment,
                        Err(verdict) => return verdict,
                    }
                } else {
                    payment.clone()
                };
                let item = Item { ending: ctx.ending.clone(), ..item(ctx, &record, &notice, &payment) };
                let applied = ctx.apply(item).await;
                settled(ctx, applied, record, payment, attempt).await
            }
            NoticeResult::Failed(_) => no_payment(ctx, record, &notice).await,
        }
    }
}

/// Settles the payments that were delivered together in one write. Nothing for a delivery that is no verified payment
/// of a merchant of ours: its own handling says why.
pub async fn settle_together(ctx: &Context, deliveries: Vec<Delivery>) -> Vec<Option<Verdict>> {
    let (mut items, mut payments) = (Vec::with_capacity(deliveries.len()), Vec::with_capacity(deliveries.len()));
    for delivery in &deliveries {
        let event = Envelope::<NotifyReceived>::parse(&delivery.message.payload).ok();
        let payment = event.and_then(|event| payment_of(ctx, &delivery.message.subject, &event));
        payments.push(payment.map(|(item, record, payment)| {
            items.push(Item { ending: delivery.ending.clone(), ..item });
            (record, payment)
        }));
    }
    let mut applied = ctx.applier.apply_together(items).await.into_iter();
    let ends = payments.into_iter().zip(deliveries).map(|(payment, delivery)| {
        let outcome = payment.and_then(|payment| Some((payment, applied.next()?)));
        async move {
            let ((record, payment), applied) = outcome?;
            Some(settled(ctx, applied, record, payment, delivery.attempt).await)
        }
    });
    // Together: those of no order are each recorded by a write of their own.
    join_all(ends).await
}

/// The payment of a record of the intake log, under the same conditions.
pub(in crate::worker) fn item_of(ctx: &Context, subject: &str, event: &Envelope<NotifyReceived>) -> Option<Item> {
    // What panics here panics again in the queue, where it is counted and ends as a dead letter.
    let item = AssertUnwindSafe(|| payment_of(ctx, subject, event).map(|(item, ..)| item));
    std::panic::catch_unwind(item).ok().flatten()
}

fn payment_of(
    ctx: &Context,
    subject: &str,
    event: &Envelope<NotifyReceived>,
) -> Option<(Item, NotificationRecord, Payment)> {
    let merchant = handler::merchant_of(ctx, subject)?;
    if event.data.kind == NoticeKind::Refund {
        return None;
    }
    let apps = ctx.app_ids(merchant);
    let notice = notify::parse_and_verify(&event.data.body, merchant, &apps, event.data.received_at).ok()?;
    let NoticeResult::Paid(payment) = &notice.result else { return None };
    if asks_first(merchant, &notice, payment) {
        return None;
    }
    let record = of_payment(verified(record(ctx, event, merchant), &notice), payment);
    let item = item(ctx, &record, &notice, payment);
    let payment = payment.clone();
    crate::failpoint::point("worker.verified");
    Some((item, record, payment))
}

/// Whether WeChat is asked before this is believed: its signature would hold for another message, too, or it is about
/// more money than the merchant's settings let in unasked.
fn asks_first(merchant: &Merchant, notice: &Notice, payment: &Payment) -> bool {
    notice.is_ambiguous || merchant.settling.query_above.is_some_and(|most| payment.total_fee > most)
}

/// The payment as WeChat's answer has it. Without an answer the message is asked about again, and ends as a dead letter
/// at last: it is never acknowledged unasked.
async fn confirmed(
    ctx: &Context,
    merchant: &Merchant,
    record: &NotificationRecord,
    payment: &Payment,
    attempt: u32,
) -> Result<Payment, Verdict> {
    let now = ctx.clock.now();
    let number = (&payment.transaction_id, &payment.out_trade_no);
    let why = match calls::ask_payment(ctx, merchant, &payment.appid, number).await {
        Asked::Fact(Fact::Paid(said) | Fact::Refunded(said), _) if said.out_trade_no == payment.out_trade_no => {
            return Ok(said);
        }
        Asked::Fact(..) if now.since(record.received_at) >= ORDER_TIMEOUT || ctx.replay.is_some() => {
            let why = "WeChat knows no such payment of this number".to_owned();
            let parked = RecordedVerdict::Parked("query_differs".into());
            let record = NotificationRecord { verdict: parked, ..record.clone() };
            return Err(match ctx.store.record_notification(&record, None, now).await {
                Ok(()) => Verdict::Park { reason: "query_differs", why },
                Err(e) => failed(&e),
            });
        }
        Asked::Fact(..) => "WeChat knows no such payment of this number yet".to_owned(),
        Asked::Refused(error) => format!("WeChat refuses the query: {}", error.message),
        Asked::Unknown { why, .. } => why,
    };
    let pause = PAUSES.get(attempt.saturating_sub(1) as usize).copied().unwrap_or(60);
    Err(match ctx.store.record_notification(record, None, now).await {
        Ok(()) => Verdict::Retry { after: Duration::from_secs(pause), why },
        Err(e) => failed(&e),
    })
}

fn verified(record: NotificationRecord, notice: &Notice) -> NotificationRecord {
    NotificationRecord {
        out_trade_no: Some(notice.out_trade_no.clone()),
        verified_by: Some(format!("{} key {}", notice.sign_type.as_str(), notice.key_fingerprint)),
        ..record
    }
}

fn of_payment(record: NotificationRecord, payment: &Payment) -> NotificationRecord {
    NotificationRecord { transaction_id: Some(payment.transaction_id.clone()), ..record }
}

fn item(ctx: &Context, record: &NotificationRecord, notice: &Notice, payment: &Payment) -> Item {
    let verified_by = record.verified_by.clone().unwrap_or_default();
    let source = EvidenceSource::Notification { id: record.id, verified_by };
    let (merchant, number) = (record.merchant.clone(), notice.out_trade_no.clone());
    Item {
        notification: Some(record.clone()),
        sign_type: Some(notice.sign_type),
        ..Item::new(&ctx.config, merchant, number, Fact::Paid(payment.clone()), source, record.received_at)
    }
}

async fn settled(
    ctx: &Context,
    applied: Result<Applied, ApplyError>,
    record: NotificationRecord,
    payment: Payment,
    attempt: u32,
) -> Verdict {
    match applied {
        Ok(Applied::Settled | Applied::Changed(_) | Applied::Already | Applied::AskAgain { .. }) => Verdict::Done,
        Ok(Applied::Refused { refusal, .. }) => Verdict::Park { reason: refusal.reason(), why: refusal.to_string() },
        Ok(Applied::UnknownOrder) => orphan(ctx, record, payment, attempt).await,
        Err(e) => failed(e),
    }
}

/// The order was not placed here, or its event is not applied yet.
async fn orphan(ctx: &Context, record: NotificationRecord, payment: Payment, attempt: u32) -> Verdict {
    let now = ctx.clock.now();
    let pause = PAUSES.get(attempt.saturating_sub(1) as usize).copied().unwrap_or(60);
    // The deadline is a time, not a number of attempts: a database outage must not use it up.
    let is_early = now.since(record.received_at) < ORDER_TIMEOUT && ctx.replay.is_none();
    let wait = Some(pause).filter(|_| is_early);
    let why = "no order has this out_trade_no".to_owned();
    if let Some(seconds) = wait {
        return match ctx.store.record_notification(&record, None, now).await {
            Ok(()) => Verdict::Retry { after: Duration::from_secs(seconds), why },
            Err(e) => failed(&e),
        };
    }
    let record = NotificationRecord { verdict: RecordedVerdict::Parked("unknown_order".into()), ..record };
    let news = orphaned(&record, payment.clone());
    match ctx.store.record_orphan(&record, &payment, news, now).await {
        Ok(()) => {
            crate::failpoint::point("worker.orphan_reported");
            Verdict::Park { reason: "unknown_order", why }
        }
        Err(e) => failed(&e),
    }
}

fn orphaned(record: &NotificationRecord, payment: Payment) -> DomainEvent {
    DomainEvent {
        merchant: record.merchant.clone(),
        order_no: None,
        data: DomainData::PaymentOrphaned(PaymentOrphaned {
            out_trade_no: payment.out_trade_no,
            transaction_id: payment.transaction_id,
            amount_fen: payment.total_fee,
            currency: payment.fee_type,
            paid_at: payment.time_end,
            notification_id: record.id,
        }),
    }
}

/// A verified message that reports no payment fails nothing; WeChat is asked how the order stands.
async fn no_payment(ctx: &Context, record: NotificationRecord, notice: &Notice) -> Verdict {
    let now = ctx.clock.now();
    let numbers: &[OutTradeNo] = std::slice::from_ref(&notice.out_trade_no);
    let found = match ctx.store.orders_by_out_trade_no(&record.merchant, numbers).await {
        Ok(mut found) => found.pop(),
        Err(e) => return failed(&e),
    };
    let record = NotificationRecord {
        verdict: RecordedVerdict::NoPayment,
        order_id: found.as_ref().map(|o| o.order.id),
        ..record
    };
    if let Err(e) = ctx.store.record_notification(&record, None, now).await {
        return failed(&e);
    }
    if let Some(order) = found
        && order.order.state.is_open()
        && let Err(e) = ask_now(ctx, &order.order, now).await
    {
        return failed(&e);
    }
    Verdict::Done
}

/// The order is asked about at once.
async fn ask_now(ctx: &Context, order: &Order, now: Timestamp) -> Result<(), DbError> {
    let queries = Queries { next_at: Some(now), answered_at: None, ..order.queries };
    ctx.store.schedule_query(order.id, order.version, order.queries.next_at, queries).await
}
