//! Replays as operators see them.

use super::types::{ReplayError, View};
use crate::ops::Operator;
use crate::store::{Replay, ReplayItem, ReplayResult, Store};

/// A replay that the operator may see.
pub async fn get(store: &Store, operator: &Operator, id: &str) -> Result<View, ReplayError> {
    let replay = visible(store, operator, id).await?;
    let counts = store.replay_counts(id).await?;
    Ok(View { replay, counts })
}

/// A page of a replay's items, and the place after which the next one begins.
pub async fn items(
    store: &Store,
    operator: &Operator,
    id: &str,
    (after, result, limit): (i64, Option<ReplayResult>, u64),
) -> Result<(Vec<ReplayItem>, Option<i64>), ReplayError> {
    visible(store, operator, id).await?;
    let items = store.replay_items(id, after, result, limit).await?;
    let next = items.last().filter(|_| items.len() as u64 >= limit).map(|item| item.n);
    Ok((items, next))
}

pub(super) async fn visible(store: &Store, operator: &Operator, id: &str) -> Result<Replay, ReplayError> {
    let replay = store.replay(id).await?.ok_or(ReplayError::NotFound)?;
    let is_visible = match (&operator.merchants, &replay.merchants) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(_), Some(merchants)) => merchants.iter().all(|merchant| operator.sees(merchant)),
    };
    if is_visible { Ok(replay) } else { Err(ReplayError::NotFound) }
}
