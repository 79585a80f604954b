//! Erasures of payers, in the background.

use crate::ops::erasures::go_on;
use crate::scheduler::job::{Context, Reading};
use crate::scheduler::outcome::{Done, JobError};

/// Whether an erasure is due.
pub async fn has_due_erasures(on: Reading) -> Result<bool, JobError> {
    Ok(!on.store.due_erasures(on.clock.now(), 1).await?.is_empty())
}

/// Goes on with erasures that are due.
pub async fn erasures(ctx: Context) -> Result<Done, JobError> {
    let count = go_on(&ctx.store, &ctx.clock, &ctx.cancel).await.map_err(JobError::Store)?;
    Ok(Done { count, detail: None })
}
