//! Orders: their states, and the pure function that moves them. Knows no runtime, web, database or clock.

mod decide;
mod decision;
mod events;
mod money;
pub(crate) mod payment;
pub(crate) mod schedule;
pub(crate) mod state;
mod steps;

pub use decide::{decide, flag_mismatch};
pub use decision::{
    AutoRefund, Change, Decision, MAX_ATTEMPTS, MAX_REQUESTED_ATTEMPTS, MAX_SETUP_REFUSALS, OrderEvent, PaymentChange,
    PaymentEntry, Refusal,
};
pub use events::of_order;
pub use money::mismatch;
pub use payment::{HeldReason, OrderPayment, PaymentClass};
pub use schedule::{AFTER_EXPIRY, CLOSABLE_AFTER, DAILY, HOURLY, UNPLACED, next_poll, next_query, next_unanswered};
pub use state::{Attempt, AttemptState, CNY, Flags, Intent, Order, OrderState, PaidBy, Policy, Queries, Surplus};
