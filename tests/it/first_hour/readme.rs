//! README's shortest way to a paid order, its lines as they stand there.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::TEST_TIMEOUT;
use crate::harness::ports::{free_port, two_free_ports};

const README: &str = include_str!("../../../README.md");
const HEADING: &str = "\n## Set it up\n";

/// The lines between ```sh and ``` under the heading.
fn lines() -> &'static str {
    let (_, section) = README.split_once(HEADING).expect("README has the section");
    section.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).expect("the section has commands")
}

/// Ends every process of the shell's group with it.
struct Group(u32);

impl Drop for Group {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", self.0)]).status();
    }
}

#[tokio::test]
async fn its_lines_lead_to_a_paid_order() {
    let folder = tempfile::tempdir().unwrap();
    // The simulator's, and of its listener with TLS.
    let (service, simulator) = (free_port(), two_free_ports());
    let here = |text: &str| {
        text.replace("127.0.0.1:8080", &format!("127.0.0.1:{service}"))
            .replace("127.0.0.1:19001", &format!("127.0.0.1:{simulator}"))
    };
    let programs = Path::new(env!("CARGO_BIN_EXE_wxpayd")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("bash");
    command
        .args(["-euo", "pipefail", "-c", &here(lines())])
        .current_dir(folder.path())
        .env("PATH", path)
        .env("no_proxy", "*")
        // Only the ports differ from what is written.
        .env("WXPAY__SERVER__LISTEN", here("127.0.0.1:8080"))
        .env("WXPAY__SERVER__PUBLIC_URL", here("http://127.0.0.1:8080"))
        .env("WXPAY__WECHAT__SANDBOX_URL", here("http://127.0.0.1:19001"))
        .stdout(std::fs::File::create(folder.path().join("said")).unwrap())
        .stderr(std::fs::File::create(folder.path().join("errors")).unwrap())
        .stdin(Stdio::null())
        .process_group(0);
    let mut shell = command.spawn().unwrap();
    let group = Group(shell.id());
    let ended = tokio::task::spawn_blocking(move || shell.wait().unwrap());
    // Three programs start in them, one after the other.
    let ended = tokio::time::timeout(4 * TEST_TIMEOUT, ended).await.expect("README's lines end").unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let (said, errors) = (read("said"), read("errors"));
    assert!(ended.success(), "{ended}\n{said}\n{errors}");
    // No line ends an answer.
    let begins = said.match_indices("{\"order_no\":\"A100001\",\"merchant\"").map(|(at, _)| &said[at..]);
    let orders = begins.filter_map(|text| serde_json::Deserializer::from_str(text).into_iter::<Value>().next()?.ok());
    let orders: Vec<Value> = orders.filter(|order| order.get("attempts").is_some()).collect();
    let last = orders.last().unwrap_or_else(|| panic!("no order in {said}"));
    assert_eq!((last["order_no"].as_str(), last["state"].as_str()), (Some("A100001"), Some("paid")), "{said}");
    assert_eq!(last["credited"], true, "{said}");
    drop(group);
}
