//! What handlers share: context, the handler trait, errors, and the path of a fact to its order.

pub(super) mod config_skew;
pub(super) mod context;
pub(super) mod dead_letter;
pub(super) mod error;
pub(super) mod fact;
pub(super) mod fact_applier;
pub(super) mod handler;
mod loaded;
pub(super) mod notification_record;
pub(super) mod order_uow;
pub(super) mod outage;
mod probes;
pub(super) mod recorder;
pub(super) mod setup_judge;
