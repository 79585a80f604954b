//! Messages whose next try is later than a bus should hold them: when their time has come they are published again.

use crate::bus::{Message, PublishError};
use crate::ids::EventId;
use crate::scheduler::job::{Context, Reading};
use crate::scheduler::outcome::{Done, JobError};

/// Messages published in one run.
const MESSAGES_PER_RUN: u64 = 500;

/// Whether a message has waited long enough.
pub async fn has_deferred(on: Reading) -> Result<bool, JobError> {
    Ok(!on.store.due_messages(on.now(), 1).await?.is_empty())
}

/// Publishes again what had to wait longer than a bus should hold it.
pub async fn deferred_messages(ctx: Context) -> Result<Done, JobError> {
    let now = ctx.clock.now();
    let due = ctx.store.due_messages(now, MESSAGES_PER_RUN).await?;
    let mut published = 0_u64;
    for stored in due {
        crate::failpoint::point("scheduler.deferred_due");
        let Ok(id) = EventId::parse(&stored.event_id) else {
            tracing::error!(event.id = stored.event_id, "a deferred message has no valid id");
            ctx.store.put_off_deferred(&stored, now).await?;
            continue;
        };
        let message = Message {
            subject: stored.subject.clone(),
            id,
            payload: stored.payload.clone(),
            headers: stored.headers.clone(),
        };
        // Published first, deleted after: a crash in between publishes it twice, and the bus deduplicates it.
        match ctx.bus.publish(message).await {
            Ok(()) => published += 1,
            Err(e @ (PublishError::TooLarge | PublishError::Misdirected(_))) => {
                tracing::error!(event.id = stored.event_id, error = %e, "a deferred message cannot be published");
                ctx.store.put_off_deferred(&stored, now).await?;
                continue;
            }
            Err(e @ (PublishError::Unavailable(_) | PublishError::Full | PublishError::Timeout)) => {
                return Err(e.into());
            }
        }
        crate::failpoint::point("scheduler.deferred_published");
        ctx.store.forget_deferred(&stored).await?;
        crate::failpoint::point("scheduler.deferred_forgotten");
    }
    Ok(published.into())
}
