//! What carries the queue.

use crate::harness::nats::cluster::{self, NatsCluster};
use crate::harness::nats::{NatsServer, Version};

pub enum Queue {
    Embedded,
    Nats(NatsServer),
    Cluster(NatsCluster),
}

impl Queue {
    pub fn nats() -> Queue {
        Queue::Nats(NatsServer::start(Version::New))
    }

    /// What `bus.url` would be.
    pub fn url(&self) -> String {
        match self {
            Queue::Embedded => "embedded:".to_owned(),
            Queue::Nats(server) => server.url(),
            Queue::Cluster(cluster) => cluster.url(),
        }
    }

    pub fn monitoring_urls(&self) -> Vec<String> {
        match self {
            Queue::Embedded => Vec::new(),
            Queue::Nats(server) => vec![server.monitoring_url()],
            Queue::Cluster(cluster) => cluster.monitoring_urls(),
        }
    }

    pub fn replicas(&self) -> usize {
        match self {
            Queue::Embedded | Queue::Nats(_) => 1,
            Queue::Cluster(_) => cluster::NODES,
        }
    }
}
