//! What the commands do.

use serde_json::{Map, Value, json};

use super::args::WebhooksCommand;
use crate::ctl::args_page::Page;
use crate::ctl::client::{Api, part};
use crate::ctl::exit::{Exit, Failure};
use crate::ctl::output::{Column, Printer};

const PATH: &str = "/v1/webhooks";
const ENDPOINTS: &[Column] = &[
    ("ID", "/id"),
    ("MERCHANT", "/merchant"),
    ("FORMAT", "/format"),
    ("STATE", "/state"),
    ("WHY", "/disabled_reason"),
    ("PENDING", "/pending"),
    ("FAILED", "/failed"),
    ("NEXT", "/next_attempt_at"),
    ("URL", "/url"),
];
const ATTEMPTS: &[Column] = &[
    ("AT", "/started_at"),
    ("DELIVERY", "/delivery"),
    ("EVENT", "/request/webhook-id"),
    ("TYPE", "/request/type"),
    ("ORDER", "/order_no"),
    ("OUTCOME", "/outcome"),
    ("STATUS", "/answer/status"),
    ("MS", "/took_ms"),
    ("ERROR", "/error"),
];
const DELIVERIES: &[Column] = &[
    ("MADE", "/created_at"),
    ("ID", "/id"),
    ("EVENT", "/event_id"),
    ("TYPE", "/type"),
    ("ORDER", "/order_no"),
    ("STATE", "/state"),
    ("ATTEMPTS", "/attempts"),
    ("NEXT", "/next_attempt_at"),
    ("ERROR", "/last_error"),
];
const TESTED: &[Column] =
    &[("outcome", "/outcome"), ("status", "/answer/status"), ("answer", "/answer/body"), ("error", "/error")];

/// A list of the API.
struct List {
    path: String,
    rows: &'static str,
    columns: &'static [Column],
    none: &'static str,
}

pub async fn run(api: &Api, command: WebhooksCommand, out: &mut Printer) -> Result<Exit, Failure> {
    match command {
        WebhooksCommand::Ls { merchant, page } => {
            let of = List { path: PATH.to_owned(), rows: "webhooks", columns: ENDPOINTS, none: "no webhooks" };
            list(api, &of, ("merchant", merchant), page, out).await
        }
        WebhooksCommand::New { address, address_file, format, merchant, events, description, reason } => {
            let mut body = Map::new();
            let address = match address_file {
                Some(file) => {
                    let text = std::fs::read_to_string(&file);
                    let failed = |e| Failure::new(Exit::Usage, format!("{}: {e}", file.display()));
                    text.map_err(failed)?.trim().to_owned()
                }
                None => address.unwrap_or_default(),
            };
            body.insert("url".into(), address.into());
            if format != "events" {
                body.insert("format".into(), format.into());
            }
            let texts = [("merchant", merchant), ("description", description), ("reason", reason)];
            body.extend(texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?.into()))));
            if !events.is_empty() {
                body.insert("events".into(), events.into());
            }
            made(&api.post(PATH, &Value::Object(body)).await?, out)
        }
        WebhooksCommand::Test { id } => {
            let answer = api.post(&format!("{PATH}/{}/test", part(&id)), &json!({})).await?;
            if out.is_json() {
                out.json(&answer)?
            } else {
                out.record(&answer, TESTED)?
            }
            Ok(if answer["outcome"] == "delivered" { Exit::Ok } else { Exit::Failed })
        }
        WebhooksCommand::Attempts { id, delivery, page } => {
            let path = format!("{PATH}/{}/attempts", part(&id));
            let of = List { path, rows: "attempts", columns: ATTEMPTS, none: "no attempts" };
            list(api, &of, ("delivery", delivery), page, out).await
        }
        WebhooksCommand::Deliveries { id, state, page } => {
            let path = format!("{PATH}/{}/deliveries", part(&id));
            let of = List { path, rows: "deliveries", columns: DELIVERIES, none: "no deliveries" };
            list(api, &of, ("state", state), page, out).await
        }
        WebhooksCommand::Recover { id, since, reason } => {
            let since = since.map(|since| format!("?since={}", part(&since))).unwrap_or_default();
            let path = format!("{PATH}/{}/recover{since}", part(&id));
            let answer = api.post(&path, &json!({"reason": reason})).await?;
            if out.is_json() {
                out.json(&answer)?;
            } else {
                out.line(&format!("{} deliveries are tried again", answer["recovered"]))?;
            }
            Ok(Exit::Ok)
        }
    }
}

fn made(made: &Value, out: &mut Printer) -> Result<Exit, Failure> {
    if out.is_json() {
        out.json(made)?;
        return Ok(Exit::Ok);
    }
    let id = made["id"].as_str().unwrap_or_default();
    let Some(secret) = made["secret"].as_str() else {
        out.line(id)?;
        // A mail's endpoint has no secret at all.
        let key = if made["format"] == "wecom" { "The robot's key is not shown again. " } else { "" };
        out.note(&format!("{key}To see whether it works: wxpayctl webhooks test {id}"));
        return Ok(Exit::Ok);
    };
    // Piped into a file, the secret is alone in it.
    out.line(secret)?;
    out.note(&format!("The secret is not shown again. To see whether it works: wxpayctl webhooks test {id}"));
    Ok(Exit::Ok)
}

async fn list(
    api: &Api,
    of: &List,
    filter: (&str, Option<String>),
    page: Page,
    out: &mut Printer,
) -> Result<Exit, Failure> {
    let limit = page.limit.map(|limit| limit.to_string());
    let answer = api.get(&of.path, &[filter, ("limit", limit), ("after", page.after)]).await?;
    if out.is_json() {
        out.json(&answer)?;
        return Ok(Exit::Ok);
    }
    out.table(answer[of.rows].as_array().map(Vec::as_slice).unwrap_or_default(), of.columns, of.none)?;
    if let Some(next) = answer["next"].as_str() {
        out.note(&format!("more: --after {next}"));
    }
    Ok(Exit::Ok)
}
