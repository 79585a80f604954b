//! Orders: their states, and the pure function that moves them. Knows no runtime, web, database or clock.

mod decide;
mod decision;
pub(crate) mod schedule;
pub(crate) mod state;
mod steps;

pub use decide::{decide, flag_mismatch};
pub use decision::{
    AutoRefund, Change, Decision, LedgerEntry, MAX_ATTEMPTS, MAX_REQUESTED_ATTEMPTS, OrderEvent, Refusal,
};
pub use schedule::{AFTER_EXPIRY, CLOSABLE_AFTER, DAILY, HOURLY, UNPLACED, next_poll, next_query, next_unanswered};
pub use state::{Attempt, AttemptState, CNY, Flags, Intent, Order, OrderState, PaidBy, Policy, Queries, Surplus};
