//! The day's books.

use clap::Args;

use crate::ctl::args_page::Page;
use crate::ctl::client::Api;
use crate::ctl::exit::{Exit, Failure};
use crate::ctl::output::{Column, Printer};

const LEDGER: &[Column] = &[
    ("RECORDED", "/recorded_at"),
    ("ENTRY", "/entry"),
    ("CLASS", "/class"),
    ("ORDER", "/order_no"),
    ("TRANSACTION", "/transaction_id"),
    ("REFUND", "/refund_no"),
    ("CHANGE", "/change_fen"),
    ("BALANCE", "/balance_fen"),
    ("", "/currency"),
];
const BALANCES: &[Column] = &[
    ("MERCHANT", "/merchant"),
    ("", "/currency"),
    ("WHAT", "/what"),
    ("CLASS", "/class"),
    ("ROWS", "/rows"),
    ("AMOUNT", "/change_fen"),
];

/// A Beijing day, or the time between two moments.
#[derive(Args)]
pub struct Between {
    /// A day in Beijing, like 2026-11-27.
    #[arg(long, conflicts_with_all = ["from", "to"])]
    day: Option<String>,
    /// Recorded at or after this time, like 2026-11-27T00:00:00+08:00.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Recorded before this time.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Of this merchant.
    #[arg(long)]
    merchant: Option<String>,
}

#[derive(Args)]
pub struct LedgerArgs {
    #[command(flatten)]
    between: Between,
    /// Write all rows to stdout as a CSV file for spreadsheets.
    #[arg(long, conflicts_with = "limit")]
    csv: bool,
    /// Write them as an XLSX file instead: `--xlsx > 2026-11-27.xlsx`.
    #[arg(long, conflicts_with_all = ["limit", "csv"])]
    xlsx: bool,
    /// The language of the file's heads: en or zh.
    #[arg(long)]
    lang: Option<String>,
    #[command(flatten)]
    page: Page,
}

type Parameters = Vec<(&'static str, Option<String>)>;

fn parameters(between: Between) -> Parameters {
    let Between { day, from, to, merchant } = between;
    vec![("merchant", merchant), ("day", day), ("from", from), ("to", to)]
}

pub async fn ledger(api: &Api, args: LedgerArgs, out: &mut Printer) -> Result<Exit, Failure> {
    let mut parameters = parameters(args.between);
    parameters.push(("after", args.page.after));
    let format = if args.xlsx { Some("xlsx") } else { args.csv.then_some("csv") };
    if let Some(format) = format {
        parameters.extend([("format", Some(format.to_owned())), ("lang", args.lang)]);
        api.download("/v1/ledger", &parameters, |bytes| out.bytes(bytes)).await?;
        return Ok(Exit::Ok);
    }
    parameters.push(("limit", args.page.limit.map(|limit| limit.to_string())));
    let ledger = api.get("/v1/ledger", &parameters).await?;
    if out.is_json() {
        out.json(&ledger)?;
        return Ok(Exit::Ok);
    }
    out.table(ledger["rows"].as_array().map(Vec::as_slice).unwrap_or_default(), LEDGER, "nothing was recorded")?;
    if let Some(next) = ledger["next"].as_str() {
        out.note(&format!("more: --after {next}"));
    }
    Ok(Exit::Ok)
}

pub async fn balances(api: &Api, between: Between, out: &mut Printer) -> Result<Exit, Failure> {
    let answer = api.get("/v1/balances", &parameters(between)).await?;
    if out.is_json() {
        out.json(&answer)?;
        return Ok(Exit::Ok);
    }
    let mut rows = Vec::new();
    for balance in answer["balances"].as_array().into_iter().flatten() {
        let mut row = |what: &serde_json::Value, of: &serde_json::Value, change: &serde_json::Value| {
            rows.push(serde_json::json!({
                "merchant": balance["merchant"], "currency": balance["currency"], "what": what, "class": of["class"],
                "rows": of["rows"], "change_fen": change,
            }));
        };
        row(&"opening".into(), &serde_json::Value::Null, &balance["opening_fen"]);
        for sum in balance["sums"].as_array().into_iter().flatten() {
            row(&sum["entry"], sum, &sum["change_fen"]);
        }
        row(&"closing".into(), &serde_json::Value::Null, &balance["closing_fen"]);
    }
    out.table(&rows, BALANCES, "there is no money in the ledger")?;
    Ok(Exit::Ok)
}
