//! The platform's tokens: fetched when they are due. See [`crate::scheduler::Tokens`].

use crate::scheduler::job::{Context, Reading};
use crate::scheduler::outcome::{Done, JobError};

/// Whether a value is due.
pub async fn has_due_tokens(on: Reading) -> Result<bool, JobError> {
    match &on.tokens {
        Some(tokens) => Ok(tokens.is_due(&on.store, on.now()).await?),
        None => Ok(false),
    }
}

/// Refreshes what is due.
pub async fn platform_tokens(ctx: Context) -> Result<Done, JobError> {
    match &ctx.tokens {
        Some(tokens) => tokens.refresh_due(&ctx.store, &ctx.clock, &ctx.lease).await,
        None => Ok(Done::default()),
    }
}
