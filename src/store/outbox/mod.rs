//! The transactional outbox, and the feed that is read from it.

mod feed;
mod write;

pub use feed::{FEED_FIRST_EPOCH, FeedEnd, FeedEvent, FeedRange};
pub(super) use feed::{OUT_OF_ORDER, first_position, unrelayed_query};
#[doc(hidden)]
pub use write::FEED_LOCK;
pub(super) use write::{LAST_POSITION, write_events};
