//! Replays: plan, start, pause, resume, cancel, watch.
//!
//! A plan fixes the rows and predicts what each would come to; it changes nothing. The work is done by the workers.

mod act;
mod predict;
mod read;
mod types;

pub use act::{act, plan, start};
pub use read::{get, items, list};
pub use types::{Action, Changed, DEFAULT_RATE, MAX_ITEMS, MAX_RATE, ReplayError, Request, Tools, View};
