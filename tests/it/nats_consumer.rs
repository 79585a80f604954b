//! The consumer that stands for other people's services, `tests/sdk/nats_consumer.py`, against a real NATS server:
//! flows rely on what it prints, so it must print what is there, all of it, and leave behind what it did not
//! acknowledge.

use std::process::{Command, Output};

use async_nats::HeaderMap;
use async_nats::jetstream::{self, stream};
use serde_json::{Value, json};

use crate::deploy::{Server, root, tool, until_ready};

struct Bus {
    url: String,
    _server: Server,
    _store: tempfile::TempDir,
}

impl Bus {
    async fn unacknowledged(&self, durable: &str) -> usize {
        let jetstream = jetstream::new(async_nats::connect(&self.url).await.unwrap());
        let stream = jetstream.get_stream("PAY_EVENTS").await.unwrap();
        stream.consumer_info(durable).await.unwrap().num_ack_pending
    }
}

/// A server with a stream PAY_EVENTS that holds these subjects; event n has the id `event-n` and says so.
async fn bus_with(subjects: &[&'static str]) -> Bus {
    let store = tempfile::tempdir().unwrap();
    let mut command = Command::new(tool("WXPAY_TEST_NATS_SERVER"));
    command.args(["--addr", "127.0.0.1", "--port", "-1", "--jetstream", "--store_dir"]).arg(store.path());
    let (server, address, _) = until_ready(&mut command);
    let url = format!("nats://{address}");
    let jetstream = jetstream::new(async_nats::connect(&url).await.unwrap());
    let config =
        stream::Config { name: "PAY_EVENTS".into(), subjects: vec!["pay.event.>".into()], ..Default::default() };
    jetstream.create_stream(config).await.unwrap();
    for (number, subject) in subjects.iter().enumerate() {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", format!("event-{number}"));
        let event = json!({"number": number}).to_string();
        jetstream.publish_with_headers(*subject, headers, event.into()).await.unwrap().await.unwrap();
    }
    Bus { url, _server: server, _store: store }
}

fn consume(bus: &Bus, arguments: &[&str]) -> Output {
    let mut command = Command::new(tool("WXPAY_TEST_PYTHON"));
    command.arg(root().join("tests/sdk/nats_consumer.py")).args(["--url", &bus.url]);
    command.args(arguments).output().unwrap()
}

fn events(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_consumer_reads_each_event_of_its_filter_once() {
    let bus =
        bus_with(&["pay.event.main.order.paid", "pay.event.main.order.closed", "pay.event.other.order.paid"]).await;
    let filter = ["--filter", "pay.event.*.order.paid"];
    let first = consume(&bus, &[&filter[..], &["--count", "2"]].concat());
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    let expected = [("main", 0), ("other", 2)].map(|(merchant, n)| {
        json!({
            "subject": format!("pay.event.{merchant}.order.paid"), "id": format!("event-{n}"), "seq": n + 1,
            "delivered": 1, "data": {"number": n},
        })
    });
    assert_eq!(events(&first), expected);
    assert_eq!(bus.unacknowledged("finance").await, 0);
    let second = consume(&bus, &[&filter[..], &["--count", "1", "--timeout", "0.5"]].concat());
    assert_eq!(second.status.code(), Some(3), "nothing is left, so the wait ends by time");
    assert_eq!(events(&second), Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_consumer_that_dies_before_its_acknowledgement_sees_the_event_again() {
    let bus = bus_with(&["pay.event.main.order.paid"]).await;
    let options = ["--count", "1", "--ack-wait", "0.5"];
    let died = consume(&bus, &[&options[..], &["--no-ack"]].concat());
    assert_eq!(events(&died)[0]["delivered"], 1);
    assert_eq!(bus.unacknowledged("finance").await, 1);
    let again = consume(&bus, &options);
    assert_eq!(events(&again)[0]["delivered"], 2, "{}", String::from_utf8_lossy(&again.stderr));
    assert_eq!(events(&again)[0]["id"], events(&died)[0]["id"]);
}
