//! What waits for a second person, and what it decided.
//!
//! What must stay true: a request is decided once, by another than who asked, and where it is approved in the
//! transaction of what it asked for: there is no approval without its effect and no effect without its approval.

pub(super) mod read;
pub(super) mod types;
pub(super) mod write;
