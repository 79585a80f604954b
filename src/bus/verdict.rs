//! What a handler says about a delivery, and what the loop makes of it.
//!
//! A handler returns a [`Verdict`]; it never acknowledges. [`next_step`] is the only place that decides between an
//! acknowledgement, a short wait in the bus, a long wait in the database and a dead letter. It is pure.
//!
//! What must stay true: a delivery ends in exactly one [`Step`]; waits inside the bus are short and few, because a
//! waiting message keeps one of the consumer's places and would starve fresh ones.

use std::time::Duration;

/// The longest wait inside the bus.
pub const MAX_BUS_DELAY: Duration = Duration::from_secs(5);
/// The most deliveries of one publish after which the bus is still asked to wait.
pub const MAX_BUS_RETRIES: u32 = 5;

/// How long one delivery waits in its place for a database that is away. Then it counts as a failed attempt and goes
/// back to the bus: the database may be away for this process alone. After a few of those it is handed over to the
/// database, which waits for as long as it takes and counts nothing.
pub const AWAY_MAX: Duration = Duration::from_secs(6);

/// How long a message whose row is locked waits after its first attempt, doubled with each, and at most: its attempts
/// are to last for longer than a person leaves a transaction open.
const LOCKED: (Duration, Duration) = (MAX_BUS_DELAY, Duration::from_secs(300));

/// Class of a message that used up its attempts.
pub const EXHAUSTED: &str = "exhausted";
/// Class of a delivery whose handler panicked.
pub const PANIC: &str = "panic";
/// Class of a delivery whose handler came to no end.
pub const STUCK: &str = "stuck";
/// Class of a message on our subjects that this service did not publish.
pub const ALIEN: &str = "alien";

/// What a handler concluded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Finished, its effects durable.
    Done,
    /// Not now. The message comes again after about `after`, until its attempts are used up.
    Retry {
        /// How long to wait.
        after: Duration,
        /// What went wrong, without secrets or personal data.
        why: String,
    },
    /// What the handler needs is away (the database), which says nothing about the message. It is handled again in its
    /// place without counting, for [`AWAY_MAX`] at most; then that is one failed attempt.
    Unavailable {
        /// What went wrong, without secrets or personal data.
        why: String,
    },
    /// A row that it needs is locked by others for too long. The database takes other writes, so nothing else waits:
    /// the message comes again after growing waits, until its attempts are used up.
    Locked {
        /// What went wrong, without secrets or personal data.
        why: String,
    },
    /// Never redelivered: an operator has to investigate it.
    Park {
        /// The class of the reason, for counting and filtering.
        reason: &'static str,
        /// What went wrong, without secrets or personal data.
        why: String,
    },
}

/// What becomes of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Acknowledge.
    Ack,
    /// Leave it with the bus, which delivers it again.
    Wait {
        /// Not before this has passed.
        after: Duration,
        why: String,
    },
    /// Hand it to the database, which publishes it again.
    Defer {
        /// Not before this has passed.
        after: Duration,
        why: String,
    },
    /// Hand it to the dead letters.
    Park { reason: &'static str, why: String },
}

/// What is known about a delivery when its handler returns.
#[derive(Debug, Clone, Copy)]
pub struct Tries {
    /// Deliveries over all, this one included.
    pub attempt: u32,
    /// Deliveries since the last publish, this one included.
    pub on_bus: u32,
    /// Attempts after which the message is parked.
    pub max_attempts: u32,
    /// Whether the bus has room for one more waiting message.
    pub bus_has_room: bool,
}

/// Decides what becomes of a delivery.
pub fn next_step(verdict: Verdict, tries: Tries) -> Step {
    match verdict {
        Verdict::Done => Step::Ack,
        Verdict::Park { reason, why } => Step::Park { reason, why },
        // It was away for as long as one delivery waits for it: from here on it is a failed attempt like any other.
        Verdict::Unavailable { why } => next_step(Verdict::Retry { after: MAX_BUS_DELAY, why }, tries),
        Verdict::Locked { why } => next_step(Verdict::Retry { after: after_lock(tries.attempt), why }, tries),
        Verdict::Retry { why, .. } if tries.attempt >= tries.max_attempts => Step::Park { reason: EXHAUSTED, why },
        Verdict::Retry { after, why }
            if after <= MAX_BUS_DELAY && tries.on_bus <= MAX_BUS_RETRIES && tries.bus_has_room =>
        {
            Step::Wait { after, why }
        }
        Verdict::Retry { after, why } => Step::Defer { after, why },
    }
}

fn after_lock(attempt: u32) -> Duration {
    let doubled = 1 << attempt.saturating_sub(1).min(10);
    LOCKED.0.saturating_mul(doubled).min(LOCKED.1)
}
