//! A program that keeps each event once in a journal, killed and started again; and the orders that are paid meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::service::Processes;
use crate::harness::within_timeout;

/// One program with its files; killed when dropped.
pub struct Program {
    pub name: &'static str,
    folder: TempDir,
    command: fn(&str, &Path) -> Command,
    child: Child,
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Program {
    /// Starts the command of this name, whose files are in the folder. It writes `journal` there.
    pub fn start(name: &'static str, folder: TempDir, command: fn(&str, &Path) -> Command) -> Program {
        let child = spawn(name, folder.path(), command);
        Program { name, folder, command, child }
    }

    fn journal(&self) -> PathBuf {
        self.folder.path().join("journal")
    }

    /// Complete lines so far.
    pub fn lines(&self) -> usize {
        std::fs::read(self.journal()).map_or(0, |bytes| bytes.iter().filter(|b| **b == b'\n').count())
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn start_again(&mut self) {
        self.child = spawn(self.name, self.folder.path(), self.command);
    }

    /// Awaits that it has more lines than that.
    pub async fn until_more_than(&mut self, lines: usize) {
        within_timeout(&format!("more than {lines} events in {}", self.name), async {
            while self.lines() <= lines {
                assert!(self.child.try_wait().unwrap().is_none(), "{} ended: {}", self.name, self.said());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    pub fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default()
    }

    pub fn events(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.journal()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Asserts that it has every event of these orders once, and those of an order in their order.
    pub fn assert_complete(&self, orders: &BTreeSet<String>) {
        let read = self.events();
        let ids: BTreeSet<&str> = read.iter().map(|event| event["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), read.len(), "{}: an event is there twice", self.name);
        let mut of_orders: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for event in &read {
            of_orders.entry(event["subject"].as_str().unwrap()).or_default().push(event["type"].as_str().unwrap());
        }
        assert_eq!(of_orders.keys().copied().collect::<BTreeSet<_>>(), orders.iter().map(String::as_str).collect());
        for (order_no, types) in of_orders {
            let expected = ["wxpay.order.payable.v1", "wxpay.order.paid.v1"];
            assert_eq!(types, expected, "{}: {order_no}", self.name);
        }
    }
}

fn spawn(name: &str, folder: &Path, command: fn(&str, &Path) -> Command) -> Child {
    let errors = std::fs::OpenOptions::new().append(true).create(true).open(folder.join("stderr")).unwrap();
    let mut command = command(name, folder);
    command.env("JOURNAL", folder.join("journal")).env("PYTHONDONTWRITEBYTECODE", "1");
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

/// Pays so many orders in each round, and kills each program once meanwhile, with an event that it has just written.
/// Answers the orders.
pub async fn pay_and_kill(
    service: &Processes,
    base: &str,
    programs: &mut [Program],
    (rounds, in_each): (usize, usize),
) -> BTreeSet<String> {
    let mut orders = BTreeSet::new();
    for round in 0..rounds {
        let order_nos: Vec<String> = (0..in_each).map(|n| format!("C{round:03}{n:03}")).collect();
        let begun: Vec<usize> = programs.iter().map(Program::lines).collect();
        let killing = async {
            for (program, lines) in programs.iter_mut().zip(begun) {
                program.until_more_than(lines).await;
                program.kill();
                program.start_again();
            }
        };
        tokio::join!(pay_all(service, base, &order_nos), killing);
        orders.extend(order_nos);
    }
    orders
}
