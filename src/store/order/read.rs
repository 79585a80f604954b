//! Reading orders with their attempts.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use sea_orm::{DbErr, EntityTrait, IdenStatic, Iterable, QueryFilter, Select, Value};

use super::rows::{StoredOrder, broken, stored_order};
use crate::clock::Timestamp;
use crate::ids::{MerchantKey, OrderNo, OutTradeNo};
use crate::money::Fen;
use crate::order::{OrderPayment, Queries};
use crate::secret::Secret;
use crate::store::Store;
use crate::store::db::{DbError, DbKind};
use crate::store::entity::{attempt, order};
use crate::store::payment::read::of_orders;
use crate::store::writer::{Reader, Row};

/// Each is one more change of the same orders within about a millisecond.
pub(super) const READS: usize = 16;

impl Store {
    /// Orders by the business's numbers.
    pub async fn orders(&self, merchant: &MerchantKey, order_nos: &[OrderNo]) -> Result<Vec<StoredOrder>, DbError> {
        orders_of_numbers(self.db.reader(), merchant, order_nos).await
    }

    /// What tells whether orders have changed, by the business's numbers: a fraction of what reading them whole costs.
    pub async fn order_marks(
        &self,
        merchant: &MerchantKey,
        order_nos: &[OrderNo],
    ) -> Result<Vec<(OrderNo, OrderMark)>, DbError> {
        let kind = self.db.kind();
        let of_them = kind.among_texts("o.order_no", 2);
        let sql = match kind {
            DbKind::Sqlite => format!("{MARK} FROM orders AS o WHERE o.merchant = $1 AND {of_them}"),
            DbKind::Postgres => format!("{MARK} FROM {FOUND_BY_NUMBER}"),
        };
        let values = [merchant.as_str().into(), kind.texts(order_nos.iter().map(OrderNo::as_str))];
        self.db.reader().rows(&sql, values).await?.iter().map(mark_of_row).collect()
    }

    /// One order by the business's number.
    pub async fn order(&self, merchant: &MerchantKey, order_no: &OrderNo) -> Result<Option<StoredOrder>, DbError> {
        Ok(self.orders(merchant, std::slice::from_ref(order_no)).await?.pop())
    }

    /// Orders by their attempts' numbers at WeChat.
    pub async fn orders_by_out_trade_no(
        &self,
        merchant: &MerchantKey,
        numbers: &[OutTradeNo],
    ) -> Result<Vec<StoredOrder>, DbError> {
        orders_of_attempts(self.db.reader(), merchant, numbers).await
    }
}

/// What tells whether an order has changed, or something beside it that those who wait for it want to know.
#[derive(Debug, Clone)]
pub struct OrderMark {
    version: i64,
    queries: Queries,
    refunded: Fen,
    order_token: Secret,
    /// See [`StoredOrder::placing_until`].
    placing_until: Option<Timestamp>,
}

impl OrderMark {
    /// Whether an order that was read so is to be read again. A claim on placing it, which has it polled when the claim
    /// ends, is not enough: the process that has the claim changes the order.
    pub fn is_newer_than(&self, seen: &StoredOrder) -> bool {
        let before = seen.order.queries;
        let is_claimed = self.placing_until.is_some() && self.placing_until == self.queries.next_at;
        let next_at = if is_claimed { before.next_at } else { self.queries.next_at };
        self.version >= seen.order.version
            && (self.version != seen.order.version
                || Queries { next_at, ..self.queries } != before
                || self.refunded != seen.refunded
                || self.order_token.expose() != seen.order_token.expose())
    }
}

fn mark_of_row(row: &Row) -> Result<(OrderNo, OrderMark), DbError> {
    let order_no = OrderNo::parse(row.get::<String>("order_no")?).map_err(broken("order_no"))?;
    let time = |column: &str| Ok::<_, DbError>(row.get::<Option<i64>>(column)?.map(Timestamp::from_ms));
    let queries = Queries {
        done: u32::try_from(row.get::<i64>("queries_done")?).unwrap_or(u32::MAX),
        next_at: time("next_at_ms")?,
        answered_at: time("answered_at_ms")?,
    };
    let mark = OrderMark {
        version: row.get("version")?,
        queries,
        refunded: Fen::from_i64(row.get("refunded_fen")?),
        order_token: Secret::new(row.get::<String>("order_token")?),
        placing_until: time("placing_ms")?,
    };
    Ok((order_no, mark))
}

const MARK: &str = "SELECT o.order_no, o.version, o.queries_done, o.answered_at_ms, o.refunded_fen, o.order_token,
       COALESCE(o.next_query_at_ms, o.next_look_at_ms) AS next_at_ms,
       CASE WHEN o.placing_version = o.version THEN o.placing_until_ms END AS placing_ms";

/// Orders by the business's numbers.
pub(super) async fn orders_of_numbers(
    reader: Reader<'_>,
    merchant: &MerchantKey,
    order_nos: &[OrderNo],
) -> Result<Vec<StoredOrder>, DbError> {
    let kind = reader.kind();
    let values = [merchant.as_str().into(), kind.texts(order_nos.iter().map(OrderNo::as_str))];
    let which = match kind {
        DbKind::Sqlite => {
            let of_them = format!("merchant = $1 AND {}", kind.among_texts("order_no", 2));
            Which::selected(order::Entity::find().filter(kind.condition(of_them, values)))
        }
        DbKind::Postgres => Which::WithAttempts(&ORDERS_OF_NUMBERS, values),
    };
    read_orders(reader, which).await
}

/// Orders by their attempts' numbers at WeChat.
pub(super) async fn orders_of_attempts(
    reader: Reader<'_>,
    merchant: &MerchantKey,
    numbers: &[OutTradeNo],
) -> Result<Vec<StoredOrder>, DbError> {
    let kind = reader.kind();
    let values = [merchant.as_str().into(), kind.texts(numbers.iter().map(OutTradeNo::as_str))];
    let which = match kind {
        DbKind::Sqlite => {
            let numbers = kind.among_texts("out_trade_no", 2);
            let ids = format!("id IN (SELECT order_id FROM attempts WHERE merchant = $1 AND {numbers})");
            Which::selected(order::Entity::find().filter(kind.condition(ids, values)))
        }
        DbKind::Postgres => Which::WithAttempts(&ORDERS_OF_ATTEMPTS, values),
    };
    read_orders(reader, which).await
}

/// Row by row, like [`ORDERS_OF_ATTEMPTS`].
static ORDERS_OF_NUMBERS: LazyLock<String> = LazyLock::new(|| with_attempts(FOUND_BY_NUMBER));

const FOUND_BY_NUMBER: &str = "(SELECT DISTINCT number FROM UNNEST(CAST($2 AS text[])) AS given (number)) AS v
     JOIN LATERAL (SELECT * FROM orders WHERE merchant = $1 AND order_no >= v.number ORDER BY order_no LIMIT 1) AS o
       ON o.order_no = v.number";

/// Row by row, so that each is found by its key also with a plan that was made while the tables were empty: in its
/// order, because then each index that begins with the merchant costs the same, and another one would read every order.
static ORDERS_OF_ATTEMPTS: LazyLock<String> = LazyLock::new(|| {
    with_attempts(
        "(SELECT DISTINCT a.order_id FROM UNNEST(CAST($2 AS text[])) AS v (number)
           JOIN LATERAL (SELECT order_id, out_trade_no FROM attempts
                         WHERE merchant = $1 AND out_trade_no >= v.number ORDER BY out_trade_no LIMIT 1) AS a
             ON a.out_trade_no = v.number
         ) AS found CROSS JOIN LATERAL (SELECT * FROM orders WHERE id = found.order_id LIMIT 1) AS o",
    )
});

/// Statements on PostgreSQL, with the indexes that they are to use.
#[doc(hidden)]
pub fn keyed_statements() -> [(&'static str, String); 3] {
    [
        ("orders_merchant_order_no_key", format!("{MARK} FROM {FOUND_BY_NUMBER}")),
        ("orders_merchant_order_no_key", ORDERS_OF_NUMBERS.clone()),
        ("attempts_merchant_out_trade_no_key", ORDERS_OF_ATTEMPTS.clone()),
    ]
}

/// The orders `o` of a selection, a row for each of their attempts.
fn with_attempts(orders: &str) -> String {
    format!(
        "SELECT {}, {} FROM {orders}
         CROSS JOIN LATERAL (SELECT * FROM attempts WHERE order_id = o.id OFFSET 0) AS a",
        columns_as::<order::Entity>("o", "o_"),
        columns_as::<attempt::Entity>("a", "a_")
    )
}

static ATTEMPTS_OF_ORDERS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {} FROM UNNEST(CAST($1 AS bigint[])) AS v (id)
         CROSS JOIN LATERAL (SELECT * FROM attempts WHERE order_id = v.id OFFSET 0) AS a",
        columns_as::<attempt::Entity>("a", "")
    )
});

/// Each by its name: of a prepared `*`, PostgreSQL refuses the next run once a migration has added a column.
fn columns_as<E: EntityTrait>(table: &str, prefix: &str) -> String {
    let named = |column: &str| format!("{table}.{column} AS {prefix}{column}");
    E::Column::iter().map(|column| named(column.as_str())).collect::<Vec<_>>().join(", ")
}

/// The rows of orders that are wanted.
pub(super) enum Which {
    Selected(Box<Select<order::Entity>>),
    /// By these values of a statement that has a row for each attempt, on PostgreSQL.
    WithAttempts(&'static str, [Value; 2]),
}

impl Which {
    pub fn selected(select: Select<order::Entity>) -> Which {
        Which::Selected(Box::new(select))
    }

    async fn read(&self, reader: Reader<'_>) -> Result<Read, DbError> {
        match self {
            Which::Selected(select) => {
                let rows = reader.all(select.as_ref().clone()).await?;
                let attempts = attempts_of(reader, &rows).await?;
                with_payments(reader, rows, attempts).await
            }
            Which::WithAttempts(text, values) => {
                let (mut rows, mut attempts) = (BTreeMap::new(), Vec::new());
                for row in reader.rows(text, values.clone()).await? {
                    let attempt: attempt::Model = row.entity("a_")?;
                    if let Entry::Vacant(first) = rows.entry(attempt.order_id) {
                        first.insert(row.entity::<order::Model>("o_")?);
                    }
                    attempts.push(attempt);
                }
                with_payments(reader, rows.into_values().collect(), attempts).await
            }
        }
    }
}

/// Orders with their attempts and payments as one commit left them: a change between the statements is noticed by the
/// order's version, and all is read again.
pub(super) async fn read_orders(reader: Reader<'_>, which: Which) -> Result<Vec<StoredOrder>, DbError> {
    // Within a write, the compare-and-set on the version refuses what was decided on a mixture.
    let is_write = matches!(reader, Reader::Write(_));
    for _ in 0..READS {
        let read = which.read(reader).await?;
        if is_write || read.is_current(reader).await? {
            return read.into_orders();
        }
    }
    Err(DbError::Unavailable(DbErr::Custom(format!("orders that changed during each of {READS} reads"))))
}

/// What several statements read.
struct Read {
    rows: Vec<order::Model>,
    attempts: HashMap<i64, Vec<attempt::Model>>,
    payments: HashMap<i64, Vec<OrderPayment>>,
}

impl Read {
    /// Whether the orders are still of the versions read.
    async fn is_current(&self, reader: Reader<'_>) -> Result<bool, DbError> {
        if self.rows.is_empty() {
            return Ok(true);
        }
        let kind = reader.kind();
        let sql = format!("SELECT id, version FROM orders WHERE {}", kind.among_numbers("id", 1));
        let mut versions: HashMap<i64, i64> = HashMap::new();
        for row in reader.rows(&sql, [kind.numbers(self.rows.iter().map(|o| o.id))]).await? {
            versions.insert(row.get("id")?, row.get("version")?);
        }
        Ok(self.rows.iter().all(|o| versions.get(&o.id) == Some(&o.version)))
    }

    fn into_orders(mut self) -> Result<Vec<StoredOrder>, DbError> {
        let order = |o: order::Model| {
            let attempts = self.attempts.remove(&o.id).unwrap_or_default();
            let payments = self.payments.remove(&o.id).unwrap_or_default();
            stored_order(o, attempts, payments)
        };
        self.rows.into_iter().map(order).collect()
    }
}

async fn attempts_of(reader: Reader<'_>, rows: &[order::Model]) -> Result<Vec<attempt::Model>, DbError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let kind = reader.kind();
    let ids = kind.numbers(rows.iter().map(|o| o.id));
    match kind {
        DbKind::Sqlite => {
            let of_them = kind.condition(kind.among_numbers("order_id", 1), [ids]);
            reader.all(attempt::Entity::find().filter(of_them)).await
        }
        DbKind::Postgres => reader.all_of::<attempt::Entity>(kind.statement(ATTEMPTS_OF_ORDERS.as_str(), [ids])).await,
    }
}

async fn with_payments(
    reader: Reader<'_>,
    rows: Vec<order::Model>,
    their_attempts: Vec<attempt::Model>,
) -> Result<Read, DbError> {
    let mut attempts: HashMap<i64, Vec<attempt::Model>> = HashMap::new();
    let mut payments: HashMap<i64, Vec<OrderPayment>> = HashMap::new();
    for a in their_attempts {
        attempts.entry(a.order_id).or_default().push(a);
    }
    attempts.values_mut().for_each(|of_order| of_order.sort_by_key(|a| a.n));
    let has_money = |o: &&order::Model| o.transaction_id.is_some() || o.amount_mismatch || o.paid_before_order;
    let with_money: Vec<i64> = rows.iter().filter(has_money).map(|o| o.id).collect();
    for (order_id, payment) in of_orders(reader, &with_money).await? {
        payments.entry(order_id).or_default().push(payment);
    }
    Ok(Read { rows, attempts, payments })
}
