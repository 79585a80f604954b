//! Replays as operators see them.

use super::types::{ReplayError, View};
use crate::ops::{Operator, Page};
use crate::store::{DbError, Replay, ReplayItem, ReplayResult, ReplayState, Store};

/// Pages of replays that one list reads at most.
const MAX_PAGES: usize = 10;

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

/// Up to `limit` replays that the operator may see, newest first. Of others' replays a bounded number is passed over.
pub async fn list(
    store: &Store,
    operator: &Operator,
    (state, mut before, limit): (Option<ReplayState>, Option<String>, u64),
) -> Result<Page<Replay, String>, DbError> {
    let mut found = Vec::new();
    let size = usize::try_from(limit).unwrap_or(usize::MAX);
    for _ in 0..MAX_PAGES {
        let rows = store.replays(state, before.as_deref(), limit).await?;
        let is_last = rows.len() < size;
        for row in rows {
            before = Some(row.id.clone());
            if is_visible(operator, &row) {
                found.push(row);
            }
            if found.len() == size {
                return Ok(Page { rows: found, next: before });
            }
        }
        if is_last {
            return Ok(Page { rows: found, next: None });
        }
    }
    Ok(Page { rows: found, next: before })
}

pub(super) async fn visible(store: &Store, operator: &Operator, id: &str) -> Result<Replay, ReplayError> {
    let replay = store.replay(id).await?.ok_or(ReplayError::NotFound)?;
    if is_visible(operator, &replay) { Ok(replay) } else { Err(ReplayError::NotFound) }
}

fn is_visible(operator: &Operator, replay: &Replay) -> bool {
    match (&operator.merchants, &replay.merchants) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(_), Some(merchants)) => merchants.iter().all(|merchant| operator.sees(merchant)),
    }
}
