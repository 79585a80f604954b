//! Replays: what was selected and predicted, how far each is, and the result of every item.

pub mod content;
pub mod items;
pub mod payments;
pub mod purge;
pub mod results;
pub mod select;
pub mod state;
pub mod types;
