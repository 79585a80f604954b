//! The audit.

use super::operator::Page;
use crate::store::{AuditFilter, AuditRow, DbError, Store};

/// Up to `limit` rows, newest first.
pub async fn list(store: &Store, filter: &AuditFilter, limit: u64) -> Result<Page<AuditRow, i64>, DbError> {
    let rows = store.audit(filter, limit).await?;
    Ok(Page::of(rows, limit, |row| row.id))
}
