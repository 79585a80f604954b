//! Held money, refunds, and what of both waits for a second person.

pub mod approvals;
pub mod held;
pub mod refunds;
mod words;
