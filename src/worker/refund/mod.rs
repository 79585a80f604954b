//! Refunds: calling WeChat for them, asking what became of them, and what others do with the merchant's money.
//!
//! `step` is what a message asks for, `call` and `poll` are the two calls to WeChat, `apply` takes every answer to
//! its refund, `notification` is WeChat's own report (a reason to ask, never more), `list` and `adopt` are for refunds
//! that we did not make, and `refused` for refunds of ours for which those leave no room.

mod adopt;
mod apply;
mod call;
mod called;
mod list;
mod notification;
mod poll;
mod refused;
mod step;

pub(super) use adopt::{Listed, learn_all};
pub(super) use notification::notified;
pub(super) use step::StepRefund;
