//! The steps since others may run beside the version that has schema 3.

pub mod m20261201_000010_reconciliations;
pub mod m20261201_000020_webhooks;
pub mod m20261201_000030_book_checks;
pub mod m20261201_000040_periods;
pub mod m20261201_000050_bill_repairs;
pub mod m20261201_000070_placing;
pub mod m20261201_000080_repairs_end;
pub mod m20261201_000090_ended_sessions;
pub mod m20261201_000100_intake;
pub mod m20261201_000120_approvals;
pub mod m20261201_000121_webhook_formats;
pub mod m20261201_000150_erasures;
