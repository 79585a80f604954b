//! The tables as the ORM sees them, one file each.

pub mod attempt;
pub mod dead_letter;
pub mod deferred;
pub mod evidence;
pub mod idempotency_key;
pub mod job;
pub mod job_report;
pub mod ledger;
pub mod login_code;
pub mod notification;
pub mod order;
pub mod outbox;
pub mod payment;
pub mod platform_token;
pub mod quarantine;
pub mod refund;
pub mod refund_evidence;
pub mod refund_ledger;
pub mod user;
