//! SDKs of other authors, unchanged but for their base URL, against the simulator as a process: placing,
//! querying, closing, taking the simulator's notifications with their own verification, logging people in, signing
//! pages.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::deploy::{root, tool};

/// The simulator with its default merchant; killed when dropped.
struct Simulator {
    child: Child,
    base: String,
}

impl Simulator {
    fn start() -> Simulator {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wxpay-sandbox"));
        let mut child = command.args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let base = line.trim_end().split_once("listening on ").expect("no address").1.to_owned();
        Simulator { child, base }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a script against a simulator of its own; it must end well after these checks.
fn passes(mut script: Command, checks: &[&str]) {
    let simulator = Simulator::start();
    let output = script.arg(&simulator.base).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}\n{errors}", output.status);
    for check in checks {
        assert!(said.lines().any(|l| l.starts_with("ok") && l.ends_with(check)), "{check:?} is not among\n{said}");
    }
}

#[test]
fn tenpay_for_node_pays_and_takes_the_simulators_notifications() {
    let mut script = Command::new(tool("WXPAY_TEST_NODE"));
    script.arg(root().join("tests/sdk/tenpay.mjs"));
    let checks = [
        "MD5: the middleware accepts the notification",
        "MD5: a tampered one is refused",
        "HMAC-SHA256: paySign is right",
        "HMAC-SHA256: the query says paid",
        "the sandbox switch: an order is placed, paid and found",
        "what is not simulated is refused with a reason",
        "a wrong key is refused",
    ];
    passes(script, &checks);
}

#[test]
fn wechatpy_for_python_pays_logs_in_and_signs_pages_against_the_simulator() {
    let mut script = Command::new(tool("WXPAY_TEST_PYTHON"));
    script.arg(root().join("tests/sdk/wechatpy_check.py"));
    let checks = [
        "the notification verifies",
        "the sandbox's key signs the notification",
        "the sandbox refunds without a certificate",
        "what is not simulated is refused with a reason",
        "a tampered notification is refused",
        "a wrong key is refused",
        "a code gives the openid",
        "the user who agreed tells a name",
        "a token is fetched, and a ticket with it",
        "the browser takes its signature",
        "a dead token is replaced and the call repeated",
        "a mini program's code gives its session",
    ];
    passes(script, &checks);
}
