//! Notifications that wait for an order and that the bus does not redeliver any more: their message was
//! lost, or its attempts were used up. They are published again, and the workers settle or end them as any other.

use std::time::Duration;

use crate::bus::{Message, PublishError};
use crate::clock::Timestamp;
use crate::event::command::{NoticeKind, NotifyReceived};
use crate::event::envelope::{Envelope, EventData};
use crate::event::subject;
use crate::scheduler::job::{Context, Reading};
use crate::scheduler::outcome::{Done, JobError};
use crate::store::WaitingNotification;
use crate::wechat::v2::notify;
use crate::wechat::v2::notify::{Notice, NoticeResult};

/// Ten minutes more than the workers' own deadline for an order that does not appear: a message that is still there
/// has ended the waiting by then.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600 + 240);
/// Notifications published in one run.
const PER_RUN: u32 = 200;

/// Before when a notification has to have waited to be taken for forgotten.
fn forgotten_before(now: Timestamp) -> Timestamp {
    Timestamp::from_ms(now.as_ms() - i64::try_from(FORGOTTEN_AFTER.as_millis()).unwrap_or(i64::MAX))
}

/// Whether something waits that was forgotten, or was left out.
pub async fn has_orphans(on: Reading) -> Result<bool, JobError> {
    let now = on.clock.now();
    Ok(!on.store.forgotten_notifications(forgotten_before(now), now, 1).await?.is_empty()
        || !on.store.reported_without_payment(1).await?.is_empty()
        || on.store.has_refunded().await?)
}

/// Publishes again what waits and was forgotten.
pub async fn orphans(ctx: Context) -> Result<Done, JobError> {
    let now = ctx.clock.now();
    let before = forgotten_before(now);
    let mut count = 0_u64;
    for waiting in ctx.store.forgotten_notifications(before, now, u64::from(PER_RUN)).await? {
        crate::failpoint::point("scheduler.orphan_found");
        match ctx.bus.publish(again(&waiting, before, now)?).await {
            Ok(()) => count += 1,
            // Its row stays and can be listed; those behind it must not wait for it.
            Err(e @ (PublishError::TooLarge | PublishError::Misdirected(_))) => {
                let id = &waiting.id;
                tracing::error!(event.id = %id, error = %e, "a notification that waits cannot be published again");
            }
            Err(e @ (PublishError::Unavailable(_) | PublishError::Full | PublishError::Timeout)) => {
                return Err(e.into());
            }
        }
        crate::failpoint::point("scheduler.orphan_published");
        ctx.store.note_redelivered(&waiting, now).await?;
        crate::failpoint::point("scheduler.orphan_noted");
    }
    count += entered(&ctx, now).await?;
    count += ctx.store.return_refunded(PER_RUN, now).await?;
    Ok(count.into())
}

/// What a process of the version before leaves out: the rows of payments that it reported as those of no order.
async fn entered(ctx: &Context, now: Timestamp) -> Result<u64, JobError> {
    let mut count = 0;
    for reported in ctx.store.reported_without_payment(u64::from(PER_RUN)).await? {
        let Some(merchant) = ctx.config.merchant(reported.merchant.as_str()) else { continue };
        let app_ids = ctx.config.app_ids(merchant);
        // Verified when it came; what does not verify any more was signed with a key that is gone.
        match notify::parse_and_verify(&reported.body, merchant, &app_ids, reported.received_at) {
            Ok(Notice { result: NoticeResult::Paid(payment), .. }) => {
                ctx.store.enter_unmatched(&reported.merchant, &payment, reported.id, now).await?;
                count += 1;
            }
            Ok(_) => {}
            Err(e) => tracing::warn!(event.id = %reported.id, error = %e, "a payment of no order cannot be entered"),
        }
    }
    Ok(count)
}

fn again(waiting: &WaitingNotification, before: Timestamp, now: Timestamp) -> Result<Message, JobError> {
    let WaitingNotification { id, merchant, body, headers, remote_addr, received_at, checked_at } = waiting.clone();
    // It has waited since `before`, whatever the clock of the process that took it said: the workers' deadline has
    // passed.
    let received_at = received_at.min(before);
    let data = NotifyReceived { body, headers, remote_addr, received_at, kind: NoticeKind::Pay };
    let event = Envelope { id, ..Envelope::new(&merchant, NotifyReceived::TYPE, None, now, data) };
    let payload = event.to_json()?.into_bytes();
    let message = Message { subject: subject::notify_received(&merchant), id, payload, headers: Vec::new() };
    // A crash before this is recorded repeats the publish, and the bus deduplicates it.
    Ok(message.replayed(&checked_at.as_ms().to_string()))
}
