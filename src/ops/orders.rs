//! The list of orders, the search for one, and the end of an order's token.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::clock::Timestamp;
use crate::ops::Operator;
use crate::store::{AuditEntry, DbError, OrderFilter, OrderKey, Store, StoredOrder};

/// Orders of one page.
pub const DEFAULT_LIMIT: u64 = 100;
/// The most orders of one page.
pub const MAX_LIMIT: u64 = 500;
/// Characters of a text that is searched for.
pub const TEXT_MAX: usize = 64;
/// How far back texts are searched, where no time is named.
pub const TEXT_RANGE: Duration = Duration::from_secs(30 * 24 * 3600);

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct OrderQuery {
    pub filter: OrderFilter,
    /// Any number of an order or its beginning, or a part of its description or attach.
    pub text: Option<String>,
    pub after: Option<OrderKey>,
    pub limit: u64,
}

/// What the searched text was found in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matched {
    Number,
    Text,
}

named!(Matched { Number = "number", Text = "text" });

/// A page of the list, newest first.
#[derive(Debug, Clone, Default)]
pub struct OrderList {
    pub orders: Vec<StoredOrder>,
    /// Where the next page begins; none where this is the last.
    pub next: Option<OrderKey>,
    pub matched: Option<Matched>,
    /// Texts of orders from this time on were searched.
    pub from: Option<Timestamp>,
    /// The page is not full, and what is older than this has not been compared yet: the next page does.
    pub compared_to: Option<Timestamp>,
    /// Of the orders with such a number there are more; a longer text finds them.
    pub truncated: bool,
}

/// A page of the orders that are asked for.
pub async fn list(store: &Store, query: OrderQuery, now: Timestamp) -> Result<OrderList, DbError> {
    let OrderQuery { mut filter, text, after, limit } = query;
    let Some(text) = text else {
        let page = store.list_orders(&filter, None, after, limit).await?;
        let compared_to = page.next.filter(|_| page.is_cut).map(|next| next.created_at);
        return Ok(OrderList { orders: page.orders, next: page.next, compared_to, ..OrderList::default() });
    };
    // A later page is one of texts: numbers have a single page.
    if after.is_none() && is_number(&text) {
        let list = by_number(store, &filter, &text, limit).await?;
        if list.matched.is_some() {
            return Ok(list);
        }
    }
    let from = filter.from.unwrap_or_else(|| before(filter.to.unwrap_or(now), TEXT_RANGE));
    filter.from = Some(from);
    let page = store.list_orders(&filter, Some(&text), after, limit).await?;
    Ok(OrderList {
        compared_to: page.next.filter(|_| page.is_cut).map(|next| next.created_at),
        orders: page.orders,
        next: page.next,
        matched: Some(Matched::Text),
        from: Some(from),
        truncated: false,
    })
}

/// Whether a text may be a number of an order, a payment, a refund or an event.
fn is_number(text: &str) -> bool {
    text.len() <= TEXT_MAX && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-|*@".contains(&b))
}

async fn by_number(store: &Store, filter: &OrderFilter, number: &str, limit: u64) -> Result<OrderList, DbError> {
    let merchants = match &filter.merchants {
        Some(merchants) => merchants.clone(),
        None => store.order_merchants().await?,
    };
    let hits = store.orders_by_number(&merchants, number).await?;
    if hits.ids.is_empty() {
        return Ok(OrderList::default());
    }
    let mut orders = store.orders_by_ids(&hits.ids).await?;
    orders.retain(|order| filter.matches(order));
    let size = usize::try_from(limit).unwrap_or(usize::MAX);
    let truncated = hits.is_cut || orders.len() > size;
    orders.truncate(size);
    Ok(OrderList { orders, matched: Some(Matched::Number), truncated, ..OrderList::default() })
}

/// Ends the token that a payer's page follows the order with, also the streams that it opened; the order gets another
/// one.
pub async fn revoke_token(
    store: &Store,
    operator: &Operator,
    order: &StoredOrder,
    reason: String,
    now: Timestamp,
) -> Result<(), DbError> {
    let audit = AuditEntry {
        merchant: Some(order.order.merchant.clone()),
        order_no: Some(order.order.order_no.clone()),
        ..operator.audit("order.revoke_token", reason, now)
    };
    store.replace_order_token(order.order.id, &audit).await
}

fn before(at: Timestamp, by: Duration) -> Timestamp {
    Timestamp::from_ms(at.as_ms().saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
}

/// A place in the list as callers carry it; opaque to them.
pub fn cursor(key: OrderKey) -> String {
    URL_SAFE_NO_PAD.encode(format!("o{}.{}", key.created_at.as_ms(), key.id))
}

/// The place that an earlier page gave.
pub fn parse_cursor(text: &str) -> Result<OrderKey, &'static str> {
    let decoded = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let key = decoded
        .as_deref()
        .and_then(|text| text.strip_prefix('o')?.split_once('.'))
        .and_then(|(at, id)| Some(OrderKey { created_at: Timestamp::from_ms(at.parse().ok()?), id: id.parse().ok()? }));
    key.ok_or("must be a cursor that an earlier page gave as next")
}
