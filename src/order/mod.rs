//! Orders: their states, and the one pure function that moves them. Knows no runtime, web, database or clock.

mod decide;
mod decision;
mod schedule;
mod state;
mod trade_type;

pub use decide::{decide, flag_mismatch};
pub use decision::{AutoRefund, Change, Decision, LedgerEntry, MAX_ATTEMPTS, MAX_REQUESTED_ATTEMPTS, News, Refusal};
pub use schedule::{AFTER_EXPIRY, CLOSABLE_AFTER, DAILY, HOURLY, UNPLACED, next_look, next_query};
pub use state::{Attempt, AttemptState, CNY, Flags, Intent, Order, OrderState, PaidBy, Policy, Queries, Surplus};
pub use trade_type::TradeType;
