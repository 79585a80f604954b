//! Cursors of the feed: which epoch, which position, and a hash of the event there.
//!
//! What must stay true: a reader that continues from a cursor misses no event. A cursor whose place cannot be found
//! again is refused, because the events between it and the next one that is there are not known.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::http::problem::{Error, FieldProblem};
use crate::secret::sha256_hex;
use crate::store::{FEED_FIRST_EPOCH, FeedEnd, Store};

const HASH_LEN: usize = 12;

/// A place in the feed: right behind the event of this position, or before all events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    epoch: String,
    pub position: i64,
    /// None of a cursor of before, which named a position alone.
    hash: Option<String>,
}

impl Cursor {
    pub fn behind(epoch: &str, position: i64, event_id: Option<&str>) -> Cursor {
        Cursor { epoch: epoch.to_owned(), position, hash: event_id.map(hash) }
    }

    pub fn to_text(&self) -> String {
        let hash = self.hash.as_deref().unwrap_or_default();
        URL_SAFE_NO_PAD.encode(format!("c{}.{}.{hash}", self.epoch, self.position))
    }

    pub fn parse(text: &str) -> Result<Cursor, Error> {
        let decoded = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        decoded.as_deref().and_then(decode).ok_or_else(|| {
            Error::Invalid(vec![FieldProblem::parameter("after", "must be a cursor that an earlier page gave as next")])
        })
    }

    /// Checks that nothing behind the cursor was removed or replaced. Called after events were read: what is removed
    /// later has been read.
    pub async fn check(&self, store: &Store, end: &FeedEnd) -> Result<(), Error> {
        if self.epoch != end.epoch || self.position > end.position {
            return Err(Error::CursorForeign);
        }
        let known = if self.position == end.position {
            // The last event is remembered although it may be removed.
            end.event_id.clone()
        } else if self.position == 0 {
            // Before the first event, which must be there.
            return store.event_id_at(1).await?.map(|_| ()).ok_or(Error::CursorExpired);
        } else {
            Some(store.event_id_at(self.position).await?.ok_or(Error::CursorExpired)?)
        };
        let differs = |(own, known): (&String, String)| *own != hash(&known);
        if self.hash.as_ref().zip(known).is_some_and(differs) { Err(Error::CursorForeign) } else { Ok(()) }
    }
}

fn hash(event_id: &str) -> String {
    sha256_hex(event_id.as_bytes()).chars().take(HASH_LEN).collect()
}

fn decode(text: &str) -> Option<Cursor> {
    let number = |text: &str| text.parse::<i64>().ok().filter(|n| *n >= 0 && text.bytes().all(|b| b.is_ascii_digit()));
    // A cursor of before: it belongs to the first epoch.
    if let Some(position) = text.strip_prefix('e') {
        return Some(Cursor { epoch: FEED_FIRST_EPOCH.to_owned(), position: number(position)?, hash: None });
    }
    let mut parts = text.strip_prefix('c')?.split('.');
    let (epoch, position, hash) = (parts.next()?, number(parts.next()?)?, parts.next()?);
    let formed = parts.next().is_none() && matches!(hash.len(), 0 | HASH_LEN) && !epoch.is_empty();
    formed.then(|| Cursor { epoch: epoch.to_owned(), position, hash: (!hash.is_empty()).then(|| hash.to_owned()) })
}
