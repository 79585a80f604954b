//! Lists of orders, newest first.
//!
//! An index gives the orders of a merchant and state (or those with a flag) by time; everything else is compared row by
//! row. So that no filter reads a whole table, a page compares a bounded number of rows and says how far it came.

use std::collections::HashMap;

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Value};

use super::read::{Which, read_orders};
use super::rows::StoredOrder;
use crate::clock::Timestamp;
use crate::ids::{AppKey, MerchantKey};
use crate::money::Fen;
use crate::order::OrderState;
use crate::store::Store;
use crate::store::db::{DbError, DbKind};
use crate::store::entity::order;
use crate::store::writer::Row;
use crate::trade::TradeType;

/// Rows that one page compares.
const SCANNED: i64 = 20_000;
/// The same where the order's texts are read.
const SCANNED_TEXTS: i64 = 8_000;

/// The columns that filters compare.
const COMPARED: &str = "id, created_at_ms, state, app, amount_fen, outcome_unknown, paid_late, paid_twice,
    amount_mismatch, paid_before_order";

/// The orders with a flag: what the index `orders_flagged` holds.
const FLAGGED: &str = "(outcome_unknown OR paid_late OR paid_twice OR amount_mismatch OR paid_before_order)";

/// What a person should know of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderFlag {
    PaidLate,
    PaidTwice,
    PaidBeforeOrder,
    OutcomeUnknown,
    AmountMismatch,
}

named!(OrderFlag {
    PaidLate = "paid_late",
    PaidTwice = "paid_twice",
    PaidBeforeOrder = "paid_before_order",
    OutcomeUnknown = "outcome_unknown",
    AmountMismatch = "amount_mismatch",
});

/// Which orders are listed; what is not set does not restrict.
#[derive(Debug, Clone, Default)]
pub struct OrderFilter {
    /// Of these merchants.
    pub merchants: Option<Vec<MerchantKey>>,
    pub state: Option<OrderState>,
    pub flag: Option<OrderFlag>,
    pub app: Option<AppKey>,
    /// Of an attempt of the order.
    pub trade_type: Option<TradeType>,
    /// Made at or after.
    pub from: Option<Timestamp>,
    /// Made before.
    pub to: Option<Timestamp>,
    /// At least.
    pub min: Option<Fen>,
    /// At most.
    pub max: Option<Fen>,
}

/// A place in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OrderKey {
    pub created_at: Timestamp,
    pub id: i64,
}

/// A page of orders.
#[derive(Debug, Clone)]
pub struct OrderPage {
    pub orders: Vec<StoredOrder>,
    /// Where the next page begins; none where this is the last.
    pub next: Option<OrderKey>,
    /// The page ended before it was full, because it had compared enough rows: what is older has not been compared.
    pub is_cut: bool,
}

impl OrderKey {
    fn of(order: &StoredOrder) -> OrderKey {
        OrderKey { created_at: order.order.created_at, id: order.order.id }
    }
}

impl OrderFilter {
    /// Whether an order that was found otherwise is among the listed ones.
    pub fn matches(&self, stored: &StoredOrder) -> bool {
        let o = &stored.order;
        self.merchants.as_ref().is_none_or(|merchants| merchants.contains(&o.merchant))
            && self.state.is_none_or(|state| state == o.state)
            && self.flag.is_none_or(|flag| o.flags.names().contains(&flag.as_str()))
            && self.app.as_ref().is_none_or(|app| *app == o.app)
            && self.trade_type.is_none_or(|trade_type| o.attempts.iter().any(|a| a.trade_type == trade_type))
            && self.from.is_none_or(|from| o.created_at >= from)
            && self.to.is_none_or(|to| o.created_at < to)
            && self.min.is_none_or(|min| o.amount >= min)
            && self.max.is_none_or(|max| o.amount <= max)
    }
}

/// A part of the list that one index has in order.
#[derive(Debug, Clone, Copy)]
enum Part {
    State(OrderState),
    Flagged,
}

/// What one part gave.
struct Scanned {
    keys: Vec<OrderKey>,
    /// Everything newer than this was compared; none where all was.
    to: Option<OrderKey>,
}

impl Store {
    /// Up to `limit` orders behind `after`, newest first; of `text`, those with it in their description or attach.
    pub async fn list_orders(
        &self,
        filter: &OrderFilter,
        text: Option<&str>,
        after: Option<OrderKey>,
        limit: u64,
    ) -> Result<OrderPage, DbError> {
        let merchants = match &filter.merchants {
            Some(merchants) => merchants.clone(),
            None => self.order_merchants().await?,
        };
        let parts = parts(filter);
        let mut left = i64::try_from(parts.len() * merchants.len()).unwrap_or(i64::MAX);
        let mut rows = if text.is_some() { SCANNED_TEXTS } else { SCANNED };
        let (mut keys, mut reached) = (Vec::new(), None);
        for part in parts {
            for merchant in &merchants {
                // What one part leaves, the others have: the rare states come first.
                let window = (rows / left).max(1);
                let scanned = self.scan(&Scan { merchant, part, filter, text, after, limit, window }).await?;
                rows -= if scanned.to.is_some() { window } else { 0 };
                left -= 1;
                keys.extend(scanned.keys);
                reached = reached.max(scanned.to);
            }
        }
        // What is older than where a part stopped may have newer rows before it.
        keys.retain(|key| reached.is_none_or(|reached| *key >= reached));
        keys.sort_unstable_by(|a, b| b.cmp(a));
        let size = usize::try_from(limit).unwrap_or(usize::MAX);
        let is_full = keys.len() >= size;
        keys.truncate(size);
        let next = if is_full { keys.last().copied() } else { reached };
        Ok(OrderPage { orders: self.orders_in_order(&keys).await?, next, is_cut: !is_full && reached.is_some() })
    }

    /// Orders by their rows, newest first.
    pub async fn orders_by_ids(&self, ids: &[i64]) -> Result<Vec<StoredOrder>, DbError> {
        let select = order::Entity::find().filter(order::Column::Id.is_in(ids.iter().copied()));
        let mut orders = read_orders(self.db.reader(), Which::selected(select)).await?;
        orders.sort_unstable_by_key(|order| std::cmp::Reverse(OrderKey::of(order)));
        Ok(orders)
    }

    /// Every merchant that has orders.
    pub async fn order_merchants(&self) -> Result<Vec<MerchantKey>, DbError> {
        let rows = self.db.reader().rows(MERCHANTS, []).await?;
        let key =
            |row: Row| MerchantKey::parse(row.get::<String>("merchant")?).map_err(|e| DbError::Defect(e.to_string()));
        rows.into_iter().map(key).collect()
    }

    async fn orders_in_order(&self, keys: &[OrderKey]) -> Result<Vec<StoredOrder>, DbError> {
        let ids: Vec<i64> = keys.iter().map(|key| key.id).collect();
        let mut found: HashMap<i64, StoredOrder> =
            self.orders_by_ids(&ids).await?.into_iter().map(|order| (order.order.id, order)).collect();
        Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
    }

    async fn scan(&self, scan: &Scan<'_>) -> Result<Scanned, DbError> {
        let kind = self.db.kind();
        let (sql, values) = scan.page_sql(kind);
        let rows = self.db.reader().rows(&sql, values).await?;
        let key = |row: &Row| -> Result<OrderKey, DbError> {
            Ok(OrderKey { created_at: Timestamp::from_ms(row.get("created_at_ms")?), id: row.get("id")? })
        };
        let keys = rows.iter().map(key).collect::<Result<Vec<_>, _>>()?;
        if keys.len() as u64 >= scan.limit {
            return Ok(Scanned { to: keys.last().copied(), keys });
        }
        if !scan.compares() {
            return Ok(Scanned { keys, to: None });
        }
        let (sql, values) = scan.end_sql();
        let end = self.db.reader().rows(&sql, values).await?;
        Ok(Scanned { keys, to: end.first().map(key).transpose()? })
    }
}

/// One step in the index per merchant.
const MERCHANTS: &str = "
WITH RECURSIVE found (merchant) AS (
  SELECT MIN(merchant) FROM orders
  UNION ALL
  SELECT (SELECT MIN(merchant) FROM orders WHERE merchant > found.merchant) FROM found
  WHERE found.merchant IS NOT NULL)
SELECT merchant FROM found WHERE merchant IS NOT NULL";

const RAREST_FIRST: [OrderState; 5] =
    [OrderState::Requested, OrderState::Failed, OrderState::Payable, OrderState::Closed, OrderState::Paid];

/// One state, all states, or the orders with a flag.
fn parts(filter: &OrderFilter) -> Vec<Part> {
    match (filter.flag, filter.state) {
        (Some(_), _) => vec![Part::Flagged],
        (None, Some(state)) => vec![Part::State(state)],
        (None, None) => RAREST_FIRST.map(Part::State).to_vec(),
    }
}

/// A page of one part.
struct Scan<'a> {
    merchant: &'a MerchantKey,
    part: Part,
    filter: &'a OrderFilter,
    text: Option<&'a str>,
    after: Option<OrderKey>,
    limit: u64,
    /// Rows that are compared.
    window: i64,
}

/// SQL with its values, which are numbered as they are added.
#[derive(Default)]
struct Sql {
    values: Vec<Value>,
}

impl Sql {
    fn bind(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("${}", self.values.len())
    }
}

impl Scan<'_> {
    /// Whether rows are compared beyond what the index has.
    fn compares(&self) -> bool {
        let f = self.filter;
        let other = f.app.is_some() || f.trade_type.is_some() || f.min.is_some() || f.max.is_some();
        other || f.flag.is_some() || self.text.is_some()
    }

    /// The rows of the part, newest first, in the order of its index.
    fn in_order(&self, sql: &mut Sql) -> String {
        let merchant = sql.bind(self.merchant.as_str());
        let part = match self.part {
            Part::State(state) => format!("state = {}", sql.bind(state.as_str())),
            Part::Flagged => FLAGGED.to_owned(),
        };
        let mut only = format!("merchant = {merchant} AND {part}");
        if let Some(from) = self.filter.from {
            only.push_str(&format!(" AND created_at_ms >= {}", sql.bind(from.as_ms())));
        }
        let before = self.filter.to.map(|to| to.as_ms().saturating_sub(1));
        let newest = before.into_iter().chain(self.after.map(|after| after.created_at.as_ms())).min();
        if let Some(newest) = newest {
            only.push_str(&format!(" AND created_at_ms <= {}", sql.bind(newest)));
        }
        if let Some(after) = self.after {
            let (at, id) = (sql.bind(after.created_at.as_ms()), sql.bind(after.id));
            only.push_str(&format!(" AND (created_at_ms < {at} OR id < {id})"));
        }
        format!("FROM orders WHERE {only} ORDER BY created_at_ms DESC, id DESC")
    }

    fn page_sql(&self, kind: DbKind) -> (String, Vec<Value>) {
        let mut sql = Sql::default();
        let window = self.in_order(&mut sql);
        let limit = i64::try_from(self.limit).unwrap_or(i64::MAX);
        if !self.compares() {
            let limit = sql.bind(limit);
            return (format!("SELECT created_at_ms, id {window} LIMIT {limit}"), sql.values);
        }
        let scanned = sql.bind(self.window);
        let content = if self.text.is_some() { ", content" } else { "" };
        let only = self.compared(kind, &mut sql);
        let limit = sql.bind(limit);
        // The window is in order already: PostgreSQL knows that, SQLite would sort it once more.
        let order = match kind {
            DbKind::Postgres => " ORDER BY w.created_at_ms DESC, w.id DESC",
            DbKind::Sqlite => "",
        };
        let text = format!(
            "SELECT w.created_at_ms AS created_at_ms, w.id AS id
             FROM (SELECT {COMPARED}{content} {window} LIMIT {scanned}) AS w WHERE {only}{order} LIMIT {limit}"
        );
        (text, sql.values)
    }

    /// The last row of a window that is full.
    fn end_sql(&self) -> (String, Vec<Value>) {
        let mut sql = Sql::default();
        let window = self.in_order(&mut sql);
        let offset = sql.bind(self.window - 1);
        (format!("SELECT created_at_ms, id {window} LIMIT 1 OFFSET {offset}"), sql.values)
    }

    fn compared(&self, kind: DbKind, sql: &mut Sql) -> String {
        let f = self.filter;
        let mut only = Vec::new();
        only.extend(f.flag.map(|flag| format!("w.{}", flag.as_str())));
        if matches!(self.part, Part::Flagged) {
            only.extend(f.state.map(|state| format!("w.state = {}", sql.bind(state.as_str()))));
        }
        only.extend(f.app.as_ref().map(|app| format!("w.app = {}", sql.bind(app.as_str()))));
        only.extend(f.min.map(|min| format!("w.amount_fen >= {}", sql.bind(min.as_i64()))));
        only.extend(f.max.map(|max| format!("w.amount_fen <= {}", sql.bind(max.as_i64()))));
        only.extend(f.trade_type.map(|trade_type| {
            let trade_type = sql.bind(trade_type.as_str());
            // Row by row: as a join it would read all attempts.
            let of_row = format!("FROM attempts AS a WHERE a.order_id = w.id AND a.trade_type = {trade_type} LIMIT 1");
            format!("(SELECT 1 {of_row}) IS NOT NULL")
        }));
        if let Some(text) = self.text {
            let like = sql.bind(containing(text));
            let (json, operator) = match kind {
                DbKind::Sqlite => ("w.content", "LIKE"),
                DbKind::Postgres => ("CAST(w.content AS json)", "ILIKE"),
            };
            only.push(format!(
                "({json} ->> 'description' {operator} {like} ESCAPE '\\' OR \
                  {json} ->> 'attach' {operator} {like} ESCAPE '\\')"
            ));
        }
        only.join(" AND ")
    }
}

/// The pattern of texts that contain this one.
fn containing(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern + "%"
}

/// A list's statements for every combination of filters, with their values, for a test of the plans.
#[doc(hidden)]
pub fn order_list_statements(
    kind: DbKind,
    filter: &OrderFilter,
    text: Option<&str>,
    after: Option<OrderKey>,
) -> Vec<(String, Vec<Value>)> {
    let merchant = filter.merchants.as_ref().and_then(|merchants| merchants.first());
    let mut statements = vec![(MERCHANTS.to_owned(), Vec::new())];
    for part in parts(filter) {
        let Some(merchant) = merchant else { continue };
        let scan = Scan { merchant, part, filter, text, after, limit: 100, window: 500 };
        statements.push(scan.page_sql(kind));
        if scan.compares() {
            statements.push(scan.end_sql());
        }
    }
    statements
}
