//! The pay hosts: the main one, and a backup at another site. Which of them works is remembered.
//!
//! A host that does not answer must not cost every call its whole time limit. The one that answered last is called
//! first, and a doubted main host is probed in the background until it answers again.
//!
//! What must stay true: which host is called first says nothing about a number. What an answer proves is decided by the
//! calls that were sent for the number, to either host; see [`super::transport`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A host that has not answered by then counts as slow: WeChat's own time is a few hundred milliseconds.
pub(super) const SLOW: Duration = Duration::from_secs(1);
/// The first pause between probes of a doubted main host, and the longest.
const PROBES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// The hosts of one client. Cheap to clone; all clones share what is known.
#[derive(Debug, Clone)]
pub(super) struct PayHosts {
    main: String,
    backup: Option<String>,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    main_is_doubted: bool,
    /// A task probes the main host.
    is_probed: bool,
}

impl PayHosts {
    /// A backup that is the main host is none.
    pub(super) fn new(main: String, backup: String) -> PayHosts {
        let backup = (backup != main).then_some(backup);
        PayHosts { main, backup, known: Arc::default() }
    }

    /// With what `other` knows, if these are the same hosts.
    pub(super) fn sharing(self, other: &PayHosts) -> PayHosts {
        if (&self.main, &self.backup) == (&other.main, &other.backup) { other.clone() } else { self }
    }

    /// The host to call first, and the other one.
    pub(super) fn in_order(&self) -> (&str, Option<&str>) {
        match &self.backup {
            Some(backup) if lock(&self.known).main_is_doubted => (backup, Some(&self.main)),
            backup => (&self.main, backup.as_deref()),
        }
    }

    /// Notes that `host` did not answer in time: the other one is called first from now on. `http` probes the main host
    /// until it answers.
    pub(super) fn doubt(&self, host: &str, http: &reqwest::Client) {
        if self.backup.is_none() {
            return;
        }
        let is_main = host == self.main;
        let mut known = lock(&self.known);
        if is_main && !known.main_is_doubted {
            tracing::warn!("the main pay host does not answer in time; the backup host is called first");
        }
        known.main_is_doubted = is_main;
        if is_main && !std::mem::replace(&mut known.is_probed, true) {
            tokio::spawn(probe(self.main.clone(), http.clone(), Arc::downgrade(&self.known)));
        }
    }
}

/// Asks the main host until it answers; ends with the client, or once the backup host is doubted in its place.
async fn probe(main: String, http: reqwest::Client, known: std::sync::Weak<Mutex<Known>>) {
    let (mut pause, longest) = PROBES;
    loop {
        tokio::time::sleep(pause).await;
        let Some(known) = known.upgrade() else { return };
        {
            let mut known = lock(&known);
            if !known.main_is_doubted {
                known.is_probed = false;
                return;
            }
        }
        // The probe carries nothing: any answer but a gateway's says that the host is there.
        let answer = tokio::time::timeout(SLOW, http.get(&main).send()).await;
        if matches!(answer, Ok(Ok(answer)) if !answer.status().is_server_error()) {
            *lock(&known) = Known::default();
            tracing::info!("the main pay host answers again");
            return;
        }
        pause = (pause * 2).min(longest);
    }
}

/// A panic elsewhere leaves nothing half written here.
fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}
