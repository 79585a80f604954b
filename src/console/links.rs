//! The address of everything that has a page.

use std::fmt::Display;

use url::form_urlencoded;

fn escaped(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// The login, which leads back to `next`.
pub fn login(next: &str) -> String {
    if next == "/console" { "/console/login".to_owned() } else { format!("/console/login?next={}", escaped(next)) }
}

/// A path of the console that a login may lead to; the overview for anything else.
pub fn inside(next: &str) -> &str {
    let is_inside = next == "/console" || next.starts_with("/console/") || next.starts_with("/console?");
    // A browser reads a backslash as a slash, and leaves out control characters.
    let is_plain = next.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    if is_inside && is_plain { next } else { "/console" }
}

/// What waits for a second person.
pub const APPROVALS: &str = "/console/approvals";

/// What is done to one payer.
pub const PAYERS: &str = "/console/payers";

/// The erasure of a payer.
pub fn erasure(id: i64) -> String {
    format!("{PAYERS}/erasures/{id}")
}

/// The audit's rows of an action.
pub fn audit_of_action(action: &str) -> String {
    format!("/console/audit?action={}", escaped(action))
}

/// Payments of no order.
pub const UNMATCHED: &str = "/console/held?class=unmatched";

/// The form of a refund of a payment of no order.
pub fn refund_of_payment(merchant: impl Display, transaction_id: impl Display) -> String {
    let (merchant, number) = (escaped(&merchant.to_string()), escaped(&transaction_id.to_string()));
    format!("/console/payments/{merchant}/{number}/refund")
}

/// An order, by our number.
pub fn order(merchant: impl Display, order_no: impl Display) -> String {
    format!("/console/orders/{}/{}", escaped(&merchant.to_string()), escaped(&order_no.to_string()))
}

/// The orders that a text is found in.
pub fn orders_with(text: &str) -> String {
    format!("/console/orders?q={}", escaped(text))
}

/// A notification, by the id of its event.
pub fn notification(id: impl Display) -> String {
    format!("/console/notifications/{}", escaped(&id.to_string()))
}

pub fn dead_letter(id: impl Display) -> String {
    format!("/console/dead-letters/{}", escaped(&id.to_string()))
}

pub fn replay(id: impl Display) -> String {
    format!("/console/replays/{}", escaped(&id.to_string()))
}

/// A day of the reconciliation.
pub fn reconciliation(merchant: impl Display, day: &str) -> String {
    format!("/console/reconciliation/{}/{}", escaped(&merchant.to_string()), escaped(day))
}

/// What a repair of a day would do.
pub fn repair(merchant: impl Display, day: &str) -> String {
    format!("{}/repair", reconciliation(merchant, day))
}

/// The books of a day.
pub fn ledger(merchant: impl Display, day: &str) -> String {
    format!("/console/ledger?merchant={}&day={}", escaped(&merchant.to_string()), escaped(day))
}

/// A month of a merchant in the calendar.
pub fn month(merchant: impl Display, month: &str) -> String {
    format!("/console/reconciliation?merchant={}&month={}", escaped(&merchant.to_string()), escaped(month))
}

/// The form that closes a month.
pub fn close_month(merchant: impl Display, month: &str) -> String {
    format!("/console/reconciliation/close?merchant={}&month={}", escaped(&merchant.to_string()), escaped(month))
}

/// An endpoint of webhooks.
pub fn webhook(id: impl Display) -> String {
    format!("/console/webhooks/{}", escaped(&id.to_string()))
}

/// Parked dead letters of a reason and a consumer.
pub fn dead_letters_of(reason: &str, consumer: &str) -> String {
    format!("/console/dead-letters?reason={}&consumer={}", escaped(reason), escaped(consumer))
}

/// The form of a replay, with a selection.
pub fn plan<'a>(select: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(select);
    format!("/console/replays/new?{}", query.finish())
}

/// The revocation of an API key, whose id may hold any visible character.
pub fn revocation(id: &str) -> String {
    format!("/console/settings/keys/{}/revoke", escaped(id))
}

/// The audit rows of an order.
pub fn audit_of_order(order_no: impl Display) -> String {
    format!("/console/audit?order_no={}", escaped(&order_no.to_string()))
}
