//! Tells an outage of the database from a row that it refuses each time.
//!
//! Both end with the same kind of error where a code is not known. An outage must not count against a message's attempt
//! limit; a row that is refused each time must not hold up the others of its batch, and ends as a dead letter.

use crate::store::Store;

/// How often one row alone is tried before the error is its own.
pub const TRIES: u32 = 3;

/// Whether the database is away.
pub async fn is_outage(store: &Store) -> bool {
    !store.db().health().await.is_ok_and(|health| health.takes_writes)
}
