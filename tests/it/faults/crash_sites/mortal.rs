//! A process that is killed at a crash point and started again.

use std::os::unix::process::ExitStatusExt;

use wxpay_worker::store::Db;

use crate::faults::{FAULT_TIMEOUT, POLL_INTERVAL};
use crate::harness::service::{Process, Processes};

/// A process that dies once at its armed point and is then started again without it.
pub struct Mortal<'a> {
    pub rig: &'a Processes,
    roles: &'a str,
    pub process: Process,
    pub deaths: usize,
}

impl<'a> Mortal<'a> {
    pub async fn start(rig: &'a Processes, roles: &'a str, site: &str) -> Mortal<'a> {
        let process = rig.run_with(roles, &[("WXPAY_CRASH_AT", site)]).await;
        Mortal { rig, roles, process, deaths: 0 }
    }

    /// Starts it again if it is dead.
    async fn restart_if_dead(&mut self) {
        let Some(status) = self.process.ended() else { return };
        assert_eq!(status.signal(), Some(9), "it ended otherwise: {status}");
        assert_eq!(self.deaths, 0, "it died unarmed");
        self.deaths += 1;
        self.process = self.rig.run_roles(self.roles).await;
    }

    /// Polls until there is something, and keeps the process going meanwhile.
    pub async fn until<T, F: Future<Output = Option<T>>>(&mut self, what: &str, mut poll: impl FnMut(usize) -> F) -> T {
        let started = std::time::Instant::now();
        loop {
            self.restart_if_dead().await;
            if let Some(found) = poll(self.deaths).await {
                return found;
            }
            assert!(started.elapsed() < FAULT_TIMEOUT, "{what} did not happen within {FAULT_TIMEOUT:?}");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

impl Mortal<'_> {
    /// Awaits its death, and then an empty queue.
    pub async fn until_dead_and_drained(&mut self, db: &Db, site: &str) {
        let rig = self.rig;
        let bus = &rig.open_bus(db).await;
        self.until("death, and then an empty queue", |deaths| async move {
            (deaths > 0 && rig.is_drained(db, bus).await).then_some(())
        })
        .await;
        assert_eq!(self.deaths, 1, "{site} was passed");
    }
}
