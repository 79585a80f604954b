//! Replays: plan, start, watch, pause, resume, cancel.

mod act;
mod list;
mod page;
mod plan;
mod progress;
mod stream;
mod words;

pub use act::{cancel, pause, resume, start};
pub use list::list;
pub use page::get;
pub use plan::{ask, plan};
pub use stream::stream;
