//! Which rows a selection names, oldest first.

use sea_orm::{ConnectionTrait, QueryResult, Value};

use super::types::{Candidate, ReplayKind, ReplaySelect, ReplaySource};
use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::store::Store;
use crate::store::db::DbError;

/// The orders of a number.
const OF_ORDER: &str = "SELECT id FROM orders WHERE order_no = {}";
/// Their numbers at WeChat.
const NUMBERS: &str = "SELECT a.out_trade_no FROM attempts AS a JOIN orders AS o ON o.id = a.order_id
                       WHERE o.order_no = {}";

impl Store {
    /// Up to `limit` of the rows that are selected.
    pub async fn replay_candidates(&self, select: &ReplaySelect, limit: usize) -> Result<Vec<Candidate>, DbError> {
        let mut found = match select.kind {
            ReplayKind::Notification if select.refused => {
                let mut refused = self.rows_of(ReplaySource::Refused, refused(select), limit).await?;
                refused.extend(self.samples(select, limit).await?);
                refused
            }
            ReplayKind::Notification => self.rows_of(ReplaySource::Notification, taken(select), limit).await?,
            ReplayKind::DeadLetter => self.rows_of(ReplaySource::DeadLetter, dead_letters(select), limit).await?,
            ReplayKind::Event => self.rows_of(ReplaySource::Event, events(select), limit).await?,
            ReplayKind::Webhook => self.rows_of(ReplaySource::Webhook, deliveries(select), limit).await?,
        };
        if !matches!(select.kind, ReplayKind::Event | ReplayKind::Webhook) {
            found.sort_by(|a, b| (a.at, &a.source_id).cmp(&(b.at, &b.source_id)));
        }
        found.truncate(limit);
        Ok(found)
    }

    async fn rows_of(
        &self,
        source: ReplaySource,
        statement: (String, Vec<Value>),
        limit: usize,
    ) -> Result<Vec<Candidate>, DbError> {
        let rows = self.db.read().query_all_raw(self.db.statement(limited(&statement.0, limit), statement.1)).await?;
        rows.iter().map(|row| candidate(source, row)).collect()
    }

    /// The sample has no number of an order beside the body.
    async fn samples(&self, select: &ReplaySelect, limit: usize) -> Result<Vec<Candidate>, DbError> {
        let numbers = match &select.order_no {
            Some(order_no) => {
                let sql = NUMBERS.replace("{}", "$1");
                let rows = self.db.read().query_all_raw(self.db.statement(sql, [order_no.as_str().into()])).await?;
                let numbers = rows.iter().map(|row| row.try_get::<String>("", "out_trade_no"));
                Some(numbers.collect::<Result<Vec<_>, _>>()?)
            }
            None => None,
        };
        let (sql, values) = samples(select);
        let rows = self.db.read().query_all_raw(self.db.statement(limited(&sql, limit), values)).await?;
        let mut found = Vec::new();
        for row in rows {
            let body: Vec<u8> = row.try_get("", "body")?;
            let names = |number: &String| body.windows(number.len()).any(|part| part == number.as_bytes());
            if numbers.as_ref().is_none_or(|numbers| numbers.iter().any(names)) {
                found.push(candidate(ReplaySource::Sample, &row)?);
            }
        }
        Ok(found)
    }
}

fn limited(sql: &str, limit: usize) -> String {
    format!("{sql} LIMIT {limit}")
}

fn candidate(source: ReplaySource, row: &QueryResult) -> Result<Candidate, DbError> {
    let merchant = match source {
        // `pay.in.{merchant}.…`
        ReplaySource::DeadLetter => {
            let subject: String = row.try_get("", "subject")?;
            let merchant = subject.split('.').nth(2).filter(|key| MerchantKey::parse(*key).is_ok());
            merchant.unwrap_or_default().to_owned()
        }
        _ => row.try_get("", "merchant")?,
    };
    Ok(Candidate {
        source,
        source_id: row.try_get("", "id")?,
        merchant,
        at: Timestamp::from_ms(row.try_get("", "at_ms")?),
    })
}

/// Conditions that are joined by AND, with their values.
struct Conditions {
    texts: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    /// The ids and the time that every selection may name.
    fn of(select: &ReplaySelect, id: &str, time: &str) -> Conditions {
        let mut only = Conditions { texts: vec!["TRUE".to_owned()], values: Vec::new() };
        if !select.ids.is_empty() {
            only.one_of(id, select.ids.iter().map(|id| id.as_str().into()));
        }
        if let Some(from) = select.from {
            only.add(&format!("{time} >= {{}}"), from.as_ms().into());
        }
        if let Some(to) = select.to {
            only.add(&format!("{time} < {{}}"), to.as_ms().into());
        }
        only
    }

    fn merchants(mut self, select: &ReplaySelect) -> Conditions {
        if let Some(merchants) = &select.merchants {
            self.one_of("merchant", merchants.iter().map(|merchant| merchant.as_str().into()));
        }
        self
    }

    fn reason(mut self, select: &ReplaySelect) -> Conditions {
        if let Some(reason) = &select.reason_class {
            self.add("reason = {}", reason.as_str().into());
        }
        self
    }

    fn order(mut self, select: &ReplaySelect, text: &str) -> Conditions {
        if let Some(order_no) = &select.order_no {
            self.add(text, order_no.as_str().into());
        }
        self
    }

    fn one_of(&mut self, column: &str, values: impl Iterator<Item = Value>) {
        let numbers: Vec<String> = values.map(|value| self.value(value)).collect();
        let none = numbers.is_empty();
        self.texts.push(if none { "FALSE".to_owned() } else { format!("{column} IN ({})", numbers.join(", ")) });
    }

    fn value(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    /// `{}` stands for the value.
    fn add(&mut self, text: &str, value: Value) {
        let number = self.value(value);
        self.texts.push(text.replace("{}", &number));
    }

    fn statement(self, columns: &str, table: &str, order: &str) -> (String, Vec<Value>) {
        let sql = format!("SELECT {columns} FROM {table} WHERE {} ORDER BY {order}", self.texts.join(" AND "));
        (sql, self.values)
    }
}

fn taken(select: &ReplaySelect) -> (String, Vec<Value>) {
    let of_order = format!("(order_id IN ({OF_ORDER}) OR (order_id IS NULL AND out_trade_no IN ({NUMBERS})))");
    let only = Conditions::of(select, "event_id", "received_at_ms").merchants(select).reason(select);
    let only = only.order(select, &of_order);
    let columns = "event_id AS id, merchant, received_at_ms AS at_ms";
    only.statement(columns, "notifications", "received_at_ms, event_id")
}

fn refused(select: &ReplaySelect) -> (String, Vec<Value>) {
    let only = Conditions::of(select, "id", "last_received_at_ms").merchants(select).reason(select);
    let only = only.order(select, &format!("order_id IN ({OF_ORDER})"));
    only.statement("id, merchant, received_at_ms AS at_ms", "refused_notifications", "received_at_ms, id")
}

fn samples(select: &ReplaySelect) -> (String, Vec<Value>) {
    // As the list of notifications names them.
    let id = "('sample-' || CAST(id AS TEXT))";
    let only = Conditions::of(select, id, "received_at_ms").merchants(select).reason(select);
    let columns = format!("{id} AS id, merchant, received_at_ms AS at_ms, body");
    only.statement(&columns, "quarantine", "quarantine.id")
}

fn dead_letters(select: &ReplaySelect) -> (String, Vec<Value>) {
    let mut only = Conditions::of(select, "CAST(id AS TEXT)", "parked_at_ms").reason(select);
    only = only.order(select, "order_no = {}");
    if let Some(merchants) = &select.merchants {
        let patterns = merchants.iter().map(|merchant| format!("pay.in.{merchant}.%"));
        let each: Vec<String> =
            patterns.map(|pattern| format!("subject LIKE {}", only.value(pattern.into()))).collect();
        only.texts.push(if each.is_empty() { "FALSE".to_owned() } else { format!("({})", each.join(" OR ")) });
    }
    if select.ids.is_empty() {
        only.texts.push("state = 'parked'".to_owned());
    }
    only.statement("CAST(id AS TEXT) AS id, subject, parked_at_ms AS at_ms", "dead_letters", "dead_letters.id")
}

fn events(select: &ReplaySelect) -> (String, Vec<Value>) {
    let only = Conditions::of(select, "event_id", "created_at_ms").merchants(select);
    let only = only.order(select, "order_no = {}");
    // Those that have no position yet are the newest.
    let order = "position IS NULL, position, outbox.id";
    only.statement("event_id AS id, merchant, created_at_ms AS at_ms", "outbox", order)
}

/// Those that were given up; where ids are named, in any state.
fn deliveries(select: &ReplaySelect) -> (String, Vec<Value>) {
    let mut only = Conditions::of(select, "CAST(id AS TEXT)", "created_at_ms").merchants(select);
    if let Some(reason) = &select.reason_class {
        only.add("last_error = {}", reason.as_str().into());
    }
    if select.ids.is_empty() {
        only.texts.push("state = 'failed'".to_owned());
    }
    let only = only.order(select, "order_no = {}");
    let columns = "CAST(id AS TEXT) AS id, merchant, created_at_ms AS at_ms";
    only.statement(columns, "webhook_deliveries", "webhook_deliveries.id")
}
