//! What handlers share: context, errors, the table of handlers, and the path of a fact to its order.

pub(super) mod config_skew;
pub(super) mod context;
pub(super) mod dead_letter;
pub(super) mod domain_events;
pub(super) mod error;
pub(super) mod fact_applier;
pub(super) mod handler;
pub(super) mod order_uow;
