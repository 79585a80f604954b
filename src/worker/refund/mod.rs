//! Refunds: calling WeChat for them, asking what became of them, and what others do with the merchant's money.
//!
//! `step` is what a message asks for, `call` and `poll` are the two calls to WeChat, `apply` takes every answer to
//! its refund, `notification` is WeChat's own report (a reason to ask, never more), `adopt` is for refunds that we did
//! not make.

mod adopt;
mod apply;
mod call;
mod notification;
mod poll;
mod step;

pub(super) use adopt::learn_all;
pub(super) use notification::notified;
pub(super) use step::StepRefund;
