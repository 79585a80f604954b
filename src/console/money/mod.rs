//! Held money and refunds.

pub mod held;
pub mod refunds;
mod words;
