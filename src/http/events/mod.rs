//! `GET /v1/events`: the feed of domain events, and the hub that long polls wait on.

mod cursor;
pub(crate) mod feed;
pub(crate) mod list;
