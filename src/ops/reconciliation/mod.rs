//! Reconciliations: asked for, read, their lines explained and repaired.

mod apply;
mod ask;
mod enter;
mod enter_refund;
mod read;
mod repair;
mod resolve;

pub use apply::{apply, go_on, progress};
pub use ask::{AskError, Asked, ask};
pub use read::{day, days, line, lines};
pub use repair::{Mend, MendOutcome, PlanItem, Repair, RepairError, plan, plan_page};
pub use resolve::{Resolved, resolve};
