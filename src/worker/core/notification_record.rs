//! The record of a notification, and the verdict on one that does not verify.

use std::sync::Arc;

use super::config_skew;
use super::context::Context;
use super::error::failed;
use crate::bus::Verdict;
use crate::config::Merchant;
use crate::event::command::{NoticeKind, NotifyReceived};
use crate::event::domain::{DomainData, DomainEvent, NotificationRejected};
use crate::event::envelope::Envelope;
use crate::ids::EventId;
use crate::store::{NotificationKind, NotificationRecord, Posted, Verdict as RecordedVerdict};
use crate::wechat::v2::notify::NotifyError;

pub fn record(ctx: &Context, event: &Envelope<NotifyReceived>, merchant: &Merchant) -> NotificationRecord {
    NotificationRecord {
        id: event.id,
        merchant: merchant.key.clone(),
        kind: match event.data.kind {
            NoticeKind::Pay => NotificationKind::Pay,
            NoticeKind::Refund => NotificationKind::Refund,
        },
        posted: Arc::new(Posted::new(event.data.body.clone(), &event.data.headers)),
        remote_addr: event.data.remote_addr.clone(),
        received_at: event.data.received_at,
        verdict: RecordedVerdict::Waiting,
        out_trade_no: None,
        transaction_id: None,
        verified_by: None,
        order_id: None,
        replay: ctx.replay.clone(),
    }
}

/// The verdict on a notification that does not verify here. It verified in the ingress, and WeChat was answered
/// SUCCESS: this process may lack a new key or app, so it retries before it rejects.
pub async fn unverified(ctx: &Context, record: NotificationRecord, error: &NotifyError, attempt: u32) -> Verdict {
    let why = error.to_string();
    match config_skew::wait(record.received_at, ctx.clock.now(), attempt) {
        Some(after) if error.is_a_matter_of_configuration() => Verdict::Retry { after, why },
        Some(_) | None => rejected(ctx, record, error.reason(), &why).await,
    }
}

async fn rejected(ctx: &Context, record: NotificationRecord, reason: &'static str, why: &str) -> Verdict {
    let id: EventId = record.id;
    let event = DomainEvent {
        merchant: record.merchant.clone(),
        order_no: None,
        data: DomainData::NotificationRejected(NotificationRejected {
            notification_id: id,
            out_trade_no: record.out_trade_no.as_ref().map(ToString::to_string),
            reason,
            message: why.to_owned(),
        }),
    };
    let record = NotificationRecord { verdict: RecordedVerdict::Rejected(reason.into()), ..record };
    match ctx.store.record_notification(&record, Some(event), ctx.clock.now()).await {
        Ok(()) => Verdict::Park { reason, why: why.to_owned() },
        Err(e) => failed(&e),
    }
}
