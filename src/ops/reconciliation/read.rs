//! Reading results and their lines.

use crate::ids::MerchantKey;
use crate::ops::operator::Page;
use crate::reconciliation::LineClass;
use crate::store::{DayFilter, DbError, Line, Reconciliation, Store};

/// A day of a merchant; none where it was never asked for.
pub async fn day(store: &Store, merchant: &MerchantKey, day: &str) -> Result<Option<Reconciliation>, DbError> {
    store.reconciliation(merchant, day).await
}

/// Days behind `after`, a day and a merchant: the newest first.
pub async fn days(
    store: &Store,
    filter: &DayFilter,
    after: Option<(&str, &str)>,
    limit: u64,
) -> Result<Page<Reconciliation, (String, String)>, DbError> {
    let rows = store.reconciliations(filter, after, limit).await?;
    let last = rows.last().filter(|_| rows.len() as u64 >= limit);
    let next = last.map(|last| (last.day.clone(), last.merchant.to_string()));
    Ok(Page { rows, next })
}

/// Lines of a day's result behind the line `after`, of a class or of all.
pub async fn lines(
    store: &Store,
    of: &Reconciliation,
    class: Option<LineClass>,
    after: Option<i64>,
    limit: u64,
) -> Result<Page<Line, i64>, DbError> {
    let rows = store.reconciliation_lines(of, class, after, limit).await?;
    let next = rows.last().filter(|_| rows.len() as u64 >= limit).map(|last| last.id);
    Ok(Page { rows, next })
}

/// A line of a day's result.
pub async fn line(store: &Store, of: &Reconciliation, id: i64) -> Result<Option<Line>, DbError> {
    store.reconciliation_line(of, id).await
}
