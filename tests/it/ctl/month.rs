//! The month of `docs/finance.md`: every command of it runs, and prints what stands there. `WXPAY_RENEW_FINANCE=1`
//! writes the outputs anew.
//!
//! Commands are the lines of its `console` blocks that begin with `$ `, continued by `> `. Comments between the blocks
//! move the clock (`clock: 2026-11-03 09:30`), keep the schedule from asking (`unasked: A100003`), and await what
//! happens meanwhile (`paid: A100001`, `refunded: R100001`).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::task::AbortHandle;
use wxpay_worker::clock::{Clock, Timestamp};

use super::support::run;
use crate::harness::service::{API_KEY, InProcess, TestService};

const HEADING: &str = "## From an empty account to a closed month\n";
const SERVICE: &str = "http://127.0.0.1:8080";
const SIMULATOR: &str = "http://127.0.0.1:19001";

fn document() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/finance.md")
}

/// A part of the section, in its order.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// Prose, and the marks of the blocks.
    Text(String),
    /// A comment for the test: its name and value.
    Mark(String, String),
    /// A command as it stands there, and what it prints.
    Command(String, String),
}

fn parts(section: &str) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut in_block = false;
    for line in section.lines() {
        let line = format!("{line}\n");
        let mark = line.trim().strip_prefix("<!-- ").and_then(|text| text.strip_suffix(" -->"));
        if line.starts_with("```") {
            in_block = line == "```console\n";
            parts.push(Part::Text(line));
        } else if in_block && line.starts_with("$ ") {
            parts.push(Part::Command(line, String::new()));
        } else if in_block && let Some(Part::Command(command, output)) = parts.last_mut() {
            if line.starts_with("> ") && output.is_empty() { command.push_str(&line) } else { output.push_str(&line) }
        } else if let Some((name, value)) = mark.and_then(|mark| mark.split_once(": ")) {
            parts.push(Part::Mark(name.to_owned(), value.to_owned()));
        } else {
            parts.push(Part::Text(line));
        }
    }
    parts
}

/// What a shell runs.
fn script(command: &str) -> String {
    command.lines().map(|line| &line[2..]).collect::<Vec<_>>().join("\n")
}

/// Times of day and numbers that are made up differ from run to run; what is of the same length stands in their place.
fn masked(output: &str) -> String {
    let (mut masked, mut word, mut before) = (String::new(), String::new(), String::new());
    for c in output.chars().chain(['\n']) {
        if c.is_ascii_alphanumeric() || matches!(c, ':' | '.' | '-') {
            word.push(c);
            continue;
        }
        let is_time = word.contains(':') && word.contains(|c: char| c.is_ascii_digit());
        let is_number = word.len() >= 20 && word.contains(|c: char| c.is_ascii_digit());
        let is_made_up = is_number || before == "id";
        if is_time || is_made_up {
            // The day is the document's.
            let day = if is_time && word.len() > 10 { word[..10].to_owned() } else { String::new() };
            masked.push_str(&day);
            masked.extend(word.chars().skip(day.len()).map(|c| if c.is_alphanumeric() { '*' } else { c }));
        } else {
            masked.push_str(&word);
        }
        if !word.is_empty() {
            before = std::mem::take(&mut word);
        }
        masked.push(c);
    }
    masked.pop();
    masked
}

/// Commands wait for jobs, which run by the clock: it goes on while they do.
fn ticking(clock: Clock) -> AbortHandle {
    let ticks = async move {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            clock.advance(Duration::from_secs(1));
        }
    };
    tokio::spawn(ticks).abort_handle()
}

struct Shell {
    service: InProcess,
    folder: tempfile::TempDir,
}

impl Shell {
    async fn new() -> Shell {
        let now = Timestamp::parse_rfc3339("2026-11-03T09:00:00+08:00").unwrap();
        let service = TestService::new().refunds().clock(Clock::manual(now)).in_process().await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("api-key"), API_KEY).unwrap();
        Shell { service, folder }
    }

    /// What a terminal shows of a command, with the addresses of the document.
    async fn output(&self, command: &str) -> String {
        let programs = Path::new(env!("CARGO_BIN_EXE_wxpayctl")).parent().unwrap();
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
        let (base, wechat) = (&self.service.base, &self.service.wechat_url);
        let script = script(command).replace(SERVICE, base).replace(SIMULATOR, wechat);
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("exec 2>&1; {script}")]).env("PATH", path).env("KEY", API_KEY);
        shell.env("WXPAYCTL_URL", base).env("WXPAYCTL_KEY_FILE", self.folder.path().join("api-key"));
        shell.current_dir(self.folder.path());
        let ran = run(shell).await;
        self.service.until_idle().await;
        let out = ran.out.replace(base.as_str(), SERVICE).replace(wechat.as_str(), SIMULATOR).replace('\u{feff}', "");
        let lines: Vec<&str> = out.lines().map(str::trim_end).collect();
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// No query of the schedule is to be ahead of the command that asks about this order: the next one is due in nearly
    /// an hour.
    async fn leave_unasked(&self, order_no: &str) {
        let later = self.service.clock.now().after(Duration::from_secs(3300)).as_ms();
        let put_off = format!(
            "UPDATE orders SET next_query_at_ms = CASE WHEN next_query_at_ms IS NOT NULL THEN {later} END,
                               next_look_at_ms = CASE WHEN next_look_at_ms IS NOT NULL THEN {later} END
             WHERE order_no = '{order_no}'"
        );
        let next =
            format!("SELECT COALESCE(next_query_at_ms, next_look_at_ms) FROM orders WHERE order_no = '{order_no}'");
        let is_put_off = || async {
            self.service.until_idle().await;
            self.service.run_sql(&put_off).await;
            // One that was under way has set the time again.
            self.service.until_idle().await;
            (self.service.number(&next).await == later).then_some(())
        };
        self.service.found("an order that is not asked about", is_put_off).await;
    }

    async fn mark(&self, name: &str, value: &str) {
        match name {
            "clock" => {
                let at = Timestamp::parse_beijing_spaced(&format!("{value}:00")).unwrap();
                self.service.skip_to(at);
                // A day that is compared again counts as open until the comparison has ended, not only until it began.
                let due = format!(
                    "SELECT COUNT(*) FROM reconciliations
                      WHERE work <> 'idle' OR next_at_ms <= {at} OR recheck_at_ms <= {at}",
                    at = at.as_ms()
                );
                self.service.until_number("days compared again", &due, |days| days == 0).await;
            }
            "unasked" => self.leave_unasked(value).await,
            "paid" => {
                self.service.until_state(value, "paid").await;
                // A repair that asked about it ends with a comparison of its day.
                let repairs = "SELECT (SELECT COUNT(*) FROM reconciliation_repairs WHERE next_at_ms IS NOT NULL)
                                    + (SELECT COUNT(*) FROM reconciliations WHERE work <> 'idle')";
                self.service.until_number("repairs that go on", repairs, |repairs| repairs == 0).await;
            }
            "refunded" => {
                self.service.ends(value, "SUCCESS").await;
                self.service.until_refunded(value, "succeeded").await;
            }
            other => panic!("no such mark: {other}"),
        }
        self.service.until_idle().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_of_the_month_prints_what_the_document_says() {
    let text = std::fs::read_to_string(document()).unwrap();
    let (before, rest) = text.split_once(HEADING).unwrap();
    let end = rest.find("\n## ").map_or(rest.len(), |at| at + 1);
    let (section, after) = rest.split_at(end);
    let shell = Shell::new().await;
    let ticking = ticking(shell.service.clock.clone());
    let (mut renewed, mut commands, mut differing) = (String::new(), 0, Vec::new());
    for part in parts(section) {
        match part {
            Part::Text(line) => renewed.push_str(&line),
            Part::Mark(name, value) => {
                shell.mark(&name, &value).await;
                renewed.push_str(&format!("<!-- {name}: {value} -->\n"));
            }
            Part::Command(command, expected) => {
                let output = shell.output(&command).await;
                if masked(&output) != masked(&expected) {
                    differing.push(format!("{command}{output}\nand not\n{expected}"));
                }
                commands += 1;
                renewed.push_str(&command);
                renewed.push_str(&output);
            }
        }
    }
    ticking.abort();
    if std::env::var_os("WXPAY_RENEW_FINANCE").is_some() {
        std::fs::write(document(), format!("{before}{HEADING}{renewed}{after}")).unwrap();
    } else {
        assert!(differing.is_empty(), "{}", differing.join("\n---\n"));
    }
    assert!(commands > 20, "{commands} commands");
    // The effects, whatever was printed.
    let late = "SELECT COUNT(*) FROM ledger WHERE order_no = 'A100004' AND occurred_at_ms < 1796054400000
                AND recorded_at_ms > 1796054400000";
    assert_eq!(shell.service.number(late).await, 1, "a payment of November that was learnt in December");
    assert_eq!(shell.service.number("SELECT COUNT(*) FROM period_closings WHERE month = '2026-11'").await, 1);
    shell.service.finish().await;
}

#[test]
fn times_of_day_and_made_up_numbers_may_differ_and_nothing_else() {
    let line = |time: &str, number: &str, amount: &str| masked(&format!("2026-11-03T{time}Z  {number}  ¥{amount}\n"));
    let one = line("01:30:00.123", "4200137578202611290000000001", "18.00");
    assert_eq!(one, line("02:31:59.999", "4200137578202611290000000999", "18.00"));
    assert_ne!(one, line("01:30:00.123", "4200137578202611290000000001", "18.01"));
    assert_ne!(one, masked("2026-11-04T01:30:00.123Z  4200137578202611290000000001  ¥18.00\n"));
    assert_eq!(masked("A100001 red"), "A100001 red");
}
