//! Times that a process whose clock was wrong set too far ahead: see [`Store::recall_far_times`](crate::store::Store).

use crate::scheduler::job::{Context, Reading};
use crate::scheduler::outcome::{Done, JobError};
use crate::store::Fenced;

/// Whether something is impossibly far ahead.
pub async fn has_far_times(on: Reading) -> Result<bool, JobError> {
    Ok(on.store.has_far_times(on.clock.now()).await?)
}

/// Makes due what is impossibly far ahead.
pub async fn far_times(ctx: Context) -> Result<Done, JobError> {
    match ctx.store.recall_far_times(&ctx.lease, ctx.clock.now()).await? {
        Fenced::Done(0) => Ok(Done::default()),
        Fenced::Done(count) => {
            tracing::warn!(count, "what was set too far ahead is due now: a process's clock is wrong, or was");
            Ok(count.into())
        }
        Fenced::Lost => Err(JobError::Overtaken),
    }
}
