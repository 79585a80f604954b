//! Months.

use serde_json::{Value, json};

use super::args::PeriodsCommand;
use super::merchant::merchant;
use crate::ctl::client::{Api, part};
use crate::ctl::exit::{Exit, Failure};
use crate::ctl::output::{Column, Printer};

const PERIODS: &[Column] = &[
    ("MONTH", "/month"),
    ("MERCHANT", "/merchant"),
    ("STATE", "/state"),
    ("CLOSED", "/closed_at"),
    ("BY", "/closed_by"),
    ("REASON", "/reason"),
    ("HASH", "/hash"),
];
const DAYS: &[Column] = &[
    ("DAY", "/day"),
    ("PAYMENTS", "/payments"),
    ("AMOUNT", "/payments_fen"),
    ("REFUNDS", "/refunds"),
    ("AMOUNT", "/refunds_fen"),
    ("FEES", "/fees"),
    ("NET", "/net"),
    ("DIFFERENCES", "/differences"),
    ("STATE", "/state"),
];
const ADJUSTMENTS: &[Column] = &[
    ("ADJUSTS", "/adjusts"),
    ("RECORDED", "/recorded_at"),
    ("KIND", "/kind"),
    ("ORDER", "/order_no"),
    ("NUMBER", "/number"),
    ("AMOUNT", "/amount_fen"),
    ("", "/currency"),
];

const ADJUSTED: &[Column] = &[
    ("CURRENCY", "/currency"),
    ("PAYMENTS", "/payments"),
    ("AMOUNT", "/payments_fen"),
    ("REFUNDS", "/refunds"),
    ("AMOUNT", "/refunds_fen"),
];

pub async fn periods(api: &Api, command: PeriodsCommand, out: &mut Printer) -> Result<Exit, Failure> {
    match command {
        PeriodsCommand::List { merchant } => {
            let answer = api.get("/v1/periods", &[("merchant", merchant)]).await?;
            if out.is_json() {
                out.json(&answer)?;
            } else {
                out.table(rows(&answer, "/periods"), PERIODS, "no month was closed")?;
            }
            Ok(Exit::Ok)
        }
        PeriodsCommand::Show { month, merchant: named } => {
            let path = path(&merchant(api, named).await?, &month, "");
            shown(&api.get(&path, &[]).await?, out)
        }
        PeriodsCommand::Close { month, merchant: named, reason, yes } => {
            confirmed(yes, "the figures of a closed month do not change any more")?;
            let path = path(&merchant(api, named).await?, &month, "/close");
            shown(&api.post(&path, &json!({"reason": reason})).await?, out)
        }
        PeriodsCommand::Reopen { month, merchant: named, reason, yes } => {
            confirmed(yes, "the month was reported as closed")?;
            let path = path(&merchant(api, named).await?, &month, "/reopen");
            shown(&api.post(&path, &json!({"reason": reason})).await?, out)
        }
    }
}

fn path(merchant: &str, month: &str, verb: &str) -> String {
    format!("/v1/periods/{}/{}{verb}", part(merchant), part(month))
}

fn confirmed(yes: bool, why: &str) -> Result<(), Failure> {
    if yes { Ok(()) } else { Err(Failure::new(Exit::Refused, format!("{why}: --yes does it"))) }
}

fn rows<'a>(answer: &'a Value, pointer: &str) -> &'a [Value] {
    answer.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn with_currency(currency: &str, of: &Value) -> Value {
    let mut row = of.clone();
    row["currency"] = currency.into();
    row
}

fn shown(period: &Value, out: &mut Printer) -> Result<Exit, Failure> {
    if out.is_json() {
        out.json(period)?;
        return Ok(Exit::Ok);
    }
    out.table(rows(period, "/figures/days"), DAYS, "it has no days")?;
    let adjustments = rows(period, "/adjustments");
    if !adjustments.is_empty() {
        out.line("")?;
        out.table(adjustments, ADJUSTMENTS, "")?;
        // The list may be cut; the sums are of all.
        let sums = period["adjustments_by_currency"].as_object().into_iter().flatten();
        let sums: Vec<Value> = sums.map(|(currency, of)| with_currency(currency, of)).collect();
        out.line("")?;
        out.table(&sums, ADJUSTED, "")?;
    }
    let text = |name: &str| period[name].as_str().unwrap_or_default();
    match text("state") {
        "closed" => out.note(&format!("closed at {} by {}: {}", text("closed_at"), text("closed_by"), text("hash"))),
        _ => out.note("open"),
    }
    Ok(Exit::Ok)
}
