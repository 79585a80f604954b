//! The books of a merchant: every payment, change of class and refund in the order of recording, and balances.

pub(super) mod closings;
pub(super) mod rows;
