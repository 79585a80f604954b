//! An order's history: one timeline of what was asked, called, reported, decided, booked, emitted and done.
//!
//! What must stay true: no payer's identity, no payment handle and no body is in it; the names of the entries and of
//! their members are stable; a source with too many rows shortens its own part alone, and is named.

use std::time::Duration;

use serde_json::Value;

use super::entry::{Entry, Evidence, TimedEntry, Timeline, Words};
use crate::clock::Timestamp;
use crate::order::Order;
use crate::store::{DbError, Store, StoredOrder, TrailBooking, TrailRow};

/// The history of a stored order.
pub async fn of_order(store: &Store, stored: &StoredOrder) -> Result<Timeline, DbError> {
    let trail = store.trail(&stored.order).await?;
    let mut entries = recorded(stored);
    let mut states = States::default();
    for row in trail.rows {
        entries.extend(of_row(row, &mut states));
    }
    entries.sort_by_key(|entry| (entry.at, rank(&entry.entry)));
    let Order { order_no, merchant, state, .. } = &stored.order;
    let (order_no, merchant) = (order_no.to_string(), merchant.to_string());
    Ok(Timeline { order_no, merchant, state: state.as_str(), entries, truncated: trail.truncated })
}

/// What the order's own rows say.
fn recorded(stored: &StoredOrder) -> Vec<TimedEntry> {
    let (order, content) = (&stored.order, &stored.content);
    let requested = Entry::Requested {
        event_id: stored.requested_by.to_string(),
        app: order.app.to_string(),
        amount_fen: order.amount.as_i64(),
        description: content.description.clone(),
        trade_type: content.trade_type.as_str(),
    };
    let mut entries = vec![TimedEntry { at: order.created_at, entry: requested }];
    entries.extend(order.attempts.iter().map(|attempt| TimedEntry {
        at: attempt.created_at,
        entry: Entry::Attempt {
            out_trade_no: attempt.out_trade_no.to_string(),
            n: attempt.n,
            trade_type: attempt.trade_type.as_str(),
        },
    }));
    entries
}

/// The last state of the order (under no number) and of each refund, while their changes are read in order.
#[derive(Default)]
struct States(std::collections::HashMap<Option<String>, (i64, Option<String>)>);

impl States {
    /// The state before this change, where the change before it is known.
    fn before(&mut self, of: Option<&String>, version: i64, state: Option<&String>) -> Option<String> {
        let before = self.0.insert(of.cloned(), (version, state.cloned()));
        // An order and a refund are recorded as `requested`, with version 1.
        let first = (version == 2).then(|| "requested".to_owned());
        before.filter(|(last, _)| last + 1 == version).map_or(first, |(_, state)| state)
    }
}

fn of_row(row: TrailRow, states: &mut States) -> Vec<TimedEntry> {
    match row {
        TrailRow::Change { .. } => of_change(row, states),
        TrailRow::Call { number, api, outcome, code, message, at, took } => {
            let words = Words { code, message };
            let entry = Entry::Call { api, number, outcome, took_ms: took.as_millis(), words };
            vec![TimedEntry { at, entry }]
        }
        TrailRow::Notification(received_at, notification) => {
            vec![TimedEntry { at: received_at, entry: Entry::Notification(notification) }]
        }
        TrailRow::Ledger { refund_no, recorded_at, booked } => {
            vec![TimedEntry { at: recorded_at, entry: of_booking(refund_no, booked) }]
        }
        TrailRow::Refund { refund_no, transaction_id, amount_fen, currency, origin, reason, by, created_at } => {
            let entry = Entry::Refund { refund_no, transaction_id, amount_fen, currency, origin, reason, by };
            vec![TimedEntry { at: created_at, entry }]
        }
        TrailRow::Event { id, event_type, created_at, relayed_at } => {
            vec![TimedEntry { at: created_at, entry: Entry::Event { id, event_type, published_at: relayed_at } }]
        }
        TrailRow::Delivery { event_id, event_type, endpoint, outcome, status, took_ms, at } => {
            vec![TimedEntry { at, entry: Entry::Delivery { event_id, event_type, endpoint, outcome, status, took_ms } }]
        }
        TrailRow::Action { actor, remote_addr, action, transaction_id, reason, result, at } => {
            let entry = Entry::Action { actor, action, result, reason, transaction_id, remote_addr };
            vec![TimedEntry { at, entry }]
        }
    }
}

fn of_booking(refund_no: Option<String>, booked: TrailBooking) -> Entry {
    let Some(refund_no) = refund_no else { return Entry::Ledger(booked) };
    let TrailBooking { transaction_id, amount_fen, currency, evidence, occurred_at, .. } = booked;
    Entry::RefundLedger { refund_no, transaction_id, amount_fen, currency, evidence, occurred_at }
}

/// The decision, and the call that brought its fact.
fn of_change(row: TrailRow, states: &mut States) -> Vec<TimedEntry> {
    let TrailRow::Change {
        refund_no,
        version,
        number,
        source,
        source_id,
        fact,
        verified_by,
        received_at,
        recorded_at,
        took,
        state,
    } = row
    else {
        return Vec::new();
    };
    let before = states.before(refund_no.as_ref(), version, state.as_ref());
    let evidence = evidence(&fact, source, source_id, verified_by, received_at);
    let mut entries = Vec::new();
    if let Some(took) = took {
        let entry = Entry::Call {
            api: api_of(&evidence.source).to_owned(),
            number: number.clone(),
            outcome: outcome_of(&evidence.fact).to_owned(),
            took_ms: took.as_millis(),
            words: evidence.words.clone(),
        };
        entries.push(TimedEntry { at: earlier(received_at, took), entry });
    }
    let entry = match refund_no {
        Some(refund_no) => Entry::RefundDecision { refund_no, version, before, after: state, evidence },
        None => Entry::Decision { version, before, after: state, out_trade_no: number, evidence },
    };
    entries.push(TimedEntry { at: recorded_at, entry });
    entries
}

fn earlier(at: Timestamp, by: Duration) -> Timestamp {
    Timestamp::from_ms(at.as_ms().saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
}

/// WeChat's name of the API that a source is an answer of.
fn api_of(source: &str) -> &str {
    match source {
        "unified_order" => "unifiedorder",
        "query" => "orderquery",
        "close" => "closeorder",
        other => other,
    }
}

fn outcome_of(fact: &str) -> &'static str {
    match fact {
        "placement_unknown" => "unknown",
        "placement_refused" | "setup_refused" => "refused",
        _ => "done",
    }
}

/// The parts of a fact that may be shown. Read as JSON: a fact of another version has its name at least.
fn evidence(
    fact: &str,
    source: String,
    source_id: String,
    verified_by: Option<String>,
    received_at: Timestamp,
) -> Evidence {
    let fact: Value = serde_json::from_str(fact).unwrap_or_default();
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let said =
        ["said", "error"].iter().find_map(|name| fact.get(*name).filter(|said| said.is_object())).unwrap_or(&fact);
    let words = Words {
        code: text(said, "code").or_else(|| text(&fact, "trade_state")).or_else(|| text(&fact, "status")),
        message: text(said, "message").or_else(|| text(&fact, "why")).filter(|words| !words.is_empty()),
    };
    let paid_at = fact.get("time_end").cloned().and_then(|at| serde_json::from_value(at).ok());
    Evidence {
        source,
        source_id,
        received_at,
        verified_by,
        words,
        transaction_id: text(&fact, "transaction_id"),
        amount_fen: ["total_fee", "refund_fee"].iter().find_map(|name| fact.get(*name).and_then(Value::as_i64)),
        currency: text(&fact, "fee_type"),
        paid_at,
        fact: text(&fact, "fact").unwrap_or_else(|| "unreadable".to_owned()),
    }
}

const fn rank(entry: &Entry) -> u8 {
    match entry {
        Entry::Requested { .. } => 0,
        Entry::Attempt { .. } => 1,
        Entry::Action { .. } => 2,
        Entry::Refund { .. } => 3,
        Entry::Call { .. } => 4,
        Entry::Notification(_) => 5,
        Entry::Decision { .. } => 6,
        Entry::RefundDecision { .. } => 7,
        Entry::Ledger(_) => 8,
        Entry::RefundLedger { .. } => 9,
        Entry::Event { .. } => 10,
        Entry::Delivery { .. } => 11,
    }
}
