//! Waiting for the feed to grow: one task per process reads its end for every long poll.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::store::Store;

/// The longest poll interval while a caller waits: other processes write events too.
const ROUND: Duration = Duration::from_millis(100);
/// The shortest poll interval.
const MIN_PAUSE: Duration = Duration::from_millis(5);

/// The hub. Cheap to clone.
#[derive(Clone)]
pub struct FeedWatch(Arc<Hub>);

struct Hub {
    end: watch::Sender<i64>,
    arrived: Notify,
    shutdown: CancellationToken,
}

impl FeedWatch {
    /// Starts the task. It ends with `shutdown`.
    pub fn start(store: Store, shutdown: CancellationToken) -> FeedWatch {
        let hub = Arc::new(Hub { end: watch::Sender::new(0), arrived: Notify::new(), shutdown: shutdown.clone() });
        let run = run(store, Arc::clone(&hub));
        tokio::spawn(async move { shutdown.run_until_cancelled(run).await });
        FeedWatch(hub)
    }

    /// Waits until the feed ends after `position`, until `deadline` or until the process ends; says whether it grew.
    pub async fn wait_beyond(&self, position: i64, deadline: Instant) -> bool {
        let mut end = self.0.end.subscribe();
        self.0.arrived.notify_one();
        let grown = async { end.wait_for(|end| *end > position).await.is_ok() };
        let grown = self.0.shutdown.run_until_cancelled(grown);
        matches!(tokio::time::timeout_at(deadline, grown).await, Ok(Some(true)))
    }
}

async fn run(store: Store, hub: Arc<Hub>) {
    let mut commits = store.commits();
    loop {
        if hub.end.receiver_count() == 0 {
            hub.arrived.notified().await;
            continue;
        }
        commits.mark_unchanged();
        match store.feed_end().await {
            Ok(end) => {
                let end = end.position;
                hub.end.send_if_modified(|seen| std::mem::replace(seen, end) != end);
            }
            Err(e) => tracing::warn!(error = %e, "The feed's end could not be read"),
        }
        tokio::time::sleep(MIN_PAUSE).await;
        let _ = tokio::time::timeout(ROUND, commits.changed()).await;
    }
}
