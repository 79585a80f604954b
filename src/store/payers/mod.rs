//! Payers under another name, and the erasure of what is kept of one.
//!
//! What must stay true: nothing of the ledger or the evidence is changed by the running service; an order that may
//! still be paid is left alone; an erasure has ended only after it went through every table and found nothing.

mod ask;
pub(super) mod erase;
pub(super) mod evidence;
pub(super) mod hide;
mod key;
mod messages;
mod orders;
mod scan;
pub(super) mod types;
mod words;

pub(super) use key::{KnownPayers, Payers};
