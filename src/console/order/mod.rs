//! One order: what it is, how it came to be that, and what a person may do about it.

mod act;
mod find;
mod line;
mod page;
mod timeline;
mod words;

pub use act::{accept, ask_accept, ask_close, close, facts, refresh, transaction};
pub use find::find;
pub use page::get;
