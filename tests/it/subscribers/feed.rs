//! The example that reads `GET /v1/events`, killed and started again while orders are paid: it has every event once,
//! and those of an order in their order.
//!
//! Small: sixty orders, five kills. Long: ten thousand, a hundred kills.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::program::{Program, pay_and_kill};
use super::support::example;
use crate::deploy::tool;
use crate::harness::service::{API_KEY, TestService};
use crate::harness::{size, within_timeout};

fn command(_: &str, folder: &Path) -> Command {
    let url = std::fs::read_to_string(folder.join("url")).unwrap();
    let mut command = Command::new(tool("WXPAY_TEST_PYTHON"));
    command.arg(example("python/feed.py")).env("WXPAY_URL", url).env("NO_PROXY", "*");
    command.env("WXPAY_KEY_FILE", folder.join("key")).env("CURSOR", folder.join("cursor"));
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_of_the_feed_has_every_event_once_though_it_is_killed_again_and_again() {
    let service = TestService::new().processes().await;
    let process = service.run_all().await;
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("url"), &process.base).unwrap();
    std::fs::write(folder.path().join("key"), API_KEY).unwrap();
    let mut readers = [Program::start("feed", folder, command)];
    let rounds = (size(5, 100), size(12, 100));
    let orders = pay_and_kill(&service, &process.base, &mut readers, rounds).await;
    let events = service.events(&process.base, "").await;
    assert_eq!(events.iter().filter(|event| event["type"] == "wxpay.order.paid.v1").count(), orders.len());
    let [reader] = &readers;
    within_timeout("all events", async {
        while reader.lines() < events.len() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    reader.assert_complete(&orders);
    assert_eq!(reader.events(), events, "in the order of the feed");
    service.finish().await;
}
