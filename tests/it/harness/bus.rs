//! A bus under test: one of the four backends with a small topology, and a shelf for what is parked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wxpay_worker::bus::{
    Bus, ConsumerName, Deferred, Delivery, Lag, Message, Parked, Parking, ParkingError, PublishError, Report, Together,
    Topology, Verdict,
};
use wxpay_worker::config;
use wxpay_worker::secret::Secret;

use super::db::TestDb;
use super::nats::{NatsServer, Version, connected};
use super::within_timeout;

/// The subject that tests publish to.
pub const SUBJECT: &str = "t.in.main.work.wanted";

/// The consumer that takes it.
pub fn worker() -> ConsumerName {
    ConsumerName::new("worker")
}

/// A subject of the stream that drops its oldest when it is full.
pub const EVENT_SUBJECT: &str = "t.event.main.work.done";

/// The consumer of that stream.
pub fn reader() -> ConsumerName {
    ConsumerName::new("reader")
}

/// What a test needs to be otherwise.
#[derive(Clone, Copy)]
pub struct Needs {
    pub ack_wait_ms: u64,
    pub max_handling_ms: u64,
    pub max_ack_pending: u32,
    pub max_attempts: u32,
    pub max_bytes: i64,
    pub duplicate_window_ms: u64,
}

pub const NEEDS: Needs = Needs {
    // A busy machine keeps no worker from a sign of life for so long.
    ack_wait_ms: 30_000,
    max_handling_ms: 300_000,
    max_ack_pending: 256,
    max_attempts: 8,
    max_bytes: 64 << 20,
    duplicate_window_ms: 600_000,
};

/// What carries the messages.
pub enum Backend {
    Embedded(TestDb),
    Nats(NatsServer),
}

impl Backend {
    pub async fn sqlite() -> Backend {
        Backend::Embedded(TestDb::sqlite())
    }

    pub async fn postgres() -> Backend {
        Backend::Embedded(TestDb::postgres().await)
    }

    pub async fn nats() -> Backend {
        Backend::Nats(NatsServer::start(Version::New))
    }

    pub async fn nats_old() -> Backend {
        Backend::Nats(NatsServer::start(Version::Old))
    }
}

pub struct TestBus {
    pub backend: Backend,
    pub bus: Bus,
    pub report: Report,
    needs: Needs,
}

impl TestBus {
    pub async fn open(backend: Backend, needs: Needs) -> TestBus {
        let (bus, report) = connect(&backend, needs).await;
        TestBus { backend, bus, report, needs }
    }

    /// Another connection, as another process would have.
    pub async fn other_process(&self) -> Bus {
        connect(&self.backend, self.needs).await.0
    }

    /// The machine's worst moment: NATS is killed and started again under the connected bus; with a database, this
    /// process is gone and another opens it.
    pub async fn crash(&mut self) {
        match &mut self.backend {
            Backend::Nats(server) => {
                server.kill();
                server.start_again();
            }
            Backend::Embedded(_) => self.bus = self.other_process().await,
        }
    }

    pub fn nats(&self) -> &NatsServer {
        match &self.backend {
            Backend::Nats(server) => server,
            Backend::Embedded(_) => panic!("not on NATS"),
        }
    }

    /// See [`publish`].
    pub async fn publish(&self, message: Message) {
        publish(&self.bus, message).await;
    }

    pub async fn lag(&self) -> Lag {
        let lag = within_timeout("the lag", self.bus.lag()).await.unwrap();
        lag.into_iter().find(|lag| lag.consumer == worker()).unwrap()
    }

    /// Awaits a state that the bus reports and signals nowhere.
    pub async fn until_lag(&self, what: &str, holds: impl Fn(&Lag) -> bool) {
        within_timeout(what, async {
            while !holds(&self.lag().await) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
}

pub fn settings(backend: &Backend, needs: Needs) -> config::Bus {
    let (url, monitoring_urls) = match backend {
        Backend::Embedded(_) => ("embedded:".to_owned(), Vec::new()),
        Backend::Nats(server) => (server.url(), vec![server.monitoring_url()]),
    };
    bus_settings(url, monitoring_urls, needs.max_bytes)
}

/// `[bus]` as a configuration file would give it.
pub fn bus_settings(url: impl Into<String>, monitoring_urls: Vec<String>, max_bytes: i64) -> config::Bus {
    config::Bus {
        url: Secret::new(url),
        replicas: 1,
        credentials_file: None,
        tls_ca_file: None,
        allow_unverified_tls: false,
        require_fsync: true,
        monitoring_urls,
        max_bytes,
        ack_wait: Duration::from_secs(30),
        bundles: true,
    }
}

async fn connect(backend: &Backend, needs: Needs) -> (Bus, Report) {
    let db = match backend {
        Backend::Embedded(db) => Some(db.open().await),
        Backend::Nats(_) => None,
    };
    connected(&settings(backend, needs), db, topology(needs)).await
}

pub fn topology(needs: Needs) -> Topology {
    let Needs { ack_wait_ms, max_handling_ms, max_ack_pending, max_attempts, duplicate_window_ms, .. } = needs;
    let text = format!(
        r#"
        [[streams]]
        name = "T_IN"
        subjects = ["t.in.>"]
        max_message_bytes = 65536
        duplicate_window_ms = {duplicate_window_ms}
        max_age_hours = 1
        purge_acknowledged = true
        discard = "new"
        [[streams.consumers]]
        name = "worker"
        filter = "t.in.*.work.*"
        ack_wait_ms = {ack_wait_ms}
        max_handling_ms = {max_handling_ms}
        max_ack_pending = {max_ack_pending}
        max_attempts = {max_attempts}
        [[streams]]
        name = "T_EVENTS"
        subjects = ["t.event.>"]
        max_message_bytes = 65536
        duplicate_window_ms = {duplicate_window_ms}
        max_age_hours = 1
        purge_acknowledged = false
        discard = "old"
        [[streams.consumers]]
        name = "reader"
        filter = "t.event.>"
        ack_wait_ms = {ack_wait_ms}
        max_handling_ms = {max_handling_ms}
        max_ack_pending = {max_ack_pending}
        max_attempts = {max_attempts}
        "#
    );
    Topology::parse(&text).unwrap()
}

/// Keeps what is parked and deferred, and tells when something was.
pub struct Shelf {
    parked: watch::Sender<Vec<Parked>>,
    deferred: watch::Sender<Vec<Deferred>>,
    failures: AtomicUsize,
    refusals: AtomicUsize,
    /// What it says when asked whether it takes anything.
    pub is_there: AtomicBool,
    /// How often it was asked.
    asked: watch::Sender<u64>,
}

impl Shelf {
    pub fn new() -> Arc<Shelf> {
        Shelf::that(0, 0)
    }

    /// Awaits that a worker asks whether it takes anything: it pauses.
    pub async fn until_asked(&self) {
        within_timeout("a worker's pause", self.asked.subscribe().wait_for(|asked| *asked > 0)).await.unwrap();
    }

    /// Refuses this many times first.
    pub fn that_fails(times: usize) -> Arc<Shelf> {
        Shelf::that(times, 0)
    }

    /// Says this many times first that it will never take it.
    pub fn that_refuses(times: usize) -> Arc<Shelf> {
        Shelf::that(0, times)
    }

    fn that(failures: usize, refusals: usize) -> Arc<Shelf> {
        Arc::new(Shelf {
            parked: watch::Sender::new(Vec::new()),
            deferred: watch::Sender::new(Vec::new()),
            failures: AtomicUsize::new(failures),
            refusals: AtomicUsize::new(refusals),
            is_there: AtomicBool::new(true),
            asked: watch::Sender::new(0),
        })
    }

    pub async fn parked(&self, count: usize) -> Vec<Parked> {
        let mut parked = self.parked.subscribe();
        within_timeout("parking", parked.wait_for(|all| all.len() >= count)).await.unwrap().clone()
    }

    pub async fn deferred(&self, count: usize) -> Vec<Deferred> {
        let mut deferred = self.deferred.subscribe();
        within_timeout("deferring", deferred.wait_for(|all| all.len() >= count)).await.unwrap().clone()
    }

    pub fn parked_now(&self) -> usize {
        self.parked.borrow().len()
    }

    fn complains(&self) -> Result<(), ParkingError> {
        let one_of = |left: &AtomicUsize| {
            left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
        };
        if one_of(&self.failures) {
            return Err(ParkingError::Unavailable("the shelf is locked".into()));
        }
        if one_of(&self.refusals) {
            return Err(ParkingError::Impossible("it does not fit the shelf".into()));
        }
        Ok(())
    }
}

impl Parking for Shelf {
    async fn is_there(&self) -> bool {
        self.asked.send_modify(|asked| *asked += 1);
        self.is_there.load(Ordering::SeqCst)
    }

    async fn park(&self, parked: Parked) -> Result<(), ParkingError> {
        self.complains()?;
        self.parked.send_modify(|all| all.push(parked));
        Ok(())
    }

    async fn defer(&self, deferred: Deferred) -> Result<(), ParkingError> {
        self.complains()?;
        self.deferred.send_modify(|all| all.push(deferred));
        Ok(())
    }
}

/// A running consumer.
pub struct Consumer {
    pub task: JoinHandle<()>,
    pub cancel: CancellationToken,
}

impl Consumer {
    pub fn start<H, F>(bus: &Bus, concurrency: usize, shelf: &Arc<Shelf>, handler: H) -> Consumer
    where
        H: Fn(Delivery) -> F + Send + Sync + 'static,
        F: Future<Output = Verdict> + Send + 'static,
    {
        Consumer::of(worker(), bus, concurrency, shelf, handler)
    }

    /// One of this name.
    pub fn of<H, F>(name: ConsumerName, bus: &Bus, concurrency: usize, shelf: &Arc<Shelf>, handler: H) -> Consumer
    where
        H: Fn(Delivery) -> F + Send + Sync + 'static,
        F: Future<Output = Verdict> + Send + 'static,
    {
        let (bus, shelf, cancel) = (bus.clone(), Arc::clone(shelf), CancellationToken::new());
        let cancelled = cancel.clone();
        let task = tokio::spawn(async move {
            bus.consume(name, concurrency, handler, shelf, cancelled).await.unwrap();
        });
        Consumer { task, cancel }
    }

    /// One that handles what came together in one call.
    pub fn together<H, F>(bus: &Bus, concurrency: usize, shelf: &Arc<Shelf>, together: Together, of_one: H) -> Consumer
    where
        H: Fn(Delivery) -> F + Send + Sync + 'static,
        F: Future<Output = Verdict> + Send + 'static,
    {
        let (bus, shelf, cancel) = (bus.clone(), Arc::clone(shelf), CancellationToken::new());
        let (cancelled, handlers) = (cancel.clone(), (of_one, together));
        let task = tokio::spawn(async move {
            bus.consume_together(worker(), concurrency, handlers, shelf, cancelled).await.unwrap();
        });
        Consumer { task, cancel }
    }

    /// Reports every delivery and calls it done.
    pub fn recording(
        bus: &Bus,
        concurrency: usize,
        shelf: &Arc<Shelf>,
    ) -> (Consumer, mpsc::UnboundedReceiver<Delivery>) {
        let (seen, deliveries) = mpsc::unbounded_channel();
        let consumer = Consumer::start(bus, concurrency, shelf, move |delivery| {
            let seen = seen.clone();
            async move {
                let _ = seen.send(delivery);
                Verdict::Done
            }
        });
        (consumer, deliveries)
    }

    /// The process is gone: handlers stop where they are, nothing is answered.
    pub async fn vanish(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    pub async fn stop(self) {
        self.cancel.cancel();
        within_timeout("the consumer's end", self.task).await.unwrap();
    }
}

pub fn message(text: impl Into<String>) -> Message {
    Message::new(SUBJECT, text.into())
}

pub fn text(delivery: &Delivery) -> String {
    String::from_utf8(delivery.message.payload.clone()).unwrap()
}

pub async fn next(deliveries: &mut mpsc::UnboundedReceiver<Delivery>) -> Delivery {
    within_timeout("a delivery", deliveries.recv()).await.unwrap()
}

/// Publishes until that is acknowledged: a busy machine may take longer than a publish waits, and the same message is
/// stored once.
pub async fn publish(bus: &Bus, message: Message) {
    within_timeout("an acknowledgement", async {
        while let Err(error) = bus.publish(message.clone()).await {
            assert_eq!(error, PublishError::Timeout);
        }
    })
    .await;
}

/// Publishes all at once, in order.
pub async fn publish_all(bus: &Bus, messages: Vec<Message>) {
    futures_util::future::join_all(messages.into_iter().map(|message| publish(bus, message))).await;
}
