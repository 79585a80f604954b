//! Notifications: one on the wire, when it is repeated, and those of refunds.

pub(super) mod notification;
pub(super) mod notifier;
pub(super) mod refund_notification;
pub(super) mod schedule;
pub(super) mod sender;
