//! Refunds: their states, and the pure function that moves them. Knows no runtime, web, database or clock.

mod decide;
mod schedule;
mod state;

pub use decide::decide_refund;
pub use schedule::{BETWEEN_REFUNDS, MAX_REFUNDS, SEND_WITHIN, UNCALLED, next_refund_poll};
pub use state::{
    Refund, RefundChange, RefundDecision, RefundEntry, RefundEvent, RefundOrigin, RefundRefusal, RefundState,
};
