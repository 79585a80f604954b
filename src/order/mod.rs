//! Orders and refunds: their states, and the pure functions that move them. Knows no runtime, web, database or clock.

mod decide;
mod decision;
mod named;
mod refund;
mod refund_decide;
mod refund_schedule;
mod schedule;
mod state;
mod trade_type;

pub use decide::{decide, flag_mismatch};
pub use decision::{AutoRefund, Change, Decision, LedgerEntry, MAX_ATTEMPTS, MAX_REQUESTED_ATTEMPTS, News, Refusal};
pub use refund::{
    Refund, RefundChange, RefundDecision, RefundEntry, RefundNews, RefundOrigin, RefundRefusal, RefundState,
};
pub use refund_decide::decide_refund;
pub use refund_schedule::{BETWEEN_REFUNDS, MAX_REFUNDS, SEND_WITHIN, UNCALLED, next_refund_look};
pub use schedule::{AFTER_EXPIRY, CLOSABLE_AFTER, DAILY, HOURLY, UNPLACED, next_look, next_query, next_unanswered};
pub use state::{Attempt, AttemptState, CNY, Flags, Intent, Order, OrderState, PaidBy, Policy, Queries, Surplus};
pub use trade_type::TradeType;
