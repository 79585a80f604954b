//! Questions about orders that lie further ahead than any schedule puts them: a process whose clock was wrong wrote them.
//!
//! It is no second schedule: it makes such a question due at once, and the answer's handler sets the next one.

use crate::scheduler::table::{Context, Done, JobError};
use crate::store::Fenced;

/// Makes due what is impossibly far ahead.
pub async fn far_questions(ctx: Context) -> Result<Done, JobError> {
    match ctx.store.recall_far_questions(&ctx.lease, ctx.clock.now()).await? {
        Fenced::Done(0) => Ok(Done::default()),
        Fenced::Done(count) => {
            tracing::warn!(count, "questions were set too far ahead: a process's clock is wrong, or was");
            Ok(count.into())
        }
        Fenced::Lost => Err(JobError::Overtaken),
    }
}
