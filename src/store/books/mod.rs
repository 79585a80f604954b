//! The books of a merchant: every payment, change of class and refund in the order of recording, balances, and what the
//! comparison with orders, refunds and events reads.

pub(super) mod checks;
pub(super) mod closings;
pub(super) mod currencies;
pub(super) mod days;
pub(super) mod detail;
pub(super) mod events;
pub(super) mod facts;
pub(super) mod lines;
pub(super) mod periods;
pub(super) mod reader;
pub(super) mod rows;
