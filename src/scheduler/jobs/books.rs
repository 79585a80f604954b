//! Keeps every merchant's balances at the end of the Beijing day, so that the books need not be summed up from the
//! beginning.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::scheduler::job::Context;
use crate::scheduler::outcome::{Done, JobError};

/// Longer than any transaction that was begun on the day before.
const OVER: Duration = Duration::from_secs(600);
const DAY_MS: i64 = 24 * 3600 * 1000;

pub async fn books(ctx: Context) -> Result<Done, JobError> {
    let over = ctx.clock.now().as_ms() - i64::try_from(OVER.as_millis()).unwrap_or(DAY_MS);
    let end = Timestamp::from_ms(Timestamp::from_ms(over).next_beijing_midnight().as_ms() - DAY_MS);
    let closed = ctx.store.close_day(end).await?;
    Ok(Done {
        count: closed,
        detail: (closed > 0).then(|| format!("closed the day before {end} for {closed} merchants")),
    })
}
