//! The platform's tokens: fetched when they are due. See [`crate::scheduler::Tokens`].

use crate::scheduler::job::Context;
use crate::scheduler::outcome::{Done, JobError};

/// Refreshes what is due.
pub async fn platform_tokens(ctx: Context) -> Result<Done, JobError> {
    match &ctx.tokens {
        Some(tokens) => tokens.refresh_due(&ctx.store, &ctx.clock, &ctx.lease).await,
        None => Ok(Done::default()),
    }
}
