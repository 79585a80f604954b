//! The examples of consumers, killed and started again while orders are paid: after they have deduplicated, each has
//! every event once, and those of an order in their order.
//!
//! Small: two dozen orders, three kills of each. Long: ten thousand, a hundred kills.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use async_nats::jetstream::stream;
use tempfile::TempDir;

use super::program::{Program, pay_and_kill};
use super::support::{example, jetstream_as, make_durable, server, service_with, url_of};
use crate::deploy::tool;
use crate::harness::service::Processes;
use crate::harness::size;

/// Languages, each with a user of that name.
const EXAMPLES: [&str; 4] = ["rust", "python", "node", "go"];

fn start(service: &Processes, language: &'static str) -> Program {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("url"), url_of(server(service), language)).unwrap();
    prepare(language, folder.path());
    Program::start(language, folder, command)
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

fn command(language: &str, folder: &Path) -> Command {
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
    command.env("NATS_URL_FILE", folder.join("url"));
    command
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
    let mut consumers = EXAMPLES.map(|language| start(&service, language));
    let rounds = (size(3, 100), size(8, 100));
    let orders = pay_and_kill(&service, &process.base, &mut consumers, rounds).await;
    service.until_drained().await;
    publish_again(&service).await;
    let admin = jetstream_as(server(&service), "admin").await;
    let events = admin.get_stream("PAY_EVENTS").await.unwrap();
    let limit = Duration::from_secs(size(300, 1800));
    let published = events.cached_info().state.messages;
    for consumer in &consumers {
        let caught_up = tokio::time::timeout(limit, until_caught_up(&events, consumer.name)).await;
        let missing = || panic!("{} has not got all of {published} events: {}", consumer.name, consumer.said());
        let delivered = caught_up.unwrap_or_else(|_| missing());
        let kept = consumer.lines();
        assert!(delivered >= (kept + orders.len()) as u64, "{delivered}: repeats were delivered");
        consumer.assert_complete(&orders);
    }
    service.finish().await;
}
