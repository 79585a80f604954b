//! An SDK of another author, with another TLS library, refunds with the files the simulator makes.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::deploy::{root, tool};

/// Killed when dropped.
struct Simulator(Child);

impl Drop for Simulator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn tenpay_for_node_refunds_with_the_simulators_p12() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_wxpay-sandbox"));
    program.args(["--listen", "127.0.0.1:0", "--time-scale", "100", "--certificates"]).arg(folder.path());
    let mut simulator = Simulator(program.stdout(Stdio::piped()).spawn().unwrap());
    let said = BufReader::new(simulator.0.stdout.as_mut().unwrap());
    let (mut base, mut refund_base) = (None, None);
    for line in said.lines().map_while(Result::ok) {
        if let Some((_, address)) = line.split_once("listening on ") {
            base = Some(address.to_owned());
        } else if line.contains("/secapi/") {
            refund_base = line
                .split_whitespace()
                .nth(1)
                .and_then(|url| url.strip_suffix("/secapi/pay/refund"))
                .map(str::to_owned);
            break;
        }
    }
    let mut script = Command::new(tool("WXPAY_TEST_NODE"));
    script.arg(root().join("tests/sdk/tenpay_refund.mjs"));
    script.args([base.unwrap(), refund_base.unwrap()]).arg(folder.path().join("apiclient_cert.p12"));
    script.env("NODE_EXTRA_CA_CERTS", folder.path().join("ca.pem"));
    let output = script.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}\n{said}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    for check in ["without a certificate there is no refund", "the middleware opens the refund notification"] {
        assert!(said.lines().any(|l| l.starts_with("ok") && l.ends_with(check)), "{check:?} is not among\n{said}");
    }
}
