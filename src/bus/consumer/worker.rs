//! What the loop of a consumer works with.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::bus::callers::Callers;
use crate::bus::dead_letter::Parking;
use crate::bus::message::Delivery;
use crate::bus::topology::{ConsumerName, ConsumerSpec};
use crate::bus::verdict::{MAX_BUS_DELAY, Verdict};

/// Poll interval for the database to become available again before more messages are taken.
const DATABASE_POLL: Duration = Duration::from_millis(500);

/// Handles deliveries that came together: a verdict for each, in their order, or nothing for one that has to be handled
/// alone. Like the handler of one it may run again for the same deliveries.
pub type Together = Arc<dyn Fn(Vec<Delivery>) -> BoxFuture<'static, Vec<Option<Verdict>>> + Send + Sync>;

pub(in crate::bus) struct Worker<H, P> {
    pub name: ConsumerName,
    pub spec: ConsumerSpec,
    pub handler: H,
    /// How deliveries that came together are handled, if not one by one.
    pub together: Option<Together>,
    pub parking: Arc<P>,
    pub cancel: CancellationToken,
    /// Who waits for publishes to the same stream: groups give way to them.
    pub callers: Arc<Callers>,
    /// A handler said that the database is away: nothing more is taken before it is seen, because another process may
    /// reach it.
    pub(super) cut_off: watch::Sender<bool>,
}

impl<H, P> Worker<H, P> {
    pub fn new(
        name: ConsumerName,
        spec: ConsumerSpec,
        (handler, together): (H, Option<Together>),
        callers: Arc<Callers>,
        parking: Arc<P>,
        cancel: CancellationToken,
    ) -> Worker<H, P> {
        Worker { name, spec, handler, together, parking, cancel, callers, cut_off: watch::Sender::new(false) }
    }
}

impl<H, P: Parking> Worker<H, P> {
    /// Checks whether the database is available, and pauses if it is not.
    pub(super) async fn wait_for_the_database(&self) {
        match tokio::time::timeout(MAX_BUS_DELAY, self.parking.is_there()).await {
            Ok(true) => self.cut_off.send_modify(|cut_off| *cut_off = false),
            Ok(false) | Err(_) => tokio::time::sleep(DATABASE_POLL).await,
        }
    }
}
