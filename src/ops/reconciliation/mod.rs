//! Reconciliations: asked for, read, their lines explained and repaired.

mod ask;
mod read;
mod repair;
mod resolve;

pub use ask::{AskError, Asked, ask};
pub use read::{day, days, line, lines};
pub use repair::{Mend, MendOutcome, PlanItem, Repair, RepairError, apply, plan};
pub use resolve::{Resolved, resolve};
