//! The tables as the ORM sees them, one file each.

pub mod attempt;
pub mod dead_letter;
pub mod deferred;
pub mod evidence;
pub mod idempotency_key;
pub mod ledger;
pub mod notification;
pub mod order;
pub mod outbox;
pub mod quarantine;
pub mod refund;
pub mod refund_evidence;
pub mod refund_ledger;
