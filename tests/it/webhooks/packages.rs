//! What is posted verifies with the `standardwebhooks` packages of npm and PyPI, unchanged.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use wxpay_worker::clock::Clock;

use super::receiver::{Received, Receiver};
use super::{CONFIG, endpoint, path, until_attempts};
use crate::deploy::{root, tool};
use crate::harness::service::TestService;

/// What the service posts, with the secret in use and the one before the last rotation.
async fn posted() -> (Vec<Received>, Vec<String>) {
    // The packages compare the time of a message with this host's.
    let service = TestService::new().config(CONFIG).clock(Clock::system()).in_process().await;
    let receiver = Receiver::start().await;
    let made = endpoint(&service, &receiver.url, &[]).await;
    let (_, rotated) = service.post(&format!("{}/rotate", path(&made)), &json!({})).await;
    let mut order = crate::harness::service::jsapi("W100001", 100);
    order["description"] = json!("茶 <b>\u{1F375}</b> \"quoted\"");
    service.place_as(&order).await;
    service.pay("W100001").await;
    service.until_state("W100001", "paid").await;
    until_attempts(&service, &made, 2, "delivered").await;
    let secrets = [&made, &rotated].map(|of: &Value| of["secret"].as_str().unwrap().to_owned());
    let received = receiver.received();
    service.finish().await;
    (received, secrets.to_vec())
}

async fn verify(mut command: Command) {
    let (received, secrets) = posted().await;
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut expected = Vec::new();
    for (got, secret) in received.iter().flat_map(|got| secrets.iter().map(move |secret| (got, secret))) {
        let line = json!({"secret": secret, "headers": got.headers, "body": got.body});
        writeln!(input, "{line}").unwrap();
        expected.push(got.id().to_owned());
    }
    drop(input);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
    assert!(expected.len() >= 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_posted_verifies_with_the_package_of_npm() {
    let mut command = Command::new(tool("WXPAY_TEST_NODE"));
    command.arg(root().join("tests/sdk/standardwebhooks.mjs"));
    verify(command).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_posted_verifies_with_the_package_of_pypi() {
    let mut command = Command::new(tool("WXPAY_TEST_PYTHON"));
    command.arg(root().join("tests/sdk/standardwebhooks_check.py"));
    verify(command).await;
}
