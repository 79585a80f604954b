//! Refunds: calling WeChat for them, asking what became of them, and what others do with the merchant's money.
//!
//! `handle` is what a message asks for, `call` and `ask` are the two questions to WeChat, `apply` takes every answer to
//! its refund, `notice` is WeChat's own word (a reason to ask, never more), `adopt` is for refunds that we did not
//! make.

mod adopt;
mod apply;
mod call;
mod notification;
mod poll;
mod step;

pub(super) use adopt::learn_all;
pub(super) use notification::told;
pub(super) use step::due;
