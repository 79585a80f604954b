//! The rows of the embedded bus. SQL only: what a message or a verdict is, `bus::embedded` knows.
//!
//! A message is one row, plus one row per consumer that has still to work on it; an acknowledgement deletes the latter.
//! The last one also empties the message's body, in the same transaction: what counts against a stream's limit is work
//! that is outstanding, while the key alone stays until the duplicate window ends.
//! Everything works on batches, in few statements of fixed texts, so that the database prepares each once and
//! no row costs a round trip. What must stay true: leases use the database's clock; a message and its deliveries appear
//! in one transaction.

mod asking;
mod deliveries;
mod intake;
mod messages;
mod peek;
mod row;
mod space;
mod tables;

pub(super) use deliveries::finish;
pub(super) use intake::advance;
pub use intake::{IntakeLog, IntakeStep};
pub use row::{
    Answer, Claim, Claimed, Finished, Inserted, LagRow, NewMessage, NewRow, PeekedRow, Stored, StreamLimit, Taker,
    UsageRow,
};
pub use tables::BusRows;
