//! What the commands do.

use serde_json::{Value, json};

use super::args::ApprovalsCommand;
use crate::ctl::client::Api;
use crate::ctl::exit::{Exit, Failure};
use crate::ctl::output::{Column, Printer};

const PATH: &str = "/v1/ops/approvals";
const APPROVALS: &[Column] = &[
    ("ASKED", "/asked_at"),
    ("ID", "/id"),
    ("STATE", "/state"),
    ("KIND", "/kind"),
    ("MERCHANT", "/merchant"),
    ("ORDER", "/order_no"),
    ("AMOUNT", "/amount_fen"),
    ("BY", "/asked_by"),
    ("EXPIRES", "/expires_at"),
    ("REASON", "/reason"),
];
const APPROVAL: &[Column] = &[
    ("id", "/id"),
    ("state", "/state"),
    ("kind", "/kind"),
    ("merchant", "/merchant"),
    ("order", "/order_no"),
    ("transaction", "/transaction_id"),
    ("refund", "/refund_no"),
    ("amount", "/amount_fen"),
    ("currency", "/currency"),
    ("reason", "/reason"),
    ("asked by", "/asked_by"),
    ("asked", "/asked_at"),
    ("expires", "/expires_at"),
    ("decided by", "/decided_by"),
    ("decided", "/decided_at"),
    ("why", "/decision_reason"),
];

pub async fn run(api: &Api, command: ApprovalsCommand, out: &mut Printer) -> Result<Exit, Failure> {
    match command {
        ApprovalsCommand::List { all, merchant, page } => {
            let state = (!all).then(|| "waiting".to_owned());
            let limit = page.limit.map(|limit| limit.to_string());
            let filter = [("state", state), ("merchant", merchant), ("limit", limit), ("after", page.after)];
            listed(&api.get(PATH, &filter).await?, out)
        }
        ApprovalsCommand::Show { id } => shown(&api.get(&format!("{PATH}/{id}"), &[]).await?, out),
        ApprovalsCommand::Approve { id, reason, yes } => {
            if !yes {
                return Err(Failure::new(Exit::Refused, "what is approved is done at once: add --yes"));
            }
            shown(&api.post(&format!("{PATH}/{id}/approve"), &json!({"reason": reason})).await?, out)
        }
        ApprovalsCommand::Refuse { id, reason } => {
            shown(&api.post(&format!("{PATH}/{id}/refuse"), &json!({"reason": reason})).await?, out)
        }
    }
}

fn listed(answer: &Value, out: &mut Printer) -> Result<Exit, Failure> {
    if out.is_json() {
        out.json(answer)?;
        return Ok(Exit::Ok);
    }
    let rows = answer["approvals"].as_array().map(Vec::as_slice).unwrap_or_default();
    out.table(rows, APPROVALS, "nothing waits for a second person")?;
    if let Some(next) = answer["next"].as_str() {
        out.note(&format!("more: --after {next}"));
    }
    Ok(Exit::Ok)
}

fn shown(approval: &Value, out: &mut Printer) -> Result<Exit, Failure> {
    if out.is_json() {
        out.json(approval)?;
    } else {
        out.record(approval, APPROVAL)?;
    }
    Ok(Exit::Ok)
}
