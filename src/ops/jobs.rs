//! The scheduler's jobs.

use crate::store::{DbError, JobView, Store};

/// Every job with its lease and its last runs, by name.
pub async fn list(store: &Store) -> Result<Vec<JobView>, DbError> {
    store.jobs().await
}
