//! Tells an outage of the database from a row that it refuses each time.
//!
//! Both end with the same kind of error where a code is not known. An outage must not count against a message's attempt
//! limit; a row that is refused each time must not hold up the others of its batch, and ends as a dead letter.

use super::error::HandlerError;
use crate::store::{DbError, Store};

/// How often one row alone is tried before the error is its own.
pub const TRIES: u32 = 3;

/// Whether an error of the database is an outage: the server says so, or it takes no writes.
pub async fn is_error_of_outage(store: &Store, e: &DbError) -> bool {
    e.is_of_the_server() || is_outage(store).await
}

/// Whether the database is away.
pub async fn is_outage(store: &Store) -> bool {
    !store.db().health().await.is_ok_and(|health| health.takes_writes)
}

/// What the statements of a batch say of the database so far.
#[derive(Default)]
pub struct Trouble {
    has_timed_out: bool,
    /// Why nothing more of the batch is tried.
    pub away: Option<HandlerError>,
}

impl Trouble {
    /// A locked row holds up one item. Where a second statement waits for a lock or takes too long, a table is locked
    /// or the disk stands still: each of the others would wait as long.
    pub fn note(&mut self, found: &HandlerError) {
        match found {
            HandlerError::Unavailable(_) => self.away = Some(found.clone()),
            HandlerError::Locked(why) if self.has_timed_out => {
                self.away = Some(HandlerError::Unavailable(why.clone()));
            }
            HandlerError::Locked(_) => self.has_timed_out = true,
            HandlerError::Failed(_) => {}
        }
    }

    /// An error of the whole batch: without a cause that is known, one of its items may be it.
    pub async fn note_of_all(&mut self, store: &Store, e: &DbError) {
        if is_error_of_outage(store, e).await {
            self.away = Some(HandlerError::Unavailable(e.to_string()));
        } else if e.is_of_one_statement() {
            self.note(&HandlerError::from(e));
        }
    }
}
