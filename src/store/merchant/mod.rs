//! What is stored of a merchant beside its orders.

pub(super) mod health;
pub(super) mod setup_faults;
