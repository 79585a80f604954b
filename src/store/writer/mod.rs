//! Every write of the store is a value of a named kind, handed to one [`Writer`]; nothing else writes.
//!
//! A write is pure until COMMIT: it sees only its [`WriteTx`] and has no other effect, because it may run twice or be
//! rolled back after it ran. Metrics, hints to waiting requests and failpoints come after COMMIT, in the caller. What
//! must stay true: a result is given out only after the commit is durable; a write that fails is rolled back alone; a
//! failed COMMIT fails every write of its transaction; the queue is bounded; a write that was handed in happens whether
//! or not its caller still waits. Only this folder begins a write transaction (exempt: migrations).

mod connection;
mod handle;
mod insertion;
mod later;
mod pool;
mod postgres;
mod reader;
mod row;
mod rowwise;
mod snapshot;
mod sqlite;
mod tx;
mod types;
mod values;

pub(super) use connection::BUSY_TIMEOUT;
pub use handle::Writer;
pub(super) use pool::ACQUIRE_TIMEOUT;
pub use pool::ReadPool;
pub use reader::Reader;
pub use row::{Row, RowForm};
pub(super) use rowwise::{Holds, Outcome, Rowwise};
pub use snapshot::{Contents, SnapshotError};
pub(super) use snapshot::{examine, snapshot};
pub use tx::WriteTx;
pub use types::{Limits, Writing};
