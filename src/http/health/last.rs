//! Readiness for strangers: however often they ask, the database and the bus are asked once a second.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long one answer is given to strangers.
const FRESH: Duration = Duration::from_secs(1);

/// The last answer.
#[derive(Debug, Default)]
pub struct LastReadiness(Mutex<Option<(bool, Instant)>>);

impl LastReadiness {
    /// The last answer while it is fresh, else what `look_up` brings; those who ask meanwhile wait for it.
    pub async fn get(&self, look_up: impl Future<Output = bool>) -> bool {
        let mut last = self.0.lock().await;
        match *last {
            Some((ready, at)) if at.elapsed() < FRESH => ready,
            Some(_) | None => {
                let ready = look_up.await;
                *last = Some((ready, Instant::now()));
                ready
            }
        }
    }
}
