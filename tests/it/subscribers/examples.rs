//! The examples of consumers, killed and started again while orders are paid: after they have deduplicated, each has
//! every event once, and those of an order in their order.
//!
//! Small: two dozen orders, three kills of each. Long: ten thousand, a hundred kills.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::jetstream::stream;
use futures_util::StreamExt;
use serde_json::Value;
use tempfile::TempDir;

use super::support::{example, jetstream_as, make_durable, server, service_with, url_of};
use crate::deploy::tool;
use crate::harness::service::Processes;
use crate::harness::{size, within_timeout};

/// Languages, each with a user of that name.
const EXAMPLES: [&str; 4] = ["rust", "python", "node", "go"];

/// One example with its files; killed when dropped.
struct Consumer {
    language: &'static str,
    folder: TempDir,
    child: Child,
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Consumer {
    fn start(service: &Processes, language: &'static str) -> Consumer {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("url"), url_of(server(service), language)).unwrap();
        prepare(language, folder.path());
        let child = spawn(language, folder.path());
        Consumer { language, folder, child }
    }

    fn journal(&self) -> PathBuf {
        self.folder.path().join("journal")
    }

    /// Complete lines so far.
    fn lines(&self) -> usize {
        std::fs::read(self.journal()).map_or(0, |bytes| bytes.iter().filter(|b| **b == b'\n').count())
    }

    /// SIGKILL.
    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn start_again(&mut self) {
        self.child = spawn(self.language, self.folder.path());
    }

    /// Awaits that it has more lines than that.
    async fn until_more_than(&mut self, lines: usize) {
        within_timeout(&format!("more than {lines} events in {}", self.language), async {
            while self.lines() <= lines {
                assert!(self.child.try_wait().unwrap().is_none(), "{} ended: {}", self.language, self.said());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default()
    }

    fn events(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.journal()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// What has to be built or laid beside the program.
fn prepare(language: &str, folder: &Path) {
    match language {
        "node" => {
            std::fs::copy(example("node/consumer.js"), folder.join("consumer.js")).unwrap();
            std::fs::copy(example("node/package.json"), folder.join("package.json")).unwrap();
            std::os::unix::fs::symlink(tool("WXPAY_TEST_NODE_MODULES"), folder.join("node_modules")).unwrap();
        }
        "go" => {
            // With Debian's packages, which are no modules.
            let mut build = Command::new(tool("WXPAY_TEST_GO"));
            build.args(["build", "-o"]).arg(folder.join("consumer")).arg(example("go/consumer.go"));
            build.env("GO111MODULE", "off").env("GOPATH", "/usr/share/gocode").env("GOFLAGS", "");
            let built = build.env("GOCACHE", go_cache()).output().unwrap();
            assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        }
        _ => {}
    }
}

fn go_cache() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().join("go-cache")
}

fn spawn(language: &str, folder: &Path) -> Child {
    let mut command = match language {
        // Cargo builds examples with the tests, beside their folder.
        "rust" => Command::new(std::env::current_exe().unwrap().parent().unwrap().join("../examples/consumer")),
        "python" => {
            let mut command = Command::new(tool("WXPAY_TEST_PYTHON"));
            command.arg(example("python/consumer.py"));
            command
        }
        "node" => {
            let mut command = Command::new(tool("WXPAY_TEST_NODE"));
            command.arg(folder.join("consumer.js"));
            command
        }
        "go" => Command::new(folder.join("consumer")),
        language => panic!("no example in {language}"),
    };
    let errors = std::fs::OpenOptions::new().append(true).create(true).open(folder.join("stderr")).unwrap();
    command.env("NATS_URL_FILE", folder.join("url")).env("JOURNAL", folder.join("journal"));
    command.stdout(Stdio::null()).stderr(errors).spawn().unwrap()
}

/// Places and pays these orders, some at once.
async fn pay_all(service: &Processes, base: &str, order_nos: &[String]) {
    let paying = futures_util::stream::iter(order_nos).map(|order_no| async move {
        service.place(base, order_no, 100).await;
        service.pay(order_no).await;
        service.until_state(base, order_no, "paid").await;
    });
    paying.buffer_unordered(8).collect::<Vec<()>>().await;
}

/// Publishes every `order.paid` once more, as a relay does that was killed before it noted its publish, after the time
/// in which the server would notice.
async fn publish_again(service: &Processes) {
    let admin = jetstream_as(server(service), "admin").await;
    let events = admin.get_stream("PAY_EVENTS").await.unwrap();
    let last = events.cached_info().state.last_sequence;
    let relay = jetstream_as(server(service), "wxpay").await;
    for sequence in 1..=last {
        let event = events.get_raw_message(sequence).await.unwrap();
        if event.subject.ends_with(".order.paid") {
            relay.publish(event.subject, event.payload).await.unwrap().await.unwrap();
        }
    }
}

/// Awaits that the durable has delivered everything and everything was acknowledged; gives how often it delivered.
async fn until_caught_up(events: &stream::Stream, name: &str) -> u64 {
    loop {
        let info = events.consumer_info(name).await.unwrap();
        if info.num_pending == 0 && info.num_ack_pending == 0 {
            return info.delivered.consumer_sequence;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_example_has_every_event_once_and_in_order_though_it_is_killed_again_and_again() {
    let service = service_with(&EXAMPLES).await;
    let process = service.run_all().await;
    EXAMPLES.iter().for_each(|name| make_durable(&service, name));
    let mut consumers = EXAMPLES.map(|language| Consumer::start(&service, language));
    let (kills, in_each): (usize, usize) = (size(3, 100), size(8, 100));
    let mut orders = BTreeSet::new();
    for round in 0..kills {
        let order_nos: Vec<String> = (0..in_each).map(|n| format!("C{round:03}{n:03}")).collect();
        let begun: Vec<usize> = consumers.iter().map(Consumer::lines).collect();
        let killing = async {
            for (consumer, lines) in consumers.iter_mut().zip(begun) {
                consumer.until_more_than(lines).await;
                consumer.kill();
                consumer.start_again();
            }
        };
        tokio::join!(pay_all(&service, &process.base, &order_nos), killing);
        orders.extend(order_nos);
    }
    service.until_drained().await;
    publish_again(&service).await;
    let admin = jetstream_as(server(&service), "admin").await;
    let events = admin.get_stream("PAY_EVENTS").await.unwrap();
    let limit = Duration::from_secs(size(60, 1800));
    let published = events.cached_info().state.messages;
    for consumer in &consumers {
        let caught_up = tokio::time::timeout(limit, until_caught_up(&events, consumer.language)).await;
        let missing = || panic!("{} has not got all of {published} events: {}", consumer.language, consumer.said());
        let delivered = caught_up.unwrap_or_else(|_| missing());
        let read = consumer.events();
        let ids: BTreeSet<&str> = read.iter().map(|event| event["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), read.len(), "{}: an event is there twice", consumer.language);
        assert!(delivered >= (read.len() + orders.len()) as u64, "{delivered}: repeats were delivered");
        let mut of_orders: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for event in &read {
            of_orders.entry(event["subject"].as_str().unwrap()).or_default().push(event["type"].as_str().unwrap());
        }
        assert_eq!(of_orders.keys().copied().collect::<BTreeSet<_>>(), orders.iter().map(String::as_str).collect());
        for (order_no, types) in of_orders {
            let expected = ["wxpay.order.payable.v1", "wxpay.order.paid.v1"];
            assert_eq!(types, expected, "{}: {order_no}", consumer.language);
        }
    }
    service.finish().await;
}
