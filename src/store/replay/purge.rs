//! Retention of replays.

use crate::clock::Timestamp;
use crate::store::Store;
use crate::store::db::DbError;

impl Store {
    /// Forgets replays that were planned before `before`, unless one runs or is paused: up to `limit` items in one
    /// write, each replay after its items. Answers how many rows went.
    pub async fn purge_replays(&self, before: Timestamp, limit: u64) -> Result<u64, DbError> {
        let (first, limit) = (first_id(before), i64::try_from(limit).unwrap_or(i64::MAX));
        // First of all, and by its state: what is being removed cannot be started.
        let cancel = "UPDATE replays SET state = 'cancelled', ended_at_ms = $2 WHERE id < $1 AND state = 'planned'";
        self.db.execute("purge", cancel, [first.as_str().into(), before.as_ms().into()]).await?;
        // Items without a replay are of a plan that was not written to its end.
        let items = "DELETE FROM replay_items WHERE (replay_id, n) IN (
                       SELECT i.replay_id, i.n FROM replay_items AS i
                       WHERE i.replay_id < $1
                         AND NOT EXISTS (SELECT 1 FROM replays AS r
                                         WHERE r.id = i.replay_id AND r.state IN ('running', 'paused'))
                       LIMIT $2)";
        let removed = self.db.execute("purge", items, [first.as_str().into(), limit.into()]).await?;
        let replays = "DELETE FROM replays WHERE id IN (
                         SELECT r.id FROM replays AS r
                         WHERE r.id < $1 AND r.state NOT IN ('running', 'paused')
                           AND NOT EXISTS (SELECT 1 FROM replay_items AS i WHERE i.replay_id = r.id)
                         LIMIT $2)";
        Ok(removed + self.db.execute("purge", replays, [first.into(), limit.into()]).await?)
    }
}

/// Ids are of version 7: this one is before every id of this moment and later.
fn first_id(at: Timestamp) -> String {
    let ms = at.as_ms().max(0);
    format!("{:08x}-{:04x}-", ms >> 16, ms & 0xffff)
}
