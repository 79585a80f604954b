//! One order: what it is, how it came to be that, and what a person may do about it.

mod act;
mod find;
mod line;
mod page;
mod refund;
mod timeline;
mod words;

pub use act::{accept, ask_accept, ask_close, close, refresh};
pub use page::get;
pub use refund::{ask as ask_refund, refund};
