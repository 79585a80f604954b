//! Rows whose longest texts are stored packed, where `store.compact` says so: events, evidence, notifications that have
//! ended, and what an order asked for.
//!
//! A packed row has its bytes in the column `packed` and empty texts where they were; a row of before has no `packed`.
//! Both are read, whatever the setting is. What must stay true: what comes out is what went in, byte for byte, or an
//! error that names the row. A version of the program that does not know the column reads empty texts, which is why
//! nothing is packed until the configuration asks for it.

mod check;
mod codec;
pub(super) mod rows;

pub use check::{PackedTable, UnreadableRow};
pub use codec::{Unreadable, pack, unpack};
