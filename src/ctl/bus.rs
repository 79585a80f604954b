//! `bus`: the queue. Nothing is taken from it.

use serde_json::Value;

use super::args::BusCommand;
use super::client::{Api, part};
use super::commands::{rows, show};
use super::exit::{Exit, Failure};
use super::output::{Column, Printer};

const PATH: &str = "/v1/ops/bus";

const STREAMS: &[Column] = &[
    ("STREAM", "/name"),
    ("MESSAGES", "/messages"),
    ("BYTES", "/bytes"),
    ("OF", "/max_bytes"),
    ("PERCENT", "/percent"),
    ("WHEN FULL", "/when_full"),
];
const CONSUMERS: &[Column] = &[
    ("CONSUMER", "/name"),
    ("STREAM", "/stream"),
    ("PENDING", "/pending"),
    ("IN FLIGHT", "/in_flight"),
    ("OLDEST (S)", "/oldest_age_s"),
];
const MESSAGES: &[Column] = &[
    ("SEQ", "/seq"),
    ("PUBLISHED", "/published_at"),
    ("SUBJECT", "/subject"),
    ("ID", "/id"),
    ("BYTES", "/message_bytes"),
    ("MESSAGE", "/message"),
];

pub async fn run(api: &Api, command: BusCommand, out: &mut Printer) -> Result<Exit, Failure> {
    match command {
        BusCommand::Ls => rows(&api.get(PATH, &[]).await?, "streams", STREAMS, "no streams", out),
        BusCommand::Lag => rows(&api.get(PATH, &[]).await?, "consumers", CONSUMERS, "no consumers", out),
        BusCommand::Info { stream } => {
            let bus = api.get(PATH, &[]).await?;
            show(&info(&bus, &stream)?, out)
        }
        BusCommand::Peek { stream, consumer, page } => {
            let limit = page.limit.map(|limit| limit.to_string());
            let parameters = [("consumer", consumer), ("after", page.after), ("limit", limit)];
            let answer = api.get(&format!("{PATH}/{}/messages", part(&stream)), &parameters).await?;
            rows(&answer, "messages", MESSAGES, "no messages", out)?;
            if let Some(next) = answer["next"].as_str().filter(|_| !out.is_json()) {
                out.note(&format!("more: --after {next}"));
            }
            Ok(Exit::Ok)
        }
    }
}

/// A stream with its consumers in full.
fn info(bus: &Value, stream: &str) -> Result<Value, Failure> {
    let named = |list: &str, member: &str| {
        let all = bus[list].as_array().cloned().unwrap_or_default();
        all.into_iter().filter(|row| row[member] == stream).collect::<Vec<_>>()
    };
    let mut found = named("streams", "name")
        .into_iter()
        .next()
        .ok_or_else(|| Failure::new(Exit::NotFound, format!("there is no stream {stream}: wxpayctl bus ls")))?;
    found["consumers"] = named("consumers", "stream").into();
    Ok(found)
}
