//! A server of the shipped configuration, the service on it, and words of NATS's protocol.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use async_nats::ConnectOptions;
use async_nats::jetstream;

use crate::deploy::{Mounts, root, tool};
use crate::harness::TEST_TIMEOUT;
use crate::harness::nats::NatsServer;
use crate::harness::service::{Processes, Queue, TestService};

/// The service on a server with these subscribers beside `finance`.
pub async fn service_with(subscribers: &[&str]) -> Processes {
    let mounts = Mounts::new();
    for name in subscribers {
        let made = mounts.add_subscriber(name);
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(said.contains("still needed") && !said.contains("error"), "{said}");
    }
    TestService::new().with(Queue::Nats(NatsServer::start_shipped(mounts))).processes().await
}

pub fn server(service: &Processes) -> &NatsServer {
    let Queue::Nats(server) = &service.queue else { unreachable!("on NATS") };
    server
}

/// The address of a user with its password.
pub fn url_of(server: &NatsServer, user: &str) -> String {
    if user == "wxpay" { server.url() } else { server.secret(&format!("nats_url_{user}")) }
}

/// JetStream as this user, with inboxes of its own.
pub async fn jetstream_as(server: &NatsServer, user: &str) -> jetstream::Context {
    let url: async_nats::ServerAddr = url_of(server, user).parse().unwrap();
    let options = ConnectOptions::with_user_and_password(user.to_owned(), url.password().unwrap().to_owned());
    let prefix = if user == "wxpay" { "_INBOX".to_owned() } else { format!("_INBOX_{user}") };
    jetstream::new(options.custom_inbox_prefix(prefix).connect(url).await.unwrap())
}

/// What the server refuses of these lines of its protocol, sent as this user: a line `PUB subject` publishes what no
/// request of JetStream's is, `SUB subject` subscribes.
pub fn refused(server: &NatsServer, user: &str, lines: &[String]) -> Vec<String> {
    let url = url_of(server, user);
    let (login, address) = url.trim_start_matches("nats://").split_once('@').unwrap();
    let (user, pass) = login.split_once(':').unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
    let words = serde_json::json!({"verbose": false, "pedantic": false, "user": user, "pass": pass});
    let mut sent = format!("CONNECT {words}\r\n");
    for (number, line) in lines.iter().enumerate() {
        sent += &match line.split_once(' ').unwrap() {
            ("PUB", subject) => format!("PUB {subject} 3\r\nno!\r\n"),
            (_, subject) => format!("SUB {subject} {number}\r\n"),
        };
    }
    stream.write_all((sent + "PING\r\n").as_bytes()).unwrap();
    let answers = BufReader::new(stream).lines().map(Result::unwrap).take_while(|line| line != "PONG");
    let refusals = answers.filter_map(|line| {
        assert!(!line.contains("Authorization"), "{line}");
        let (kind, rest) = line.split_once("Permissions Violation for ")?.1.split_once(" to \"")?;
        let subject = rest.split('"').next()?;
        Some(format!("{} {subject}", if kind == "Publish" { "PUB" } else { "SUB" }))
    });
    refusals.collect()
}

/// The admin makes a subscriber's durable consumer, by the script that is shipped.
pub fn make_durable(service: &Processes, name: &str) {
    let address = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(address.path(), url_of(server(service), "admin")).unwrap();
    let mut command = Command::new(tool("WXPAY_TEST_PYTHON"));
    command.arg(example("python/make_durable.py")).args([name, "--ack-wait", "1"]);
    let made = command.env("NATS_URL_FILE", address.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

pub fn example(name: &str) -> PathBuf {
    root().join("examples/consumers").join(name)
}
