//! Refunds in the database: recording, reading, the commit of a decision, and the slot of the call in flight.

pub(super) mod call_slot;
pub(super) mod cap;
mod claim;
pub(super) mod commit;
mod elsewhere;
pub(super) mod lock;
pub(super) mod record;
pub(super) mod rows;
mod targets;
