//! What the commands do.

use std::io::{Read, stdin};
use std::path::Path;

use serde_json::{Map, Value};

use super::args::{Payer, PayersCommand};
use crate::ctl::client::Api;
use crate::ctl::exit::{Exit, Failure};
use crate::ctl::output::{Column, Printer};

/// Larger than any openid.
const MAX_BYTES: u64 = 4096;
const ENDED: &[Column] = &[("app", "/app"), ("ended", "/ended_at")];
const ERASURES: &[Column] = &[
    ("ASKED", "/asked_at"),
    ("ID", "/id"),
    ("STATE", "/state"),
    ("APP", "/app"),
    ("PAYER", "/payer"),
    ("BY", "/asked_by"),
    ("REASON", "/reason"),
];
const ERASURE: &[Column] = &[
    ("id", "/id"),
    ("state", "/state"),
    ("app", "/app"),
    ("payer", "/payer"),
    ("reason", "/reason"),
    ("asked by", "/asked_by"),
    ("asked", "/asked_at"),
    ("changed", "/changed"),
    ("removed", "/removed"),
    ("orders that may still be paid", "/waits_for/orders"),
    ("evidence with the openid", "/waits_for/evidence"),
    ("notifications that wait", "/waits_for/notifications"),
    ("dead letters that are parked", "/waits_for/dead_letters"),
    ("messages under way", "/waits_for/messages"),
    ("rows that cannot be read", "/waits_for/unreadable"),
    ("keys of names that are lost", "/waits_for/keys"),
    ("its last pass", "/waits_for/last_pass"),
    ("error", "/error"),
    ("next", "/next_at"),
    ("ended", "/ended_at"),
];

pub async fn run(api: &Api, command: PayersCommand, out: &mut Printer) -> Result<Exit, Failure> {
    match command {
        PayersCommand::EndSessions { payer } => {
            let ended = api.post("/v1/ops/sessions/end", &body(payer)?).await?;
            shown(&ended, ENDED, out)
        }
        PayersCommand::Erase { yes: false, .. } => {
            Err(Failure::new(Exit::Refused, "what is erased cannot be had back: add --yes"))
        }
        PayersCommand::Erase { payer, .. } => shown(&api.post("/v1/ops/erasures", &body(payer)?).await?, ERASURE, out),
        PayersCommand::Erasures { page } => {
            let limit = page.limit.map(|limit| limit.to_string());
            listed(&api.get("/v1/ops/erasures", &[("limit", limit), ("after", page.after)]).await?, out)
        }
        PayersCommand::Erasure { id } => shown(&api.get(&format!("/v1/ops/erasures/{id}"), &[]).await?, ERASURE, out),
    }
}

fn body(payer: Payer) -> Result<Value, Failure> {
    let mut body = Map::new();
    body.extend(payer.app.map(|app| ("app".to_owned(), app.into())));
    body.insert("openid".to_owned(), openid(&payer.openid_file)?.into());
    body.insert("reason".to_owned(), payer.reason.into());
    Ok(Value::Object(body))
}

fn openid(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        stdin().take(MAX_BYTES).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|opened| opened.take(MAX_BYTES).read_to_string(&mut text))
    };
    read.map_err(|error| Failure::new(Exit::Usage, format!("{}: {error}", file.display())))?;
    Ok(text.trim().to_owned())
}

fn listed(answer: &Value, out: &mut Printer) -> Result<Exit, Failure> {
    if out.is_json() {
        out.json(answer)?;
        return Ok(Exit::Ok);
    }
    let rows = answer["erasures"].as_array().map(Vec::as_slice).unwrap_or_default();
    out.table(rows, ERASURES, "no erasure was asked for")?;
    if let Some(next) = answer["next"].as_str() {
        out.note(&format!("more: --after {next}"));
    }
    Ok(Exit::Ok)
}

fn shown(answer: &Value, columns: &[Column], out: &mut Printer) -> Result<Exit, Failure> {
    if out.is_json() {
        out.json(answer)?;
    } else {
        out.record(answer, columns)?;
    }
    Ok(Exit::Ok)
}
