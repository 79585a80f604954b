//! An item's result, written once, and what it means for the row that was replayed.
//!
//! What must stay true: an item has one result, that of the write which had the effect. A process that lost its lease
//! while it handled an item may still commit that item's effect; its result is written in the same transaction, and the
//! successor, which finds nothing to do, does not overwrite it.

use super::types::{ItemResult, ReplayMark, ReplayResult, ReplaySource};
use crate::clock::Timestamp;
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::leases::{Fenced, Lease, holds};
use crate::store::writer::WriteTx;

impl Store {
    /// Writes the result of an item whose handler wrote none. Only the lease's holder may.
    pub async fn finish_replay_item(
        &self,
        lease: &Lease,
        mark: &ReplayMark,
        result: &ItemResult,
        at: Timestamp,
    ) -> Result<Fenced<()>, DbError> {
        let write = (lease.clone(), mark.clone(), result.clone(), at);
        self.db
            .write("replay.result", write, |tx, (lease, mark, result, at)| {
                Box::pin(async move {
                    if !holds(tx, lease).await? {
                        return Ok(Fenced::Lost);
                    }
                    write_result(tx, mark, result, *at).await?;
                    Ok(Fenced::Done(()))
                })
            })
            .await
    }
}

/// Writes an item's result, unless it has one.
pub(in crate::store) async fn write_result(
    tx: &WriteTx,
    mark: &ReplayMark,
    result: &ItemResult,
    at: Timestamp,
) -> Result<(), DbError> {
    let sql = "UPDATE replay_items SET result = $3, result_reason = $4, error = $5, done_at_ms = $6
               WHERE replay_id = $1 AND n = $2 AND result IS NULL";
    let values = [
        mark.replay_id.as_str().into(),
        mark.n.into(),
        result.result.as_str().into(),
        result.reason.clone().into(),
        result.error.clone().into(),
        at.as_ms().into(),
    ];
    if tx.execute(sql, values).await? == 0 {
        return Ok(());
    }
    match (mark.source, result.result) {
        (ReplaySource::DeadLetter, ReplayResult::Settled | ReplayResult::NoOp) => {
            let sql = "UPDATE dead_letters SET state = 'replayed', ended_at_ms = $2, ended_by = $3, ended_reason = $4
                       WHERE id = $1 AND state = 'parked'";
            let by = [mark.by.as_str().into(), mark.reason.as_str().into()];
            tx.execute(sql, [dead_letter(mark)?.into(), at.as_ms().into()].into_iter().chain(by)).await?;
        }
        (ReplaySource::DeadLetter, ReplayResult::Failed) => {
            let sql = "UPDATE dead_letters SET attempts = attempts + 1, last_error = COALESCE($2, last_error)
                       WHERE id = $1 AND state = 'parked'";
            tx.execute(sql, [dead_letter(mark)?.into(), result.error.clone().into()]).await?;
        }
        (ReplaySource::Refused, ReplayResult::Settled | ReplayResult::NoOp) => {
            let sql = "UPDATE refused_notifications SET state = 'replayed' WHERE id = $1";
            tx.execute(sql, [mark.source_id.as_str().into()]).await?;
        }
        (ReplaySource::Notification, ReplayResult::Settled | ReplayResult::NoOp) => {
            // The same message, where it was parked: nothing of it waits for a person any more.
            let sql = "UPDATE dead_letters SET state = 'replayed', ended_at_ms = $2, ended_by = $3, ended_reason = $4
                       WHERE event_id = $1 AND state = 'parked'";
            let by = [mark.by.as_str().into(), mark.reason.as_str().into()];
            tx.execute(sql, [mark.source_id.as_str().into(), at.as_ms().into()].into_iter().chain(by)).await?;
        }
        (ReplaySource::Refused | ReplaySource::Notification, ReplayResult::Failed)
        | (ReplaySource::Sample | ReplaySource::Event | ReplaySource::Webhook, _) => {}
    }
    Ok(())
}

fn dead_letter(mark: &ReplayMark) -> Result<i64, DbError> {
    mark.source_id.parse().map_err(|_| DbError::Defect("a dead letter's id is no number".into()))
}
