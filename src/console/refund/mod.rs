//! The refund of a payment: of an order's, and of one that no order has.

mod form;
mod page;
mod target;
mod words;

pub use form::{ask, ask_of_payment, refund, refund_of_payment};
