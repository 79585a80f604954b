//! What happens while people try the demo: each event of the shop's feed in a line, and how a payment got there.

use std::io::Write;

use anyhow::Context;
use serde_json::Value;

use super::story::Parties;
use crate::ids::{MerchantKey, OrderNo};

/// Pause after a feed that did not answer.
const PAUSE: std::time::Duration = std::time::Duration::from_secs(1);

/// Prints what the feed brings after `cursor` until it is dropped.
pub async fn follow(parties: &Parties<'_>, out: &mut (dyn Write + Send), cursor: String) -> anyhow::Result<()> {
    let mut cursor = cursor;
    loop {
        let answer = parties.shop.get(&format!("/v1/events?after={cursor}&wait=30&limit=100")).await;
        let page = match answer {
            Ok(answer) if answer.status == 200 => answer.body,
            // The service is busy or ends: the terminal is no reason to end with it.
            Ok(_) | Err(_) => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        for event in page["events"].as_array().into_iter().flatten() {
            for line in lines(parties, event).await? {
                writeln!(out, "{line}")?;
            }
        }
        out.flush()?;
        page["next"].as_str().context("the feed has no cursor")?.clone_into(&mut cursor);
    }
}

/// An event; before the payment of an order how it was learnt of.
async fn lines(parties: &Parties<'_>, event: &Value) -> anyhow::Result<Vec<String>> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (subject, data) = (text(&event["subject"]), &event["data"]);
    let kind = text(&event["type"]);
    let name = kind.strip_prefix("wxpay.").and_then(|kind| kind.strip_suffix(".v1")).unwrap_or(&kind).to_owned();
    let time = text(&event["time"]);
    let at = time.split_once('T').and_then(|(_, time)| time.get(..8)).unwrap_or_default();
    let mut lines = Vec::new();
    let mut line = |who: &str, what: String| lines.push(format!("  {at}Z  {who:<9} {subject}: {what}"));
    let amount = |value: &Value| value.as_i64().map_or_else(String::new, |fen| format!(", {fen} fen"));
    match name.as_str() {
        "order.payable" => line("worker", format!("placed at WeChat, can be paid{}", amount(&data["amount_fen"]))),
        "order.paid" => {
            for (who, what) in payment(parties, &subject).await? {
                line(who, what);
            }
            let transaction_id = text(&data["transaction_id"]);
            line("finance", format!("order.paid{}, transaction {transaction_id}", amount(&data["amount_fen"])));
        }
        other => line("finance", format!("{other}{}", amount(&data["amount_fen"]))),
    }
    Ok(lines)
}

/// The notifications of an order, and its row in the ledger.
async fn payment(parties: &Parties<'_>, order_no: &str) -> anyhow::Result<Vec<(&'static str, String)>> {
    let merchant = MerchantKey::parse("main")?;
    let Some(stored) = parties.store.order(&merchant, &OrderNo::parse(order_no)?).await? else {
        return Ok(Vec::new());
    };
    let history = parties.store.history(stored.order.id).await?;
    let mut lines = Vec::new();
    for notification in &history.notifications {
        lines.push(("ingress", format!("notification {}: signature holds, durable, SUCCESS", notification.event_id)));
    }
    if history.notifications.is_empty() {
        lines.push(("worker", "no notification so far: WeChat was asked".to_owned()));
    }
    for entry in &history.ledger {
        lines.push(("worker", format!("settled: ledger row {} of {} fen", entry.id, entry.amount_fen)));
    }
    Ok(lines)
}
