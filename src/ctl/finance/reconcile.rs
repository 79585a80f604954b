//! The reconciliation with WeChat's bills.

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use serde_json::{Value, json};

use super::args::{Day, ReconcileCommand};
use super::export::{Export, export, to_file_or_stdout};
use super::merchant::merchant;
use crate::ctl::client::{Api, part};
use crate::ctl::exit::{Exit, Failure};
use crate::ctl::output::{Column, Printer};

const PATH: &str = "/v1/reconciliations";
const WATCH_EVERY: Duration = Duration::from_millis(500);

const DAYS: &[Column] = &[
    ("DAY", "/date"),
    ("MERCHANT", "/merchant"),
    ("STATE", "/state"),
    ("BILL", "/bill/payments_fen"),
    ("REFUNDS", "/bill/refunds_fen"),
    ("FEES", "/bill/fees"),
    ("OURS", "/ledger/payments_fen"),
    ("REFUNDS", "/ledger/refunds_fen"),
    ("UNEXPLAINED", "/unexplained_fen"),
    ("ERROR", "/error"),
];
const DAY: &[Column] = &[
    ("day", "/date"),
    ("merchant", "/merchant"),
    ("state", "/state"),
    ("bill rows", "/bill/rows"),
    ("bill payments", "/bill/payments_fen"),
    ("bill refunds", "/bill/refunds_fen"),
    ("fees", "/bill/fees"),
    ("our rows", "/ledger/rows"),
    ("our payments", "/ledger/payments_fen"),
    ("our refunds", "/ledger/refunds_fen"),
    ("unexplained", "/unexplained_fen"),
    ("repair", "/repair/state"),
    ("repaired", "/repair/done"),
    ("of lines", "/repair/lines"),
    ("waits for", "/repair/waits_for"),
    ("stopped by", "/repair/stopped_by"),
    ("error", "/error"),
    ("explained by", "/explained/by"),
    ("explained at", "/explained/at"),
    ("note", "/explained/note"),
    ("next try", "/next_try_at"),
];
const OTHERS: &[Column] = &[
    ("CURRENCY", "/currency"),
    ("BILL", "/bill/payments_fen"),
    ("REFUNDS", "/bill/refunds_fen"),
    ("FEES", "/bill/fees"),
    ("OURS", "/ledger/payments_fen"),
    ("REFUNDS", "/ledger/refunds_fen"),
    ("UNEXPLAINED", "/unexplained_fen"),
];
const CLASSES: &[Column] = &[("CLASS", "/class"), ("LINES", "/lines")];
const LINES: &[Column] = &[
    ("ID", "/id"),
    ("CLASS", "/class"),
    ("ORDER", "/order_no"),
    ("TRANSACTION", "/transaction_id"),
    ("REFUND", "/refund_no"),
    ("BILL", "/bill/amount_fen"),
    ("OURS", "/ledger/amount_fen"),
    ("RESOLUTION", "/resolution"),
    ("NOTE", "/note"),
    ("WECHAT SAID", "/said"),
];
const PLAN: &[Column] = &[
    ("LINE", "/line/id"),
    ("CLASS", "/line/class"),
    ("MEND", "/mend"),
    ("ORDER", "/order_no"),
    ("NUMBER", "/line/transaction_id"),
];
const RESULTS: &[Column] = &[("LINE", "/line"), ("MEND", "/mend"), ("RESULT", "/result"), ("WECHAT SAID", "/said")];
const REPAIR: &[Column] =
    &[("repair", "/state"), ("repaired", "/done"), ("of lines", "/lines"), ("stopped by", "/stopped_by")];

pub async fn reconcile(api: &Api, command: ReconcileCommand, out: &mut Printer) -> Result<Exit, Failure> {
    match command {
        ReconcileCommand::Run { day, detach } => run(api, &of(api, day).await?, detach, out).await,
        ReconcileCommand::Show { span, date: Some(date) } => {
            let of = of(api, Day { merchant: span.merchant, date }).await?;
            shown(&api.get(&path(&of, ""), &[]).await?, out)
        }
        ReconcileCommand::Show { span, date: None } => {
            let parameters = [("merchant", span.merchant), ("from", span.from), ("to", span.to)];
            let answer = api.get(PATH, &parameters).await?;
            list(&answer, "reconciliations", DAYS, "no day was reconciled", out)
        }
        ReconcileCommand::Lines { day, class, page } => {
            let limit = page.limit.map(|limit| limit.to_string());
            let parameters = [("class", class), ("limit", limit), ("after", page.after)];
            let answer = api.get(&path(&of(api, day).await?, "/lines"), &parameters).await?;
            list(&answer, "lines", LINES, "no line differs", out)
        }
        ReconcileCommand::Export { span, date, out: file, lang, columns } => {
            export(api, Export { span, date, out: file.as_deref(), lang, columns }, out).await
        }
        ReconcileCommand::Bill { day, of: kind, out: file } => {
            let (path, parameters) = (path(&of(api, day).await?, "/bill"), [("type", Some(kind))]);
            to_file_or_stdout(api, (&path, &parameters), file.as_deref(), out).await
        }
        ReconcileCommand::Resolve { id, day, note } => {
            let path = path(&of(api, day).await?, &format!("/lines/{}/resolve", part(&id)));
            let line = api.post(&path, &json!({"note": note})).await?;
            if out.is_json() {
                out.json(&line)?;
            } else {
                out.record(&line, LINES)?;
            }
            Ok(Exit::Ok)
        }
        ReconcileCommand::Explain { day, note } => {
            shown(&api.post(&path(&of(api, day).await?, "/explain"), &json!({"note": note})).await?, out)
        }
        ReconcileCommand::Repair { day, reason, stop: true, .. } => stop(api, &of(api, day).await?, &reason, out).await,
        ReconcileCommand::Repair { day, reason, yes, .. } => repair(api, &of(api, day).await?, reason, yes, out).await,
    }
}

/// A day of a merchant.
struct MerchantDay {
    merchant: String,
    date: String,
}

async fn of(api: &Api, day: Day) -> Result<MerchantDay, Failure> {
    Ok(MerchantDay { merchant: merchant(api, day.merchant).await?, date: day.date })
}

fn path(day: &MerchantDay, rest: &str) -> String {
    format!("{PATH}/{}/{}{rest}", part(&day.merchant), part(&day.date))
}

fn list(answer: &Value, name: &str, columns: &[Column], none: &str, out: &mut Printer) -> Result<Exit, Failure> {
    if out.is_json() {
        out.json(answer)?;
        return Ok(Exit::Ok);
    }
    out.table(answer[name].as_array().map(Vec::as_slice).unwrap_or_default(), columns, none)?;
    if let Some(next) = answer["next"].as_str() {
        out.note(&format!("more: --after {next}"));
    }
    Ok(Exit::Ok)
}

async fn run(api: &Api, day: &MerchantDay, detach: bool, out: &mut Printer) -> Result<Exit, Failure> {
    let asked = api.post(PATH, &json!({"merchant": day.merchant, "date": day.date})).await?;
    if detach {
        return shown(&asked, out);
    }
    let bar = stderr().is_terminal() && !out.is_json();
    loop {
        let result = api.get(&path(day, ""), &[]).await?;
        let state = result["state"].as_str().unwrap_or_default().to_owned();
        if !matches!(state.as_str(), "pending" | "running") {
            if bar {
                out.note("");
            }
            return shown(&result, out);
        }
        if bar {
            let rows = result["bill"]["rows"].as_u64().unwrap_or_default();
            out.progress(&format!("{state}: {rows} rows of the bill"));
        }
        // The API has no signal for progress; this is a person's screen.
        tokio::time::sleep(WATCH_EVERY).await;
    }
}

fn with_currency(currency: &str, of: &Value) -> Value {
    let mut row = of.clone();
    row["currency"] = currency.into();
    row
}

/// A day and its proof; the exit code says how it stands.
fn shown(result: &Value, out: &mut Printer) -> Result<Exit, Failure> {
    if out.is_json() {
        out.json(result)?;
    } else {
        out.record(result, DAY)?;
        let classes = result["classes"].as_object().into_iter().flatten();
        let rows: Vec<Value> = classes.map(|(class, n)| json!({"class": class, "lines": n})).collect();
        if !rows.is_empty() {
            out.line("")?;
            out.table(&rows, CLASSES, "")?;
        }
        let others = result["others"].as_object().into_iter().flatten();
        let rows: Vec<Value> = others.map(|(currency, of)| with_currency(currency, of)).collect();
        if !rows.is_empty() {
            out.line("")?;
            out.table(&rows, OTHERS, "")?;
        }
    }
    Ok(match result["state"].as_str() {
        Some("red") => Exit::Partly,
        Some("failed") => Exit::Failed,
        _ => Exit::Ok,
    })
}

async fn repair(api: &Api, day: &MerchantDay, reason: String, yes: bool, out: &mut Printer) -> Result<Exit, Failure> {
    if yes {
        return repaired(api, day, &json!({"dry_run": false, "reason": reason}), out).await;
    }
    let (mut plan, mut after) = (Vec::new(), 0);
    loop {
        let answer = api.post(&path(day, "/repair"), &json!({"dry_run": true, "after": after})).await?;
        plan.extend(answer["plan"].as_array().into_iter().flatten().cloned());
        let Some(next) = answer["next"].as_i64() else { break };
        after = next;
    }
    let is_empty = plan.is_empty();
    list(&json!({"dry_run": true, "plan": plan}), "plan", PLAN, "nothing is to be repaired", out)?;
    if !is_empty {
        out.note("to do it: --yes");
    }
    Ok(Exit::Ok)
}

/// Stops the repair of a day. One that is over stays as it is.
async fn stop(api: &Api, day: &MerchantDay, reason: &str, out: &mut Printer) -> Result<Exit, Failure> {
    let answer = api.post(&path(day, "/repair/stop"), &json!({"reason": reason})).await?;
    if out.is_json() {
        out.json(&answer)?;
    } else {
        out.record(&answer["repair"], REPAIR)?;
    }
    Ok(Exit::Ok)
}

/// Repairs, and waits until all lines were gone through.
async fn repaired(api: &Api, day: &MerchantDay, body: &Value, out: &mut Printer) -> Result<Exit, Failure> {
    let answer = api.post(&path(day, "/repair"), body).await?;
    list(&answer, "results", RESULTS, "nothing is to be repaired", out)?;
    let bar = stderr().is_terminal() && !out.is_json();
    let mut repair = answer["repair"].clone();
    while repair["state"] == "running" {
        if bar {
            out.progress(&format!("{} of {} lines", repair["done"], repair["lines"]));
        }
        // The API has no signal for progress; this is a person's screen.
        tokio::time::sleep(WATCH_EVERY).await;
        repair = api.get(&path(day, ""), &[]).await?["repair"].clone();
    }
    if repair["asked"].as_i64().is_some_and(|asked| asked > 0) {
        let (asked, lines) = (&repair["asked"], &repair["done"]);
        out.note(&format!(
            "{lines} lines; WeChat was asked about {asked}: once they settle, the day is compared again"
        ));
    }
    let has_begun = answer["results"].as_array().is_some_and(|results| !results.is_empty());
    let refused = if has_begun { refused(&repair) } else { 0 };
    if refused > 0 {
        out.note(&format!("{refused} lines are not repaired: they stay open"));
    }
    Ok(if refused > 0 { Exit::Partly } else { Exit::Ok })
}

/// Lines that a repair has neither repaired nor asked WeChat about.
fn refused(repair: &Value) -> i64 {
    let count = |name: &str| repair[name].as_i64().unwrap_or_default();
    count("lines") - count("repaired") - count("asked")
}
