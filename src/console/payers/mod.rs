//! What is done to one payer: its sessions are ended, or what is kept of it is erased.
//!
//! What must stay true: an openid is posted and never in an address, a list or a log; nothing is erased before the
//! page has said what goes and the end of the openid was typed in.

mod act;
mod page;
mod words;

pub use act::{end_sessions, erase};
pub use page::{get, list};
