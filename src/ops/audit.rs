//! The audit.

use super::operator::{Operator, Page};
use crate::clock::Timestamp;
use crate::ids::{MerchantKey, OrderNo};
use crate::store::{AuditEntry, AuditFilter, AuditRow, DbError, Store};

const HOUR_MS: i64 = 3600 * 1000;

/// Up to `limit` rows, newest first.
pub async fn list(store: &Store, filter: &AuditFilter, limit: u64) -> Result<Page<AuditRow, i64>, DbError> {
    let rows = store.audit(filter, limit).await?;
    Ok(Page::of(rows, limit, |row| row.id))
}

/// What an operator was shown the message of.
#[derive(Debug, Clone)]
pub struct Viewed {
    /// `notification.view`, `dead_letter.view`.
    pub action: &'static str,
    /// `notification:01J…`, `dead_letter:17`.
    pub subject: String,
    pub merchant: Option<MerchantKey>,
    pub order_no: Option<OrderNo>,
}

/// What is noted once for an operator, an address, an object and an hour.
pub fn hourly_key(action: &str, of: &str, operator: &Operator, now: Timestamp) -> String {
    let hour = now.as_ms().div_euclid(HOUR_MS);
    format!("{action} {hour} {of} {} {}", operator.id, operator.remote_addr)
}

/// Notes that a stored message was shown: once for an operator, an address, an object and an hour.
pub async fn viewed(store: &Store, operator: &Operator, viewed: Viewed, now: Timestamp) -> Result<(), DbError> {
    let Viewed { action, subject, merchant, order_no } = viewed;
    let of = merchant.as_ref().map(MerchantKey::as_str).unwrap_or_default();
    let key = hourly_key(action, &format!("{of} {subject}"), operator, now);
    let entry = AuditEntry { merchant, order_no, subject: Some(subject), ..operator.audit(action, String::new(), now) };
    store.record_audit_once(&entry, &key).await
}
