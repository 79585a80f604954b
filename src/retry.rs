//! Trying again within one piece of work: a few times, with growing and jittered pauses, inside a deadline.
//!
//! This is for seconds, not for hours: what must wait longer is written down in the database with the time it is due.
//! The only place that uses the `backoff` crate, which is no longer maintained; it supplies the sequence of pauses and
//! nothing else, so that replacing it means replacing `pauses`.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff;
use tokio::time::Instant;

/// The number of attempts and their backoff.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The first pause, before jitter of up to half of it either way.
    pub initial: Duration,
    /// The longest pause, before jitter.
    pub max: Duration,
    /// How often the operation runs at most; 0 counts as 1.
    pub tries: u32,
    /// No pause begins that would end later than this after the start. It does not interrupt the operation.
    pub deadline: Duration,
}

/// An error that knows whether trying again can help.
pub trait Transient {
    /// Whether the same operation may succeed soon.
    fn is_transient(&self) -> bool;
}

/// Runs `op` until it succeeds, fails for good, or the policy is used up; then the last error is the result.
pub async fn retry<T, E, F, Fut>(policy: Policy, op: F) -> Result<T, E>
where
    E: Transient,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    retry_while(policy, op, |result| matches!(result, Err(error) if error.is_transient())).await
}

/// Runs `op` until `again` says no to its result, or the policy is used up; gives the last result. For outcomes that
/// are values, where "unknown" is no error.
pub async fn retry_while<T, F, Fut>(policy: Policy, mut op: F, mut again: impl FnMut(&T) -> bool) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = T>,
{
    let started = Instant::now();
    let mut pauses = pauses(policy);
    let mut runs = 1;
    loop {
        let result = op().await;
        if runs >= policy.tries || !again(&result) {
            return result;
        }
        let Some(pause) = pauses.next_backoff().filter(|pause| started.elapsed() + *pause <= policy.deadline) else {
            return result;
        };
        runs += 1;
        tokio::time::sleep(pause).await;
    }
}

fn pauses(policy: Policy) -> ExponentialBackoff {
    let mut pauses = ExponentialBackoff {
        initial_interval: policy.initial,
        max_interval: policy.max,
        // The deadline is kept above, on the runtime's clock.
        max_elapsed_time: None,
        ..ExponentialBackoff::default()
    };
    // The current interval has to be set to the initial one before the first use.
    pauses.reset();
    pauses
}
