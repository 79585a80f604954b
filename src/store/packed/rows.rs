//! Which texts of which tables are packed, and with what. Texts are joined by a line feed, which JSON of one line does
//! not hold. The columns named as context are never updated.

use sea_orm::{ActiveValue, Set};
use serde_json::Value;

use super::codec::{Unreadable, pack, unpack};
use crate::store::db::DbError;
use crate::store::entity::{evidence, notification, order, outbox, refund_evidence};
use crate::store::writer::WriteTx;

/// Notifications that people act on stay as they came: what waits is read again, what was refused is examined.
const ENDED: [&str; 3] = ["settled", "duplicate", "no_payment"];

pub(in crate::store) fn write_event(tx: &WriteTx, row: &mut outbox::ActiveModel) {
    let order_no = row.order_no.try_as_ref().cloned().flatten();
    let context = [text(&row.event_type), text(&row.merchant), text(&row.event_id), order_no.as_deref().unwrap_or("")];
    let plain = || format!("{}\n{}", text(&row.subject), text(&row.payload));
    row.packed = Set(if tx.form().compact { packed(tx, &context, plain().as_bytes()) } else { None });
    if is_packed(&row.packed) {
        (row.subject, row.payload) = (Set(String::new()), Set(String::new()));
    }
}

/// The subject and the JSON of an event.
pub(in crate::store) fn read_event(row: &outbox::Model) -> Result<(String, String), Unreadable> {
    let Some(packed) = &row.packed else { return Ok((row.subject.clone(), row.payload.clone())) };
    let context = [&*row.event_type, &*row.merchant, &*row.event_id, row.order_no.as_deref().unwrap_or("")];
    let plain = utf8(unpack(&context, packed)?)?;
    let (subject, payload) = plain.split_once('\n').ok_or(Unreadable::Damaged)?;
    Ok((subject.to_owned(), payload.to_owned()))
}

pub(in crate::store) fn write_evidence(tx: &WriteTx, row: &mut evidence::ActiveModel) {
    let context = [text(&row.source_id), text(&row.out_trade_no)];
    row.packed = Set(packed(tx, &context, fact_and_raw(&row.fact, &row.raw).as_bytes()));
    if is_packed(&row.packed) {
        (row.fact, row.raw) = (Set(String::new()), Set(None));
    }
}

/// The fact as JSON and WeChat's own words.
pub(in crate::store) fn read_evidence(row: &evidence::Model) -> Result<(String, Option<String>), Unreadable> {
    let Some(packed) = &row.packed else { return Ok((row.fact.clone(), row.raw.clone())) };
    Ok(split(&utf8(unpack(&[&row.source_id, &row.out_trade_no], packed)?)?))
}

/// The fact of a row of evidence as it was selected; its context is `source_id`, and of an order `out_trade_no`, too.
pub(in crate::store) fn read_fact(context: &[&str], fact: String, packed: Option<&[u8]>) -> Result<String, Unreadable> {
    let Some(packed) = packed else { return Ok(fact) };
    Ok(split(&utf8(unpack(context, packed)?)?).0)
}

pub(in crate::store) fn write_refund_evidence(tx: &WriteTx, row: &mut refund_evidence::ActiveModel) {
    let context = [text(&row.source_id)];
    row.packed = Set(packed(tx, &context, fact_and_raw(&row.fact, &row.raw).as_bytes()));
    if is_packed(&row.packed) {
        (row.fact, row.raw) = (Set(String::new()), Set(None));
    }
}

/// The fact as JSON and WeChat's own words.
pub(in crate::store) fn read_refund_evidence(
    row: &refund_evidence::Model,
) -> Result<(String, Option<String>), Unreadable> {
    let Some(packed) = &row.packed else { return Ok((row.fact.clone(), row.raw.clone())) };
    Ok(split(&utf8(unpack(&[&row.source_id], packed)?)?))
}

pub(in crate::store) fn write_notification(tx: &WriteTx, row: &mut notification::ActiveModel) {
    let [transaction_id, out_trade_no] =
        [&row.transaction_id, &row.out_trade_no].map(|column| column.try_as_ref().cloned().flatten());
    let context = [text(&row.merchant), transaction_id.as_deref().unwrap_or(""), out_trade_no.as_deref().unwrap_or("")];
    let has_ended = ENDED.contains(&text(&row.verdict));
    row.packed = Set(None);
    if tx.form().compact && has_ended {
        let body = row.body.try_as_ref().map_or(&[][..], Vec::as_slice);
        row.packed = Set(packed(tx, &context, &[text(&row.headers).as_bytes(), b"\n", body].concat()));
    }
    if is_packed(&row.packed) {
        (row.headers, row.body) = (Set(String::new()), Set(Vec::new()));
    }
}

/// The headers as JSON, and the body as it was posted.
pub(in crate::store) fn read_notification(row: &notification::Model) -> Result<(String, Vec<u8>), Unreadable> {
    let Some(packed) = &row.packed else { return Ok((row.headers.clone(), row.body.clone())) };
    let [transaction_id, out_trade_no] =
        [&row.transaction_id, &row.out_trade_no].map(|column| column.as_deref().unwrap_or(""));
    let mut plain = unpack(&[&row.merchant, transaction_id, out_trade_no], packed)?;
    let end = plain.iter().position(|byte| *byte == b'\n').ok_or(Unreadable::Damaged)?;
    let body = plain.split_off(end + 1);
    plain.truncate(end);
    Ok((utf8(plain)?, body))
}

pub(in crate::store) fn write_order(tx: &WriteTx, row: &mut order::ActiveModel) {
    let context = [text(&row.app), text(&row.merchant), text(&row.order_no)];
    row.packed = Set(packed(tx, &context, text(&row.content).as_bytes()));
    if is_packed(&row.packed) {
        row.content = Set(searched(text(&row.content)));
    }
}

/// What lists of orders search in. It stays text: a search cannot open what is packed.
fn searched(content: &str) -> String {
    let all: Value = serde_json::from_str(content).unwrap_or_default();
    let words =
        ["description", "attach"].into_iter().filter_map(|name| Some((name.to_owned(), all.get(name)?.clone())));
    Value::Object(words.filter(|(_, word)| !word.is_null()).collect()).to_string()
}

/// What the business asked for, as JSON.
pub(in crate::store) fn read_order(row: &order::Model) -> Result<String, Unreadable> {
    let Some(packed) = &row.packed else { return Ok(row.content.clone()) };
    utf8(unpack(&[&row.app, &row.merchant, &row.order_no], packed)?)
}

/// The columns of an order with another content, in the form that its row has.
pub(in crate::store) fn rewritten_order(row: &order::Model, content: &str) -> (String, Option<Vec<u8>>) {
    let context = [&*row.app, &*row.merchant, &*row.order_no];
    match row.packed.as_ref().and_then(|_| pack(&context, content.as_bytes())) {
        Some(packed) => (searched(content), Some(packed)),
        None => (content.to_owned(), None),
    }
}

/// The columns of a notification with another body, in the form that its row has: headers, body, packed.
pub(in crate::store) fn rewritten_notification(
    row: &notification::Model,
    headers: &str,
    body: &[u8],
) -> (String, Vec<u8>, Option<Vec<u8>>) {
    let [transaction_id, out_trade_no] =
        [&row.transaction_id, &row.out_trade_no].map(|column| column.as_deref().unwrap_or(""));
    let context = [&*row.merchant, transaction_id, out_trade_no];
    match row.packed.as_ref().and_then(|_| pack(&context, &[headers.as_bytes(), b"\n", body].concat())) {
        Some(packed) => (String::new(), Vec::new(), Some(packed)),
        None => (headers.to_owned(), body.to_owned(), None),
    }
}

/// The columns of a row of evidence with other texts, in the form that it has.
pub(in crate::store) fn rewritten_evidence(
    row: &evidence::Model,
    fact: String,
    raw: Option<String>,
) -> (String, Option<String>, Option<Vec<u8>>) {
    let whole = raw.as_ref().map_or_else(|| fact.clone(), |raw| format!("{fact}\n{raw}"));
    match row.packed.as_ref().and_then(|_| pack(&[&row.source_id, &row.out_trade_no], whole.as_bytes())) {
        Some(packed) => (String::new(), None, Some(packed)),
        None => (fact, raw, None),
    }
}

/// Packed bytes that cannot be read, as the defect of one row.
pub(in crate::store) fn defect(table: &str, id: impl std::fmt::Display, e: Unreadable) -> DbError {
    DbError::Defect(format!("row {id} of {table}: {e}"))
}

fn packed(tx: &WriteTx, context: &[&str], plain: &[u8]) -> Option<Vec<u8>> {
    tx.form().compact.then(|| pack(context, plain)).flatten()
}

fn is_packed(column: &ActiveValue<Option<Vec<u8>>>) -> bool {
    column.try_as_ref().is_some_and(Option::is_some)
}

fn text(column: &ActiveValue<String>) -> &str {
    column.try_as_ref().map_or("", String::as_str)
}

fn fact_and_raw(fact: &ActiveValue<String>, raw: &ActiveValue<Option<String>>) -> String {
    match raw.try_as_ref().and_then(Option::as_ref) {
        Some(raw) => format!("{}\n{raw}", text(fact)),
        None => text(fact).to_owned(),
    }
}

fn split(plain: &str) -> (String, Option<String>) {
    match plain.split_once('\n') {
        Some((fact, raw)) => (fact.to_owned(), Some(raw.to_owned())),
        None => (plain.to_owned(), None),
    }
}

fn utf8(plain: Vec<u8>) -> Result<String, Unreadable> {
    String::from_utf8(plain).map_err(|_| Unreadable::Damaged)
}
