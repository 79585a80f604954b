//! Dead letters: why they are there, in groups and one by one, and discarding them.

use super::audit::{self, Viewed};
use super::operator::{Operator, Page};
use crate::clock::Timestamp;
use crate::ids::OrderNo;
use crate::store::{
    AuditEntry, DbError, DeadLetter, DeadLetterFilter, DeadLetterGroup, DeadLetterRow, DeadLetterSpread, Discarded,
    Store,
};

/// Up to `limit` dead letters, newest first.
pub async fn list(store: &Store, filter: &DeadLetterFilter, limit: u64) -> Result<Page<DeadLetterRow, i64>, DbError> {
    let rows = store.dead_letters(filter, limit).await?;
    Ok(Page::of(rows, limit, |row| row.id))
}

/// What waits for a person by reason and consumer.
pub async fn groups(store: &Store, operator: &Operator) -> Result<Vec<DeadLetterGroup>, DbError> {
    store.dead_letter_groups(operator.merchants.as_deref()).await
}

/// One with its message and attempts, if the operator may see its merchant.
pub async fn get(store: &Store, operator: &Operator, id: i64) -> Result<Option<DeadLetter>, DbError> {
    Ok(store.dead_letter(id).await?.filter(|found| operator.sees_any(found.row.merchant().as_ref())))
}

/// The same for a person or a client, who sees the message. The audit has the view.
pub async fn view(store: &Store, operator: &Operator, id: i64, now: Timestamp) -> Result<Option<DeadLetter>, DbError> {
    let found = get(store, operator, id).await?;
    if let Some(DeadLetter { row, .. }) = &found {
        let viewed = Viewed {
            action: "dead_letter.view",
            subject: format!("dead_letter:{id}"),
            merchant: row.merchant(),
            order_no: row.order_no.clone().and_then(|text| OrderNo::parse(text).ok()),
        };
        audit::viewed(store, operator, viewed, now).await?;
    }
    Ok(found)
}

/// How many of each group were parked in each interval of `step_ms` from `from` on.
pub async fn spread(
    store: &Store,
    operator: &Operator,
    from: Timestamp,
    step_ms: i64,
) -> Result<Vec<DeadLetterSpread>, DbError> {
    store.dead_letter_spread(operator.merchants.as_deref(), from, step_ms).await
}

/// Number, time and error of every attempt that is known, oldest first. A version without rows of attempts left the
/// first and the last error alone.
pub fn attempts(found: &DeadLetter) -> Vec<(i64, Option<Timestamp>, &str)> {
    let (row, seen) = (&found.row, &found.attempts);
    let first = (1, None, row.first_error.as_str());
    let last = (row.attempts, Some(row.parked_at), row.last_error.as_str());
    let has_first = row.attempts <= 1 || seen.first().is_some_and(|first| first.attempt <= 1);
    let has_last = seen.last().is_some_and(|last| last.attempt >= row.attempts);
    let seen = seen.iter().map(|row| (row.attempt, Some(row.at), row.error.as_str()));
    let (first, last) = ((!has_first).then_some(first), (!has_last).then_some(last));
    first.into_iter().chain(seen).chain(last).collect()
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
