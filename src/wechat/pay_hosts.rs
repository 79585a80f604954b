//! The pay hosts: the main one, and a backup at another site. Which of them works is remembered.
//!
//! A host that does not answer must not cost every call its whole time limit. The one that answered last is called
//! first, and a doubted main host is probed in the background until it answers again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A host that has not answered by then is called slow: WeChat's own time is a few hundred milliseconds.
pub(super) const SLOW: Duration = Duration::from_secs(1);
/// The pauses between probes of a doubted main host, growing.
const PROBES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// The hosts of one client. Cheap to clone; all clones share what is known.
#[derive(Debug, Clone)]
pub(super) struct PayHosts {
    main: String,
    backup: Option<String>,
    main_is_doubted: Arc<AtomicBool>,
}

impl PayHosts {
    /// A backup that is the main host is none.
    pub(super) fn new(main: String, backup: String) -> PayHosts {
        let backup = (backup != main).then_some(backup);
        PayHosts { main, backup, main_is_doubted: Arc::default() }
    }

    /// The host to call first, and the other one.
    pub(super) fn in_order(&self) -> (&str, Option<&str>) {
        match &self.backup {
            Some(backup) if self.main_is_doubted.load(Ordering::Relaxed) => (backup, Some(&self.main)),
            backup => (&self.main, backup.as_deref()),
        }
    }

    /// Notes that `host` did not answer in time: the other one is called first from now on. `http` probes the main host
    /// until it answers.
    pub(super) fn doubt(&self, host: &str, http: &reqwest::Client) {
        let is_main = host == self.main;
        if self.backup.is_none() || self.main_is_doubted.swap(is_main, Ordering::Relaxed) == is_main || !is_main {
            return;
        }
        tracing::warn!("the main pay host does not answer in time; the backup host is called first");
        let (main, doubted, http) = (self.main.clone(), Arc::downgrade(&self.main_is_doubted), http.clone());
        tokio::spawn(async move {
            let (mut pause, longest) = PROBES;
            loop {
                tokio::time::sleep(pause).await;
                // Ends with the client, or once the backup was doubted in turn.
                let Some(doubted) = doubted.upgrade().filter(|doubted| doubted.load(Ordering::Relaxed)) else { return };
                // Any answer will do: the probe carries nothing, and says only whether the host is there.
                if matches!(tokio::time::timeout(SLOW, http.get(&main).send()).await, Ok(Ok(_))) {
                    doubted.store(false, Ordering::Relaxed);
                    tracing::info!("the main pay host answers again");
                    return;
                }
                pause = (pause * 2).min(longest);
            }
        });
    }
}
