//! Whether a row agrees with what it is of. No IO.

use serde_json::Value;

use super::finding::{BookFinding, BookRule};
use crate::store::{FeedEvent, LedgerFacts, LedgerRow, NotEntered, RefundFacts};

const CREDITED: &str = "credited";

/// A row of the ledger beside its payment and its order.
pub fn of_ledger(row: &LedgerFacts) -> Vec<BookFinding> {
    let about = (row.order_no.as_deref(), row.transaction_id.as_str());
    let money = format!("ledger: {} of {} fen {}", row.entry, row.amount_fen, row.currency);
    let Some(payment) = &row.payment else {
        return vec![BookFinding::new(BookRule::Payment, about, money, "payments: no row")];
    };
    let mut findings = Vec::new();
    if (payment.amount_fen, &payment.currency) != (row.amount_fen, &row.currency) {
        let there = format!("payments: {} fen {}", payment.amount_fen, payment.currency);
        findings.push(BookFinding::new(BookRule::Payment, about, &money, there));
    }
    // A payment of no order may get one later.
    if row.order_no.is_some() && payment.order_no != row.order_no {
        let there = format!("payments: of order {}", payment.order_no.as_deref().unwrap_or("none"));
        let here = format!("ledger: of order {}", row.order_no.as_deref().unwrap_or("none"));
        findings.push(BookFinding::new(BookRule::Payment, about, here, there));
    }
    if let Some(class) = row.last_class.as_ref().filter(|class| **class != payment.class) {
        let (here, there) = (format!("ledger: {class}"), format!("payments: {}", payment.class));
        findings.push(BookFinding::new(BookRule::Class, about, here, there));
    }
    let Some(order) = &row.order else { return findings };
    if Some(&order.order_no) != row.order_no.as_ref() {
        let here = format!("ledger: of order {}", row.order_no.as_deref().unwrap_or("none"));
        let there = format!("orders: its row is order {}", order.order_no);
        findings.push(BookFinding::new(BookRule::Order, about, here, there));
    }
    let is_credited = row.last_class.as_deref().unwrap_or(&payment.class) == CREDITED;
    let is_the_orders = order.transaction_id.as_deref() == Some(row.transaction_id.as_str());
    let state = format!("orders: {}, {}", order.state, if order.is_credited { CREDITED } else { "not credited" });
    // The version that knew no classes had no mark of what was announced.
    if is_credited && (order.state != "paid" || is_the_orders && !order.is_credited && row.class.is_some()) {
        findings.push(BookFinding::new(BookRule::Order, about, "ledger: credited", state));
    } else if !is_credited && is_the_orders && order.is_credited {
        let here = format!("ledger: {}", row.last_class.as_deref().unwrap_or(&payment.class));
        findings.push(BookFinding::new(BookRule::Order, about, here, state));
    }
    findings
}

/// A credited row of the ledger beside all events `order.paid` of its order. `all_kept`: none since was removed.
pub fn of_order_events(row: &LedgerFacts, events: &[&FeedEvent], all_kept: bool) -> Option<BookFinding> {
    let about = (row.order_no.as_deref(), row.transaction_id.as_str());
    let of_order = row.order.as_ref().and_then(|order| order.transaction_id.as_ref());
    // A further payment of an order that was credited before has no event `order.paid` of its own.
    let is_its_own = of_order == Some(&row.transaction_id);
    let here = format!("ledger: credited {} fen", row.amount_fen);
    let finding = |there: String| Some(BookFinding::new(BookRule::PaidEvent, about, &here, there));
    match events {
        [] if all_kept && is_its_own => finding("outbox: no order.paid".to_owned()),
        [] => None,
        [event] => {
            let Some(data) = data(event) else { return finding(format!("outbox: {} cannot be read", event.event_id)) };
            let is_its = data["transaction_id"].as_str() == Some(row.transaction_id.as_str());
            if is_its && data["amount_fen"].as_i64() != Some(row.amount_fen) {
                return finding(format!("outbox: order.paid of {} fen", data["amount_fen"]));
            }
            (is_its_own && !is_its)
                .then(|| finding(format!("outbox: order.paid of {}", text(&data["transaction_id"]))))
                .flatten()
        }
        many => {
            let ids: Vec<&str> = many.iter().map(|event| event.event_id.as_str()).collect();
            finding(format!("outbox: order.paid {} times, {}", many.len(), ids.join(", ")))
        }
    }
}

/// An event that credits money beside the ledger's rows of its payment.
pub fn of_event(event: &FeedEvent, entries: &[&LedgerRow]) -> Option<BookFinding> {
    let about = (event.order_no.as_deref(), event.event_id.as_str());
    let Some(data) = data(event) else {
        return Some(BookFinding::new(BookRule::Announced, about, "outbox: cannot be read", "ledger: not compared"));
    };
    let here = format!("outbox: {} fen of {}", data["amount_fen"], text(&data["transaction_id"]));
    let fits = entries.iter().any(|row| {
        row.order_no == event.order_no
            && Some(row.amount_fen) == data["amount_fen"].as_i64()
            && row.to_class.as_deref().is_none_or(|class| class == CREDITED)
    });
    if fits {
        return None;
    }
    let there = match entries.last() {
        None => "ledger: no row".to_owned(),
        Some(row) => format!(
            "ledger: {} of {} fen, order {}",
            row.to_class.as_deref().unwrap_or("payment"),
            row.amount_fen,
            row.order_no.as_deref().unwrap_or("none")
        ),
    };
    Some(BookFinding::new(BookRule::Announced, about, here, there))
}

/// A row of the refunds' ledger beside its refund, its payment's totals and its order.
pub fn of_refund(row: &RefundFacts) -> Vec<BookFinding> {
    let about = (row.order_no.as_deref(), row.refund_no.as_str());
    let here = format!("ledger: {} fen {} of {}", row.amount_fen, row.currency, row.transaction_id);
    let mut findings = Vec::new();
    let same = row.refund_fen == Some(row.amount_fen)
        && row.refund_currency.as_ref() == Some(&row.currency)
        && row.refund_transaction.as_ref() == Some(&row.transaction_id)
        && row.refund_order == row.order_no;
    match &row.state {
        None => findings.push(BookFinding::new(BookRule::Refund, about, &here, "refunds: no row")),
        Some(state) if state != "succeeded" || !same => {
            let there = format!(
                "refunds: {state}, {} fen {} of {}, order {}",
                row.refund_fen.unwrap_or_default(),
                row.refund_currency.as_deref().unwrap_or(""),
                row.refund_transaction.as_deref().unwrap_or(""),
                row.refund_order.as_deref().unwrap_or("none")
            );
            findings.push(BookFinding::new(BookRule::Refund, about, &here, there));
        }
        Some(_) => {}
    }
    if row.total_fen != Some(row.entered_fen) {
        let here = format!("ledger: {} fen went back of {}", row.entered_fen, row.transaction_id);
        let there = match row.total_fen {
            Some(total) => format!("refund_totals: {total} fen"),
            None => "refund_totals: no row".to_owned(),
        };
        findings.push(BookFinding::new(BookRule::RefundTotal, about, here, there));
    }
    if let Some(total) = row.order_fen.filter(|total| *total != row.order_entered_fen) {
        let here = format!("ledger: {} fen went back of the order", row.order_entered_fen);
        findings.push(BookFinding::new(BookRule::RefundTotal, about, here, format!("orders: {total} fen")));
    }
    findings
}

/// A row of the refunds' ledger beside the events `refund.succeeded` of its number.
pub fn of_refund_events(row: &RefundFacts, events: &[&FeedEvent], all_kept: bool) -> Option<BookFinding> {
    let about = (row.order_no.as_deref(), row.refund_no.as_str());
    let here = format!("ledger: {} fen went back", row.amount_fen);
    let finding = |there: String| Some(BookFinding::new(BookRule::RefundEvent, about, &here, there));
    match events {
        [] if all_kept => finding("outbox: no refund.succeeded".to_owned()),
        [] => None,
        [event] => {
            let amount = data(event).map(|data| data["amount_fen"].clone()).unwrap_or_default();
            let differs = amount.as_i64() != Some(row.amount_fen);
            differs.then(|| finding(format!("outbox: refund.succeeded of {amount} fen"))).flatten()
        }
        many => finding(format!("outbox: refund.succeeded {} times", many.len())),
    }
}

/// A refund's event beside whether the ledger has its refund, and with which amount.
pub fn of_refund_event(event: &FeedEvent, entered: Option<i64>) -> Option<BookFinding> {
    let data = data(event).unwrap_or_default();
    let about = (event.order_no.as_deref(), event.event_id.as_str());
    if entered.is_some() && entered == data["amount_fen"].as_i64() {
        return None;
    }
    let here = format!("outbox: {} fen of {}", data["amount_fen"], text(&data["refund_no"]));
    let there = entered.map_or("ledger: no row".to_owned(), |fen| format!("ledger: {fen} fen"));
    Some(BookFinding::new(BookRule::Announced, about, here, there))
}

/// What is settled without a row of a ledger.
pub fn of_not_entered(rule: BookRule, table: &str, row: &NotEntered) -> BookFinding {
    let about = (row.order_no.as_deref(), row.number.as_str());
    BookFinding::new(rule, about, "ledger: no row", format!("{table}: {} fen", row.amount_fen))
}

/// The data of an event, where it can be read.
pub fn data(event: &FeedEvent) -> Option<Value> {
    let payload = event.payload.as_ref().ok()?;
    let mut event: Value = serde_json::from_str(payload).ok()?;
    Some(event.get_mut("data")?.take())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("none")
}
