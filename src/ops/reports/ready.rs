//! Which month can be closed next.

use super::close_month::SETTLES;
use super::days::days_of;
use super::periods::Month;
use super::reconciled::reconciled;
use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::store::{DbError, Store};

/// The month behind the last one that is closed (the last one that is over, where none is), if it is over and each of
/// its days is balanced or explained.
pub async fn ready_to_close(store: &Store, merchant: &MerchantKey, now: Timestamp) -> Result<Option<Month>, DbError> {
    let closed = store.closed_months(merchant).await?;
    let next = match closed.iter().map(|closed| closed.month.as_str()).max() {
        Some(last) => Month::parse(last).and_then(|last| Month::of(last.ends_at)),
        None => Month::of(now).and_then(|month| month.before()),
    };
    let Some(month) = next.filter(|month| month.ends_at <= now.before(SETTLES)) else { return Ok(None) };
    let range = (month.begins_at, month.ends_at);
    let days = reconciled(store, merchant, range, now).await?;
    let settled = |begin: &Timestamp| days.get(&begin.to_beijing_day()).is_some_and(|day| day.state.is_settled());
    let is_ready = days_of(range.0, range.1).iter().all(settled);
    Ok(is_ready.then_some(month))
}
