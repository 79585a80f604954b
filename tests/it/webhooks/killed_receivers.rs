//! Receivers that verify with the packages of npm and PyPI, killed and started again while orders are paid: after they
//! have deduplicated by id, each has every event once, and those of an order in their order.
//!
//! Small: sixty orders, five kills of each. Long: ten thousand, a hundred kills.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use super::{CONFIG, WEBHOOKS};
use crate::deploy::{root, tool};
use crate::harness::ports::free_port;
use crate::harness::service::{Processes, TestService};
use crate::harness::size;
use crate::subscribers::program::{Program, pay_and_kill};

/// The packages that they verify with.
const RECEIVERS: [&str; 2] = ["npm", "pypi"];

fn command(package: &str, folder: &Path) -> Command {
    let (program, file) = match package {
        "npm" => ("WXPAY_TEST_NODE", "webhook_receiver.mjs"),
        _ => ("WXPAY_TEST_PYTHON", "webhook_receiver.py"),
    };
    let mut command = Command::new(tool(program));
    command.arg(root().join("tests/sdk").join(file));
    command.env("PORT", std::fs::read_to_string(folder.join("port")).unwrap());
    command.env("SECRET_FILE", folder.join("secret"));
    command
}

/// A receiver, and its endpoint.
async fn start(service: &Processes, base: &str, package: &'static str) -> Program {
    let (folder, port) = (TempDir::new().unwrap(), free_port());
    let url = format!("http://127.0.0.1:{port}/hook");
    let (status, made) = service.post(base, WEBHOOKS, &json!({"url": url, "merchant": "main"})).await;
    assert_eq!(status, 201, "{made}");
    std::fs::write(folder.path().join("port"), port.to_string()).unwrap();
    std::fs::write(folder.path().join("secret"), made["secret"].as_str().unwrap()).unwrap();
    Program::start(package, folder, command)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_receiver_has_every_event_once_and_in_order_though_it_is_killed_again_and_again() {
    let service = TestService::new().config(CONFIG).processes().await;
    let process = service.run_all().await;
    let mut receivers = Vec::new();
    for package in RECEIVERS {
        receivers.push(start(&service, &process.base, package).await);
    }
    let (rounds, in_each) = (size(5, 100), size(12, 100));
    let orders = pay_and_kill(&service, &process.base, &mut receivers, (rounds, in_each)).await;
    let events = service.events(&process.base, "").await;
    assert_eq!(events.iter().filter(|event| event["type"] == "wxpay.order.paid.v1").count(), orders.len());
    let db = service.open_db().await;
    // What met a receiver that was down is tried again after pauses, each three times as long as the one before.
    let delivered = async {
        let left = "SELECT COUNT(*) FROM webhook_deliveries WHERE state <> 'delivered'";
        let all = "SELECT COUNT(*) FROM webhook_deliveries";
        let expected = i64::try_from(events.len() * RECEIVERS.len()).unwrap();
        while service.number(&db, all).await < expected || service.number(&db, left).await > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let limit = Duration::from_secs(size(600, 3600));
    let in_time = tokio::time::timeout(limit, delivered).await;
    let said = || receivers.iter().map(Program::said).collect::<Vec<_>>();
    assert!(in_time.is_ok(), "not all was delivered: {:?}", said());
    for receiver in &receivers {
        receiver.assert_complete(&orders);
        assert_eq!(receiver.events().len(), events.len(), "{}", receiver.name);
        assert!(!receiver.said().contains("refused"), "{}", receiver.said());
    }
    // Before each kill an event was kept and not answered: it came again with the same id.
    let again = "SELECT COUNT(*) FROM webhook_deliveries WHERE attempts > 1";
    let kills = i64::try_from(rounds * RECEIVERS.len()).unwrap();
    let repeated = service.number(&db, again).await;
    assert!(repeated >= kills, "{repeated} of {kills}");
    service.finish().await;
}
