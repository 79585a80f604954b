//! Erasures of payers, in the background.

use crate::ops::erasures::go_on;
use crate::scheduler::job::Context;
use crate::scheduler::outcome::{Done, JobError};

/// Goes on with erasures that are due.
pub async fn erasures(ctx: Context) -> Result<Done, JobError> {
    let count = go_on(&ctx.store, &ctx.clock, &ctx.cancel).await.map_err(JobError::Store)?;
    Ok(Done { count, detail: None })
}
