//! Reconciliations: asked for, read, days and their lines explained, lines repaired.

mod apply;
mod ask;
mod bill;
mod enter;
mod enter_refund;
mod explain;
mod go_on;
mod mend;
mod mended;
mod read;
mod repair;
mod resolve;
mod stop;

pub use apply::apply;
pub use ask::{AskError, Asked, ask};
pub use bill::{BillError, BillOf, bill};
pub use explain::{ExplainError, explain, is_explainable};
pub use go_on::go_on;
pub use read::{day, days, line, lines};
pub use repair::{Mend, MendOutcome, PlanItem, Repair, RepairError, plan, plan_page};
pub use resolve::{Resolved, resolve};
pub use stop::{progress, stop};
