//! The intake log: notifications that were answered with SUCCESS and are not settled yet, in files of this process.
//!
//! A process that receives notifications and settles them, on SQLite and the embedded queue, appends each to its own
//! log and answers after the fsync. The transaction that settles a group of them moves the log's cursor, a row of the
//! database, past them: nothing is claimed and nothing acknowledged. A log whose process died is read on by another.
//!
//! Before a queue on NATS a log is a spool: its records are forwarded to the queue, and its cursor is a file beside
//! them.
//!
//! What must stay true: a record is handed on only once it is on the disk; SUCCESS comes after that; what is not
//! settled is bounded, and what does not fit is refused; a file goes only after the cursor passed all of it. Damage is
//! reported and its bytes are kept; it never hides a valid record behind it.

mod cursor;
mod dead;
mod folder;
mod frame;
mod kept;
mod leftovers;
mod log;
mod name;
mod open_file;
mod reader;
mod record;
mod shared;

pub use cursor::{read_cursor, write_cursor};
pub use dead::{Damage, DeadLog, LeftAlone, Listing, Owner, Part, Piece, dead_logs, only_database};
pub use folder::prepare;
pub use frame::{Found, ROOM, frame_of, scan};
pub use kept::{KEPT_FOR, MOST_KEPT, forget_kept, keep_aside, kept_files};
pub use leftovers::{Lately, Leftovers, LogFound, Survey, survey};
pub use log::{Appender, LogSettings, open};
pub use name::{DatabaseId, is_log_name, log_name};
pub use reader::{Durable, Log, Reader};
pub use record::Record;
pub use shared::{AppendError, LogState};
