//! Orders in the database: recording, reading, and the commit of a decision.

pub(super) mod calls;
mod claims;
pub(super) mod commit;
pub(super) mod history;
pub(super) mod list;
pub(super) mod money;
pub(super) mod placing;
mod poll_by;
pub(super) mod poll_schedule;
pub(super) mod read;
pub(super) mod record;
pub(super) mod rows;
pub(super) mod search;
pub(super) mod trail;
pub(super) mod trail_row;
