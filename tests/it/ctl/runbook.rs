//! `docs/runbook.md`: an entry for each alert and each reason, and commands that run. The same service shows that every
//! command has output for programs.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use wxpay_worker::bus::{ConsumerName, Message, Parked, Parking};
use wxpay_worker::clock::Clock;
use wxpay_worker::event::command::{NoticeKind, NotifyReceived};
use wxpay_worker::event::envelope::{Envelope, EventData};
use wxpay_worker::event::subject;
use wxpay_worker::ids::MerchantKey;
use wxpay_worker::ops::reason::ReasonClass;
use wxpay_worker::store::Store;
use wxpay_worker::worker::StoreParking;

use super::help::commands;
use super::support::Operator;
use crate::flows::notifications::{notify, signed};
use crate::harness::within_timeout;

const RUNBOOK: &str = include_str!("../../../docs/runbook.md");
const ALERTS: &str = include_str!("../../../deploy/prometheus/alerts.yml");
/// What stands in the runbook, and what of this service is put in its place.
const ORDER: &str = "A100001";
const LETTER: &str = " 17";
const NOTIFICATION: &str = "019ac8f2-3c11-7d02-8a5e-0b9c5f3f7a10";
const CONFIG: &str = "/etc/wxpay/wxpay.toml";

/// The lines of the runbook's shell blocks, each once.
fn lines() -> Vec<&'static str> {
    let blocks = RUNBOOK.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let all: Vec<&str> = blocks.flat_map(str::lines).collect();
    let mut seen = BTreeSet::new();
    all.into_iter().filter(|line| seen.insert(*line)).collect()
}

/// The entry under a heading.
fn entry(name: &str) -> &'static str {
    let (_, rest) = RUNBOOK.split_once(&format!("\n### {name}\n")).unwrap_or_else(|| panic!("no entry for {name}"));
    rest.split("\n### ").next().unwrap().split("\n## ").next().unwrap()
}

fn alerts() -> Vec<&'static str> {
    ALERTS.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect()
}

#[test]
fn each_alert_and_each_reason_has_an_entry_and_nothing_else_has() {
    let reasons: Vec<&str> = ReasonClass::ALL.iter().map(|reason| reason.as_str()).collect();
    let names: Vec<&str> = alerts().into_iter().chain(reasons).collect();
    for name in &names {
        let entry = entry(name);
        for part in ["**Means.**", "**Check.**", "**Do.**", "**Worked.**"] {
            assert!(entry.contains(part), "{name} lacks {part}");
        }
        assert!(entry.contains("```sh\nwxpayctl "), "{name} has no command");
    }
    let headings: Vec<&str> = RUNBOOK.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert_eq!(headings, names);
    for reason in ReasonClass::ALL {
        let plain = entry(reason.as_str()).replace('\n', " ");
        assert!(plain.contains(reason.sentence()), "{} means something else", reason.as_str());
    }
}

/// A service with an order that is paid, a dead letter, a refused notification.
struct Furnished {
    operator: Operator,
    letter: String,
    notification: String,
}

impl Furnished {
    async fn new() -> Furnished {
        let operator = Operator::new().await;
        let (service, base) = (&operator.service, &operator.process.base);
        for order_no in [ORDER, "A100002"] {
            service.place(base, order_no, 100).await;
        }
        service.pay(ORDER).await;
        service.until_state(base, ORDER, "paid").await;
        let forged = signed(&[("out_trade_no", "A100002")], "00000000000000000000000000000000");
        assert!(notify(service, &operator.process, "main", forged).await.1.contains("FAIL"));
        park(&operator).await;
        service.expect_dead_letters(&["amount_differs"]);
        service.until_drained().await;
        let letters = operator.run(&["dead-letters", "list", "--json"]).await.json();
        let letter = letters["dead_letters"][0]["id"].to_string();
        let notification = within_timeout("the refused notification is kept", async {
            loop {
                let refused = operator.run(&["notifications", "list", "--verdict", "refused", "--json"]).await.json();
                if let Some(id) = refused["notifications"][0]["id"].as_str() {
                    return id.to_owned();
                }
            }
        })
        .await;
        Furnished { operator, letter, notification }
    }

    /// A line of the runbook as it is for this service.
    fn line(&self, line: &str) -> String {
        let config = self.operator.service.config_file();
        line.replace(ORDER, &format!("{ORDER} --merchant main"))
            .replace(LETTER, &format!(" {}", self.letter))
            .replace(NOTIFICATION, &self.notification)
            .replace(CONFIG, config.to_str().unwrap())
    }
}

/// Leaves a notification as a dead letter.
async fn park(operator: &Operator) {
    let (merchant, now) = (MerchantKey::parse("main").unwrap(), Clock::system().now());
    let data = NotifyReceived {
        body: signed(&[("out_trade_no", ORDER)], crate::harness::service::KEY).into_bytes(),
        headers: Vec::new(),
        remote_addr: "127.0.0.1".into(),
        received_at: now,
        kind: NoticeKind::Pay,
    };
    let event = Envelope::new(&merchant, NotifyReceived::TYPE, None, now, data);
    let parked = Parked {
        message: Message {
            subject: subject::notify_received(&merchant),
            id: event.id,
            payload: event.to_json().unwrap().into_bytes(),
            headers: Vec::new(),
        },
        consumer: ConsumerName::SETTLE,
        reason: "amount_differs",
        first_error: "first".into(),
        last_error: "last".into(),
        attempts: 3,
        published_at: now,
    };
    let store = Store::new(operator.service.open_db().await);
    StoreParking::new(store, Clock::system()).park(parked).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_of_the_runbook_runs_and_every_command_has_json() {
    let furnished = Furnished::new().await;
    every_command_has_json(&furnished).await;
    let programs = std::path::Path::new(env!("CARGO_BIN_EXE_wxpayctl")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    for line in lines() {
        assert!(line.starts_with("wxpayctl "), "not a command that can be run here: {line}");
        let run = async || {
            let mut shell = Command::new("sh");
            shell.args(["-c", &furnished.line(line)]).env("PATH", format!("{}:{path}", programs.display()));
            furnished.operator.run_command(shell).await
        };
        let mut ran = run().await;
        // On a busy machine a check of readiness may take longer than it may.
        for _ in 0..20 {
            if ran.code == 0 || line != "wxpayctl health" {
                break;
            }
            ran = run().await;
        }
        assert_eq!(ran.code, 0, "{line}: {} {}", ran.out, ran.err);
        assert!(!ran.out.contains('\x1b') && !ran.err.contains('\x1b'), "{line}: colours in a pipe");
    }
    furnished.operator.finish().await;
}

/// Calls of every command that is one, by its name: those that print data print JSON.
async fn every_command_has_json(furnished: &Furnished) {
    let operator = &furnished.operator;
    let plan = ["replay", "plan", "notification", "--refused", "--reason", "a test"];
    let planned = operator.run(&[&plan[..], &["--json"]].concat()).await.json();
    let config = operator.service.config_file();
    let (replay, letter) = (planned["id"].as_str().unwrap(), furnished.letter.as_str());
    let yesterday = Clock::system().now().before(Duration::from_secs(24 * 3600)).to_beijing_day();
    let table: Vec<(&str, Vec<&str>)> = vec![
        ("health", vec![]),
        ("orders list", vec![]),
        ("orders show", vec![ORDER, "--merchant", "main"]),
        ("orders revoke-token", vec![ORDER, "--merchant", "main", "--reason", "a test"]),
        ("why", vec![ORDER, "--merchant", "main"]),
        ("notifications list", vec![]),
        ("notifications show", vec![&furnished.notification]),
        ("payers erasures", vec![]),
        ("dead-letters groups", vec![]),
        ("dead-letters list", vec![]),
        ("dead-letters show", vec![letter]),
        ("dead-letters discard", vec![letter, "--reason", "a test", "--yes"]),
        ("approvals list", vec![]),
        ("replay plan", plan[2..].to_vec()),
        ("replay start", vec![replay]),
        ("replay show", vec![replay]),
        ("replay items", vec![replay]),
        ("ledger", vec!["--merchant", "main", "--day", "2026-11-27"]),
        ("balances", vec!["--merchant", "main", "--day", "2026-11-27"]),
        ("reconcile run", vec!["--date", &yesterday, "--detach"]),
        ("reconcile show", vec![]),
        ("reconcile lines", vec!["--date", &yesterday]),
        ("reconcile repair", vec!["--date", &yesterday]),
        ("periods list", vec![]),
        ("periods show", vec![&yesterday[..7]]),
        ("events tail", vec!["--no-follow", "--types", "wxpay.order.paid.v1"]),
        ("jobs", vec![]),
        ("trigger", vec!["retention", "--reason", "a test"]),
        ("bus ls", vec![]),
        ("bus info", vec!["PAY_IN"]),
        ("bus lag", vec![]),
        ("bus peek", vec!["PAY_EVENTS"]),
        ("webhooks ls", vec![]),
        ("doctor", vec!["--config", config.to_str().unwrap()]),
        ("audit", vec![]),
        ("keys new", vec![]),
    ];
    // The first three change a replay that runs: see `ops_replay::control`; keys of the database have their test in
    // `ctl::keys`, endpoints in `webhooks::ctl`, what takes a second person in `approvals::ctl`, lines and months in
    // `console_pages::finance` and `books::months`. The others are scripts and files, not data.
    let webhooks = ["attempts", "deliveries", "new", "recover", "test"].map(|name| format!("webhooks {name}"));
    let others = [
        "approvals show",
        "approvals approve",
        "approvals refuse",
        "replay pause",
        "replay resume",
        "replay cancel",
        "reconcile resolve",
        "reconcile explain",
        "reconcile export",
        "reconcile bill",
        "periods close",
        "periods reopen",
        "keys list",
        "keys revoke",
        "payers end-sessions",
        "payers erase",
        "payers erasure",
        "completions",
        "man",
    ];
    let all: Vec<Vec<String>> = commands().await.into_iter().map(|(path, _)| path).collect();
    let is_group = |path: &[String]| all.iter().any(|other| other.len() > path.len() && other.starts_with(path));
    let leaves: BTreeSet<String> = all.iter().filter(|path| !is_group(path)).map(|path| path.join(" ")).collect();
    let named: BTreeSet<String> =
        table.iter().map(|(name, _)| *name).chain(others).map(str::to_owned).chain(webhooks).collect();
    assert_eq!(leaves, named, "a command without a call here");
    for (name, arguments) in table {
        let arguments: Vec<&str> = name.split(' ').chain(arguments).chain(["--json"]).collect();
        let ran = operator.run(&arguments).await;
        // A replay of what is forged fails in part.
        let expected = if name == "replay start" || name == "replay show" { 4 } else { 0 };
        assert!(ran.code == 0 || ran.code == expected, "{name}: {} {}", ran.code, ran.err);
        let value: Value = ran.json();
        assert!(value.is_object() && value != json!({}), "{name}: {value}");
        assert!(!ran.out.contains('\x1b'), "{name}");
    }
}
