//! A bus whose stream has a consumer of bundles, and workers for it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream;
use tokio::sync::mpsc;
use wxpay_worker::bus::{Bus, ConsumerSpec, Delivery, Message, Together, Topology, Verdict};
use wxpay_worker::config;
use wxpay_worker::secret::Secret;

use crate::harness::bus::{Backend, Consumer, Needs, Shelf, message, next, settings, topology};
use crate::harness::cable::Cable;
use crate::harness::nats::{NatsServer, connected};
use crate::harness::within_timeout;

pub const BUNDLES: &str = "worker-bundles";
pub const BUNDLE_SUBJECT: &str = "t.in.main.bundle.work";

/// That of the version before, and a consumer of bundles.
fn with_bundles(needs: Needs) -> Topology {
    let mut topology = topology(needs);
    let consumers = &mut topology.streams[0].consumers;
    let of = consumers[0].clone();
    let (name, filter) = (BUNDLES.to_owned(), "t.in.*.bundle.work".to_owned());
    consumers.push(ConsumerSpec { name, filter, bundles: Some(of.name.clone()), ..of });
    topology
}

pub struct Stage {
    pub backend: Backend,
    pub bus: Bus,
    needs: Needs,
}

impl Stage {
    pub async fn open(needs: Needs) -> Stage {
        Stage::with(needs, |_| {}).await
    }

    pub async fn with(needs: Needs, change: impl Fn(&mut config::Bus)) -> Stage {
        let backend = Backend::nats().await;
        let mut settings = settings(&backend, needs);
        change(&mut settings);
        let (bus, _) = connected(&settings, None, with_bundles(needs)).await;
        Stage { backend, bus, needs }
    }

    pub fn server(&self) -> &NatsServer {
        match &self.backend {
            Backend::Nats(server) => server,
            Backend::Embedded(_) => panic!("not on NATS"),
        }
    }

    pub async fn stream(&self) -> jetstream::stream::Stream {
        let context = jetstream::new(async_nats::connect(self.server().url()).await.unwrap());
        context.get_stream("T_IN").await.unwrap()
    }

    /// How many messages the stream has, and how many of them are bundles.
    pub async fn stored(&self) -> (u64, u64) {
        let mut stream = self.stream().await;
        let all = stream.info().await.unwrap().state.messages;
        let mut bundles = 0;
        for seq in 1..=all {
            bundles += u64::from(stream.get_raw_message(seq).await.unwrap().subject.as_str() == BUNDLE_SUBJECT);
        }
        (all, bundles)
    }

    /// Awaits that the server knows of a process that reads bundles.
    pub async fn until_read(&self) {
        let stream = self.stream().await;
        within_timeout("a request for bundles", async {
            while stream.consumer_info(BUNDLES).await.unwrap().num_waiting == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    pub async fn until_drained(&self) {
        self.until_left("the ends", 0).await;
    }

    /// Awaits that so many messages have no end.
    pub async fn until_left(&self, what: &str, count: u64) {
        within_timeout(what, async {
            let left = async || {
                let lags = self.bus.lag().await.unwrap();
                lags.iter().map(|lag| lag.pending + lag.in_flight).sum::<u64>()
            };
            while left().await != count {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// As another process that reaches the server by a cable.
    pub async fn behind(&self, cable: &Cable) -> Bus {
        let mut settings = settings(&self.backend, self.needs);
        settings.url = Secret::new(format!("nats://{}", cable.address()));
        connected(&settings, None, with_bundles(self.needs)).await.0
    }

    /// How often bundles were delivered.
    pub async fn bundle_deliveries(&self) -> u64 {
        self.stream().await.consumer_info(BUNDLES).await.unwrap().delivered.consumer_sequence
    }

    /// As a worker's process that has just started.
    pub async fn other_process(&self) -> Bus {
        connected(&settings(&self.backend, self.needs), None, with_bundles(self.needs)).await.0
    }
}

pub fn numbered(range: std::ops::Range<u32>) -> Vec<Message> {
    range.map(|n| message(n.to_string())).collect()
}

pub fn texts(messages: &[Message]) -> BTreeSet<String> {
    messages.iter().map(|message| String::from_utf8(message.payload.clone()).unwrap()).collect()
}

/// One that reports what it was given, and calls it done.
pub fn recording(bus: &Bus, shelf: &Arc<Shelf>) -> (Consumer, mpsc::UnboundedReceiver<Delivery>) {
    let (seen, deliveries) = mpsc::unbounded_channel();
    let alone = seen.clone();
    let together: Together = Arc::new(move |deliveries| {
        let verdicts = deliveries.iter().map(|_| Some(Verdict::Done)).collect();
        deliveries.into_iter().for_each(|one| drop(seen.send(one)));
        Box::pin(async move { verdicts })
    });
    let of_one = move |delivery| {
        let _ = alone.send(delivery);
        async { Verdict::Done }
    };
    (Consumer::together(bus, 64, shelf, together, of_one), deliveries)
}

pub async fn seen(deliveries: &mut mpsc::UnboundedReceiver<Delivery>, count: usize) -> Vec<Delivery> {
    let mut all = Vec::new();
    while all.len() < count {
        all.push(next(deliveries).await);
    }
    all
}
