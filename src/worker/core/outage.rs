//! Tells an outage of the database from a row that it refuses each time.
//!
//! Both end with the same kind of error where a code is not known. An outage must not count against a message's attempt
//! limit; a row that is refused each time must not hold up the others of its batch, and ends as a dead letter.

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
