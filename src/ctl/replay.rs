//! `replay`: plan, start, watch.

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::args_replay::{ReplayArgs, ReplayCommand, Selection};
use super::client::{Api, part};
use super::exit::{Exit, Failure};
use super::output::{Column, Printer};
use crate::clock::{Clock, Timestamp};

const PATH: &str = "/v1/ops/replays";
const WATCH_EVERY: Duration = Duration::from_millis(500);
const BAR: usize = 30;

const ITEMS: &[Column] = &[
    ("ITEM", "/id"),
    ("NUMBER", "/out_trade_no"),
    ("PREDICTED", "/predicted"),
    ("BECAUSE", "/predicted_reason"),
    ("RESULT", "/result"),
    ("REASON", "/reason"),
    ("ERROR", "/error"),
];

pub async fn run(api: &Api, replay: ReplayArgs, out: &mut Printer) -> Result<Exit, Failure> {
    let ReplayArgs { kind, yes, selection, command } = replay;
    match (command, selection) {
        (Some(command), _) => act(api, command, out).await,
        (None, Some(selection)) => {
            let plan = api.post(PATH, &body(kind, selection)).await?;
            let id = plan["id"].as_str().filter(|_| yes && count(&plan["to_do"]) > 0);
            let Some(id) = id else { return planned(&plan, out) };
            if !out.is_json() {
                planned(&plan, out)?;
            }
            act(api, ReplayCommand::Start { id: id.to_owned(), detach: false }, out).await
        }
        (None, None) => Err(Failure::new(Exit::Usage, "what is replayed, and why? wxpayctl replay --help")),
    }
}

async fn act(api: &Api, command: ReplayCommand, out: &mut Printer) -> Result<Exit, Failure> {
    let post = async |id: &str, verb: &str| api.post(&format!("{PATH}/{}/{verb}", part(id)), &json!({})).await;
    let replay = match command {
        ReplayCommand::Plan { kind, selection } => {
            return planned(&api.post(PATH, &body(kind, selection)).await?, out);
        }
        ReplayCommand::Items { id, page } => {
            let parameters = [("limit", page.limit.map(|limit| limit.to_string())), ("after", page.after)];
            let items = api.get(&format!("{PATH}/{}/items", part(&id)), &parameters).await?;
            if out.is_json() {
                out.json(&items)?;
            } else {
                let rows = items["items"].as_array().map(Vec::as_slice).unwrap_or_default();
                out.table(rows, ITEMS, "no items")?;
                if let Some(next) = items["next"].as_str() {
                    out.note(&format!("more: --after {next}"));
                }
            }
            return Ok(Exit::Ok);
        }
        ReplayCommand::Start { id, detach } => {
            let started = post(&id, "start").await?;
            if detach { started } else { watch(api, &id, out).await? }
        }
        ReplayCommand::Show { id } => api.get(&format!("{PATH}/{}", part(&id)), &[]).await?,
        ReplayCommand::Pause { id } => post(&id, "pause").await?,
        ReplayCommand::Resume { id } => post(&id, "resume").await?,
        ReplayCommand::Cancel { id } => post(&id, "cancel").await?,
    };
    result(&replay, out)
}

fn body(kind: String, selection: Selection) -> Value {
    let Selection { ids, refused, merchant, order_no, reason_class, from, since, to, reason, rate } = selection;
    let from = from.or_else(|| since.map(ago));
    let mut select = Map::new();
    select.insert("kind".into(), kind.into());
    if !ids.is_empty() {
        select.insert("ids".into(), ids.into());
    }
    if refused {
        select.insert("refused".into(), true.into());
    }
    let texts =
        [("merchant", merchant), ("order_no", order_no), ("reason_class", reason_class), ("from", from), ("to", to)];
    for (name, value) in texts {
        if let Some(value) = value {
            select.insert(name.into(), value.into());
        }
    }
    let mut body = json!({"select": select, "reason": reason});
    if let Some(rate) = rate {
        body["rate_per_second"] = rate.into();
    }
    body
}

/// The time so long ago, by this host's clock.
fn ago(since: Duration) -> String {
    let ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_ms(Clock::system().now().as_ms().saturating_sub(ms)).to_string()
}

fn planned(plan: &Value, out: &mut Printer) -> Result<Exit, Failure> {
    if out.is_json() {
        out.json(plan)?;
        return Ok(Exit::Ok);
    }
    let predicted = &plan["predicted"];
    let (settle, no_op) = (count(&predicted["would_settle"]), count(&predicted["no_op"]));
    let to_do = count(&plan["to_do"]);
    out.line(&format!("{} found: {settle} would settle, {no_op} would change nothing", count(&plan["total"])))?;
    reasons(&predicted["still_fails"], "still fail", out)?;
    out.line(&format!("{to_do} to do"))?;
    if let Some(id) = plan["id"].as_str().filter(|_| to_do > 0) {
        out.note(&format!("to do it: wxpayctl replay start {id}"));
    }
    Ok(Exit::Ok)
}

fn result(replay: &Value, out: &mut Printer) -> Result<Exit, Failure> {
    let results = &replay["results"];
    if out.is_json() {
        out.json(replay)?;
    } else {
        let state = replay["state"].as_str().unwrap_or_default();
        out.line(&format!(
            "{state}: {} of {} done, {} settled, {} without change",
            count(&replay["done"]),
            count(&replay["total"]),
            count(&results["settled"]),
            count(&results["no_op"]),
        ))?;
        reasons(&results["failed"], "failed", out)?;
    }
    let some_failed = results["failed"].as_object().is_some_and(|failed| !failed.is_empty());
    let stopped = matches!(replay["state"].as_str(), Some("paused" | "cancelled"));
    Ok(if some_failed || stopped { Exit::Partly } else { Exit::Ok })
}

fn reasons(counts: &Value, verb: &str, out: &mut Printer) -> Result<(), Failure> {
    for (reason, n) in counts.as_object().into_iter().flatten() {
        out.line(&format!("{n} {verb}: {reason}"))?;
    }
    Ok(())
}

/// Shows the progress until it ends, is paused or cancelled.
async fn watch(api: &Api, id: &str, out: &mut Printer) -> Result<Value, Failure> {
    let bar = stderr().is_terminal() && !out.is_json();
    loop {
        let replay = api.get(&format!("{PATH}/{}", part(id)), &[]).await?;
        if bar {
            let (done, total) = (count(&replay["done"]), count(&replay["total"]).max(1));
            let filled =
                usize::try_from(done.min(total)).unwrap_or_default() * BAR / usize::try_from(total).unwrap_or(1);
            out.progress(&format!("[{:<BAR$}] {done} of {total}", "#".repeat(filled)));
        }
        if replay["state"] != "running" {
            if bar {
                out.note("");
            }
            return Ok(replay);
        }
        // The API has no signal for progress; this is a person's screen.
        tokio::time::sleep(WATCH_EVERY).await;
    }
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}
