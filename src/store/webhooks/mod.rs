//! Webhooks: the endpoints, what is to be delivered to them, and each attempt.
//!
//! What must stay true: an event that an endpoint wants becomes one delivery, in the transaction that moves the
//! endpoint's place in the feed; what a delivery becomes is written with the attempt that decided it.

pub(super) mod attempts;
pub(super) mod deliveries;
pub(super) mod endpoints;
pub(super) mod lists;
pub(super) mod messages;
pub(super) mod types;
