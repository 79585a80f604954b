//! Payments in the database: their classes, the ledger of every change, and the audit of who made it.

pub(super) mod audit;
pub(super) mod commit;
pub(super) mod read;
