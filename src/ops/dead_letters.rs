//! Dead letters: why they are there, in groups and one by one, and discarding them.

use super::operator::{Operator, Page};
use crate::clock::Timestamp;
use crate::ids::OrderNo;
use crate::store::{
    AuditEntry, DbError, DeadLetter, DeadLetterFilter, DeadLetterGroup, DeadLetterRow, Discarded, Store,
};

/// Up to `limit` dead letters, newest first.
pub async fn list(store: &Store, filter: &DeadLetterFilter, limit: u64) -> Result<Page<DeadLetterRow, i64>, DbError> {
    let rows = store.dead_letters(filter, limit).await?;
    Ok(Page::full(rows, limit, |row| row.id))
}

/// What waits for a person by reason and consumer.
pub async fn groups(store: &Store, operator: &Operator) -> Result<Vec<DeadLetterGroup>, DbError> {
    store.dead_letter_groups(operator.merchants.as_deref()).await
}

/// One with its message and attempts, if the operator may see its merchant.
pub async fn get(store: &Store, operator: &Operator, id: i64) -> Result<Option<DeadLetter>, DbError> {
    Ok(store.dead_letter(id).await?.filter(|found| operator.sees_any(found.row.merchant().as_ref())))
}

/// Discards one. Discarding it again changes nothing; each request has its row in the audit.
pub async fn discard(
    store: &Store,
    operator: &Operator,
    id: i64,
    reason: &str,
    now: Timestamp,
) -> Result<Discarded, DbError> {
    let Some(found) = get(store, operator, id).await? else { return Ok(Discarded::None) };
    let order_no = found.row.order_no.clone().and_then(|text| OrderNo::parse(text).ok());
    let audit = AuditEntry {
        merchant: found.row.merchant(),
        order_no,
        subject: Some(format!("dead_letter:{id}")),
        ..operator.audit("dead_letter.discard", reason.to_owned(), now)
    };
    store.discard_dead_letter(id, &audit).await
}
