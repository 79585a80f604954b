//! Three nats-servers as child processes in one cluster, each with a store of its own, that can be killed and started
//! again.

use std::path::Path;
use std::process::Child;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use async_nats::jetstream;
use serde_json::Value;
use tempfile::TempDir;

use super::{Version, settings, spawn};
use crate::harness::ports::free_port;
use crate::harness::requests::answer;
use crate::harness::within_timeout;

/// How many there are.
pub const NODES: usize = 3;

/// A running cluster; killed when dropped.
pub struct NatsCluster {
    nodes: Vec<Node>,
}

struct Node {
    folder: TempDir,
    port: u16,
    monitoring_port: u16,
    settings: String,
    child: Mutex<Option<Child>>,
}

impl NatsCluster {
    /// Starts three servers that sync before they acknowledge, and awaits that streams can be made.
    pub async fn start() -> NatsCluster {
        let route_ports: Vec<u16> = (0..NODES).map(|_| free_port()).collect();
        let routes: Vec<String> = route_ports.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
        let nodes: Vec<Node> = (0..NODES)
            .map(|n| {
                let (folder, port, monitoring_port) = (TempDir::new().unwrap(), free_port(), free_port());
                let alone = settings(folder.path(), "always", port, monitoring_port);
                let cluster = format!(
                    "server_name: {}\n\
                     cluster {{ name: test, listen: \"127.0.0.1:{}\", no_advertise: true, routes: [{}] }}\n",
                    name(n),
                    route_ports[n],
                    routes.join(", ")
                );
                Node { folder, port, monitoring_port, settings: alone + &cluster, child: Mutex::new(None) }
            })
            .collect();
        let cluster = NatsCluster { nodes };
        for n in 0..NODES {
            cluster.start_node(n);
        }
        for n in 0..NODES {
            cluster.until_led(n).await;
        }
        cluster
    }

    /// All addresses, as `bus.url` lists them.
    pub fn url(&self) -> String {
        let urls: Vec<String> = self.nodes.iter().map(|node| format!("nats://127.0.0.1:{}", node.port)).collect();
        urls.join(",")
    }

    pub fn monitoring_urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| format!("http://127.0.0.1:{}", node.monitoring_port)).collect()
    }

    /// Which of them leads a stream, once the cluster can tell.
    pub async fn leader_of(&self, stream: &str) -> usize {
        within_timeout("a leader of the stream", async {
            loop {
                if let Some(leader) = self.reported_leader(stream).await {
                    return leader;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await
    }

    async fn reported_leader(&self, stream: &str) -> Option<usize> {
        let url = self.url();
        let servers: Vec<&str> = url.split(',').collect();
        let context = jetstream::new(async_nats::connect(servers).await.ok()?);
        let stream = context.get_stream(stream).await.ok()?;
        let leader = stream.cached_info().cluster.as_ref()?.leader.clone()?;
        (0..NODES).find(|n| name(*n) == leader)
    }

    /// SIGKILL: nothing is flushed or said.
    pub fn kill(&self, n: usize) {
        if let Some(mut child) = self.child(n).take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts one again after [`NatsCluster::kill`], on the same ports and store.
    pub fn start_node(&self, n: usize) {
        self.start_node_with(n, "always");
    }

    /// As [`NatsCluster::start_node`] with another `sync_interval`.
    pub fn start_node_with(&self, n: usize, sync_interval: &str) {
        let node = &self.nodes[n];
        let settings = node.settings.replace("sync_interval: always", &format!("sync_interval: {sync_interval}"));
        *self.child(n) = Some(spawn(Version::New, node.path(), &settings, None));
    }

    /// Awaits that a server knows who leads the cluster.
    async fn until_led(&self, n: usize) {
        let http = crate::harness::requests::plain_http().build().unwrap();
        let url = format!("http://127.0.0.1:{}/jsz", self.nodes[n].monitoring_port);
        within_timeout("a leader of the cluster", async {
            loop {
                let seen = answer(http.get(&url)).await.map(|(_, seen)| seen).unwrap_or(Value::Null);
                if seen["meta_cluster"]["leader"].as_str().is_some_and(|leader| !leader.is_empty()) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    }

    fn child(&self, n: usize) -> MutexGuard<'_, Option<Child>> {
        self.nodes[n].child.lock().unwrap()
    }
}

impl Node {
    fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for NatsCluster {
    fn drop(&mut self) {
        for n in 0..NODES {
            self.kill(n);
        }
    }
}

fn name(n: usize) -> String {
    format!("n{n}")
}
