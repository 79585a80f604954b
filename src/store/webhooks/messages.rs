//! Who sends an endpoint the next message about several events, and when.
//!
//! What must stay true: between two messages of all processes lies the pause; where both the schedule and a replay have
//! something to say, neither keeps the other from it. A time too far ahead was written by another clock: it counts not.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::store::Store;
use crate::store::db::DbError;

/// The longest pause between two messages about several events.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// Replays wait so much longer than the schedule, which sends first what is due.
const AFTER_SCHEDULE: Duration = Duration::from_secs(1);
/// How long the schedule leaves a message to a replay that asked for one: it may have been cancelled meanwhile.
const LEFT_TO_REPLAY: Duration = Duration::from_secs(20);
/// For how long a replay counts as one that waits after it asked.
const REPLAY_WAITS: Duration = LONGEST_PAUSE;

impl Store {
    /// Begins a message of the schedule: `false` before the time of the next one, and while that one is a replay's.
    /// From `now` on the next one has to wait for `pause`; where a replay waits, it is the replay's.
    pub async fn begin_message(&self, id: &str, now: Timestamp, pause: Duration) -> Result<bool, DbError> {
        let sql = "UPDATE webhook_endpoints SET next_message_at_ms = $2,
                     replay_first_until_ms = CASE WHEN replay_waits_until_ms > $3 THEN $5 END
                   WHERE id = $1 AND (next_message_at_ms IS NULL OR next_message_at_ms <= $3
                                      OR next_message_at_ms > $4)
                     AND (replay_first_until_ms IS NULL OR replay_first_until_ms <= $3
                          OR replay_first_until_ms > $4)";
        let (next, far) = (now.after(pause), now.after(LONGEST_PAUSE));
        let left = next.after(LEFT_TO_REPLAY).min(far);
        let values = [id.into(), next.as_ms().into(), now.as_ms().into(), far.as_ms().into(), left.as_ms().into()];
        Ok(self.db.execute("webhook.message", sql, values).await? > 0)
    }

    /// Begins a message of a replay: a moment after the schedule might have sent one, or where that one is the
    /// replay's. `false` otherwise: the message after the schedule's next one is then the replay's.
    pub async fn begin_replayed_message(&self, id: &str, now: Timestamp, pause: Duration) -> Result<bool, DbError> {
        let sql = "UPDATE webhook_endpoints SET next_message_at_ms = $2, replay_first_until_ms = NULL,
                     replay_waits_until_ms = NULL
                   WHERE id = $1 AND (next_message_at_ms IS NULL OR next_message_at_ms <= $5
                                      OR next_message_at_ms > $4
                                      OR (next_message_at_ms <= $3 AND replay_first_until_ms > $3))";
        let (next, far, late) = (now.after(pause), now.after(LONGEST_PAUSE), now.before(AFTER_SCHEDULE));
        let values = [id.into(), next.as_ms().into(), now.as_ms().into(), far.as_ms().into(), late.as_ms().into()];
        if self.db.execute("webhook.message", sql, values).await? > 0 {
            return Ok(true);
        }
        // It asks often, and need not be written each time.
        let sql = "UPDATE webhook_endpoints SET replay_waits_until_ms = $2
                   WHERE id = $1 AND (replay_waits_until_ms IS NULL OR replay_waits_until_ms < $3)";
        let (until, soon) = (now.after(REPLAY_WAITS), now.after(REPLAY_WAITS / 2));
        let values = [id.into(), until.as_ms().into(), soon.as_ms().into()];
        self.db.execute("webhook.message", sql, values).await?;
        Ok(false)
    }

    /// Sends an endpoint no message before then.
    pub async fn put_off_messages(&self, id: &str, until: Timestamp) -> Result<(), DbError> {
        let sql = "UPDATE webhook_endpoints SET next_message_at_ms = $2 WHERE id = $1 AND next_message_at_ms < $2";
        self.db.execute("webhook.message", sql, [id.into(), until.as_ms().into()]).await?;
        Ok(())
    }
}
