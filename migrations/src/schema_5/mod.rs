//! The steps since others may run beside the version that has schema 4.

pub mod m20261202_000180_webhook_messages;
pub mod m20261202_000190_ledger_closings;
pub mod m20261202_000200_due_indexes;
pub mod m20261202_000210_refund_moves;
pub mod m20261202_000220_explained_days;
pub mod m20261202_000230_plain_checks;
