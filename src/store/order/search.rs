//! Orders by any number that belongs to them, whole or by its beginning.

use sea_orm::Value;

use crate::ids::MerchantKey;
use crate::store::Store;
use crate::store::db::{DbError, placeholders};

/// A shorter text is compared as a whole: too many numbers begin with it.
const PREFIX_MIN: usize = 4;
/// An event's id begins with its time, which many share.
const EVENT_PREFIX_MIN: usize = 13;
/// Hits of one kind of number.
const HITS: i64 = 200;

/// A number, where it is stored, and how its row leads to the order.
struct Numbers {
    name: &'static str,
    from: &'static str,
    column: &'static str,
    order_id: &'static str,
    merchant: &'static str,
    prefix_min: usize,
}

const NUMBERS: &[Numbers] = &[
    Numbers {
        name: "order_no",
        from: "orders AS o",
        column: "o.order_no",
        order_id: "o.id",
        merchant: "o.merchant",
        prefix_min: PREFIX_MIN,
    },
    Numbers {
        name: "out_trade_no",
        from: "attempts AS a",
        column: "a.out_trade_no",
        order_id: "a.order_id",
        merchant: "a.merchant",
        prefix_min: PREFIX_MIN,
    },
    Numbers {
        name: "transaction_id",
        from: "payments AS p",
        column: "p.transaction_id",
        order_id: "p.order_id",
        merchant: "p.merchant",
        prefix_min: PREFIX_MIN,
    },
    Numbers {
        name: "refund_no",
        from: "refunds AS r",
        column: "r.refund_no",
        order_id: "r.order_id",
        merchant: "r.merchant",
        prefix_min: PREFIX_MIN,
    },
    Numbers {
        name: "refund_id",
        from: "refunds AS r",
        column: "r.refund_id",
        order_id: "r.order_id",
        merchant: "r.merchant",
        prefix_min: PREFIX_MIN,
    },
    Numbers {
        name: "event_id",
        from: "outbox AS e",
        column: "e.event_id",
        // As a join it might begin with the orders.
        order_id: "(SELECT o.id FROM orders AS o WHERE o.merchant = e.merchant AND o.order_no = e.order_no)",
        merchant: "e.merchant",
        prefix_min: EVENT_PREFIX_MIN,
    },
    Numbers {
        name: "notification_id",
        from: "notifications AS n",
        column: "n.event_id",
        order_id: "n.order_id",
        merchant: "n.merchant",
        prefix_min: EVENT_PREFIX_MIN,
    },
];

/// The rows of orders that were found.
#[derive(Debug, Clone, Default)]
pub struct Hits {
    pub ids: Vec<i64>,
    /// More numbers of one kind begin like this than are searched.
    pub is_cut: bool,
}

impl Store {
    /// The orders that have this number, or one that begins like it.
    pub async fn orders_by_number(&self, merchants: &[MerchantKey], number: &str) -> Result<Hits, DbError> {
        let mut hits = Hits::default();
        if merchants.is_empty() {
            return Ok(hits);
        }
        for numbers in NUMBERS {
            let (sql, values) = numbers.sql(merchants, number);
            let rows = self.db.reader().rows(&sql, values).await?;
            hits.is_cut |= i64::try_from(rows.len()).unwrap_or(i64::MAX) >= HITS;
            for row in rows {
                // A payment or an event may be of no order.
                hits.ids.extend(row.get::<Option<i64>>("id")?);
            }
        }
        hits.ids.sort_unstable();
        hits.ids.dedup();
        Ok(hits)
    }
}

impl Numbers {
    fn sql(&self, merchants: &[MerchantKey], number: &str) -> (String, Vec<Value>) {
        let Numbers { from, column, order_id, merchant, prefix_min, .. } = self;
        let among = placeholders(1, merchants.len(), 3);
        // A range that every collation has: by any of them, what begins like this lies in it.
        let (last, length) = if number.len() >= *prefix_min {
            (format!("{number}{}", "z".repeat(64)), number.chars().count())
        } else {
            (number.to_owned(), usize::MAX)
        };
        let begins = match length {
            usize::MAX => format!("{column} = $1"),
            length => format!("substr({column}, 1, {length}) = $1"),
        };
        let sql = format!(
            "SELECT {order_id} AS id FROM {from}
             WHERE {column} >= $1 AND {column} <= $2 AND {begins} AND {merchant} IN {among}
             LIMIT $3"
        );
        let values = [number.into(), last.into(), HITS.into()];
        (sql, values.into_iter().chain(merchants.iter().map(|m| m.as_str().into())).collect())
    }
}

/// The statements of a search, with their values, for a test of the plans.
#[doc(hidden)]
pub fn search_statements(merchants: &[MerchantKey], number: &str) -> Vec<(&'static str, String, Vec<Value>)> {
    let sql = |numbers: &Numbers| {
        let (sql, values) = numbers.sql(merchants, number);
        (numbers.name, sql, values)
    };
    NUMBERS.iter().map(sql).collect()
}
