//! Orders: their states, and the one pure function that moves them. Knows no runtime, web, database or clock.

mod decide;
mod schedule;
mod state;
mod trade_type;

pub use decide::{Change, Decision, LedgerEntry, MAX_ATTEMPTS, News, Refusal, decide, flag_mismatch};
pub use schedule::{UNPLACED, next_query};
pub use state::{Attempt, AttemptState, CNY, Flags, Order, OrderState, PaidBy, Queries};
pub use trade_type::TradeType;
