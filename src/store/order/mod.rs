//! Orders in the database: recording, reading, and the commit of a decision.

mod claims;
pub(super) mod commit;
pub(super) mod history;
mod poll_by;
pub(super) mod poll_schedule;
mod read;
pub(super) mod record;
pub(super) mod rows;
