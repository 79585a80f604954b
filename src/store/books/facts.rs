//! Rows of both ledgers beside what the other tables say of the same money.
//!
//! What must stay true: each statement sees one state of the database.

use super::reader::BooksReader;
use super::rows::BookRange;
use crate::clock::Timestamp;
use crate::store::db::DbError;
use crate::store::writer::Row;

/// Rows that one statement reads.
const PAGE: usize = 500;
/// Rows of a kind that must not exist: so many are listed.
const LISTED: usize = 100;

/// A row of the ledger, and the payment and the order that it is of.
#[derive(Debug, Clone)]
pub struct LedgerFacts {
    pub place: (Timestamp, i64),
    pub entry: String,
    pub order_no: Option<String>,
    pub transaction_id: String,
    pub amount_fen: i64,
    pub currency: String,
    /// None: written by the version that knew no classes.
    pub class: Option<String>,
    /// The class in the newest row of the payment.
    pub last_class: Option<String>,
    pub payment: Option<PaymentFacts>,
    pub order: Option<OrderFacts>,
}

#[derive(Debug, Clone)]
pub struct PaymentFacts {
    pub class: String,
    pub amount_fen: i64,
    pub currency: String,
    pub order_no: Option<String>,
}

#[derive(Debug, Clone)]
pub struct OrderFacts {
    pub order_no: String,
    pub state: String,
    pub transaction_id: Option<String>,
    /// Whether the order was announced as paid.
    pub is_credited: bool,
}

/// A row of the refunds' ledger, and the refund, the totals and the order that it is of.
#[derive(Debug, Clone)]
pub struct RefundFacts {
    pub place: (Timestamp, i64),
    pub order_no: Option<String>,
    pub refund_no: String,
    pub transaction_id: String,
    pub amount_fen: i64,
    pub currency: String,
    pub state: Option<String>,
    pub refund_fen: Option<i64>,
    pub refund_currency: Option<String>,
    pub refund_order: Option<String>,
    pub refund_transaction: Option<String>,
    /// What the payment's totals say went back, and what its rows come to.
    pub total_fen: Option<i64>,
    pub entered_fen: i64,
    /// What the order says went back, and what its rows come to.
    pub order_fen: Option<i64>,
    pub order_entered_fen: i64,
}

/// What is settled without a row of a ledger.
#[derive(Debug, Clone)]
pub struct NotEntered {
    pub order_no: Option<String>,
    /// WeChat's number of the payment, or ours of the refund.
    pub number: String,
    pub amount_fen: i64,
}

impl BooksReader {
    /// The next rows of the ledger behind a place; fewer than a page are the last.
    pub async fn ledger_facts(
        &self,
        range: &BookRange,
        after: Option<(Timestamp, i64)>,
    ) -> Result<(Vec<LedgerFacts>, bool), DbError> {
        let rows = self.reader().rows(&paged(LEDGER), place(range, after)).await?;
        let is_last = rows.len() < PAGE;
        Ok((rows.iter().map(ledger_facts).collect::<Result<_, _>>()?, is_last))
    }

    /// The same of the refunds' ledger.
    pub async fn refund_facts(
        &self,
        range: &BookRange,
        after: Option<(Timestamp, i64)>,
    ) -> Result<(Vec<RefundFacts>, bool), DbError> {
        let rows = self.reader().rows(&paged(REFUNDS), place(range, after)).await?;
        let is_last = rows.len() < PAGE;
        Ok((rows.iter().map(refund_facts).collect::<Result<_, _>>()?, is_last))
    }

    /// Paid orders that were placed in the range and whose payment is in no ledger.
    pub async fn orders_not_entered(&self, range: &BookRange) -> Result<Vec<NotEntered>, DbError> {
        self.not_entered(ORDERS_NOT_ENTERED, range).await
    }

    /// Payments that WeChat took in the range and that are in no ledger.
    pub async fn payments_not_entered(&self, range: &BookRange) -> Result<Vec<NotEntered>, DbError> {
        self.not_entered(PAYMENTS_NOT_ENTERED, range).await
    }

    /// Refunds that succeeded in the range and are in no ledger.
    pub async fn refunds_not_entered(&self, range: &BookRange) -> Result<Vec<NotEntered>, DbError> {
        self.not_entered(REFUNDS_NOT_ENTERED, range).await
    }

    async fn not_entered(&self, sql: &str, range: &BookRange) -> Result<Vec<NotEntered>, DbError> {
        let values = [range.merchant.as_str().into(), range.from.as_ms().into(), range.to.as_ms().into()];
        let rows = self.reader().rows(&format!("{sql} LIMIT {LISTED}"), values).await?;
        let row = |row: &Row| {
            Ok(NotEntered {
                order_no: row.get("order_no")?,
                number: row.get("number")?,
                amount_fen: row.get("amount_fen")?,
            })
        };
        rows.iter().map(row).collect()
    }
}

fn paged(sql: &str) -> String {
    let only = "merchant = $1 AND recorded_at_ms >= $2 AND recorded_at_ms < $3 AND (recorded_at_ms > $2 OR id > $4)";
    sql.replace("{page}", &format!("{only} ORDER BY recorded_at_ms, id LIMIT {PAGE}"))
}

fn place(range: &BookRange, after: Option<(Timestamp, i64)>) -> [sea_orm::Value; 4] {
    let (at, id) = after.unwrap_or((range.from, 0));
    [range.merchant.as_str().into(), at.as_ms().into(), range.to.as_ms().into(), id.into()]
}

const LEDGER: &str = "
SELECT l.id AS id, l.recorded_at_ms AS at_ms, l.entry AS entry, l.order_no AS order_no,
       l.transaction_id AS transaction_id, l.amount_fen AS amount_fen, l.currency AS currency, l.to_class AS class,
       (SELECT n.to_class FROM ledger AS n
        WHERE n.merchant = l.merchant AND n.entry IN ('payment', 'matched', 'accepted', 'returned')
          AND n.transaction_id = l.transaction_id ORDER BY n.id DESC LIMIT 1) AS last_class,
       p.class AS payment_class, p.amount_fen AS payment_fen, p.currency AS payment_currency,
       p.order_no AS payment_order, o.order_no AS known_order, o.state AS order_state,
       o.transaction_id AS order_transaction,
       CAST(CASE WHEN o.paid_told THEN 1 ELSE 0 END AS BIGINT) AS is_credited
FROM (SELECT * FROM ledger WHERE {page}) AS l
LEFT JOIN payments AS p ON p.merchant = l.merchant AND p.transaction_id = l.transaction_id
LEFT JOIN orders AS o ON o.id = l.order_id
ORDER BY l.recorded_at_ms, l.id";

const REFUNDS: &str = "
SELECT l.id AS id, l.recorded_at_ms AS at_ms, l.order_no AS order_no, l.refund_no AS refund_no,
       l.transaction_id AS transaction_id, l.amount_fen AS amount_fen, l.currency AS currency, r.state AS state,
       r.amount_fen AS refund_fen, r.currency AS refund_currency, r.order_no AS refund_order,
       r.transaction_id AS refund_transaction, t.refunded_fen AS total_fen, o.refunded_fen AS order_fen,
       CAST(COALESCE((SELECT SUM(s.amount_fen) FROM refund_ledger AS s
                      WHERE s.order_id = l.order_id AND s.transaction_id = l.transaction_id), 0) AS BIGINT) AS of_order,
       CAST(COALESCE((SELECT SUM(s.amount_fen) FROM refund_ledger AS s
                      WHERE s.order_id IS NULL AND s.merchant = l.merchant
                        AND s.transaction_id = l.transaction_id), 0) AS BIGINT) AS of_none,
       CAST(COALESCE((SELECT SUM(s.amount_fen) FROM refund_ledger AS s
                      WHERE s.order_id = l.order_id AND s.currency = 'CNY'), 0) AS BIGINT) AS order_entered
FROM (SELECT * FROM refund_ledger WHERE {page}) AS l
LEFT JOIN refunds AS r ON r.merchant = l.merchant AND r.refund_no = l.refund_no
LEFT JOIN refund_totals AS t ON t.merchant = l.merchant AND t.transaction_id = l.transaction_id
LEFT JOIN orders AS o ON o.id = l.order_id
ORDER BY l.recorded_at_ms, l.id";

const ORDERS_NOT_ENTERED: &str = "
SELECT o.order_no AS order_no, o.transaction_id AS number, o.amount_fen AS amount_fen FROM orders AS o
WHERE o.merchant = $1 AND o.state = 'paid' AND o.created_at_ms >= $2 AND o.created_at_ms < $3
  AND NOT EXISTS (SELECT 1 FROM ledger AS l WHERE l.merchant = o.merchant AND l.entry IN ('payment', 'matched')
                    AND l.transaction_id = o.transaction_id AND l.order_id = o.id)
ORDER BY o.created_at_ms";

const PAYMENTS_NOT_ENTERED: &str = "
SELECT p.order_no AS order_no, p.transaction_id AS number, p.amount_fen AS amount_fen FROM payments AS p
WHERE p.merchant = $1 AND p.paid_at_ms >= $2 AND p.paid_at_ms < $3
  AND NOT EXISTS (SELECT 1 FROM ledger AS l WHERE l.merchant = p.merchant AND l.entry = 'payment'
                    AND l.transaction_id = p.transaction_id)
ORDER BY p.paid_at_ms";

const REFUNDS_NOT_ENTERED: &str = "
SELECT r.order_no AS order_no, r.refund_no AS number, r.amount_fen AS amount_fen FROM refunds AS r
WHERE r.merchant = $1 AND r.succeeded_at_ms >= $2 AND r.succeeded_at_ms < $3
  AND NOT EXISTS (SELECT 1 FROM refund_ledger AS l WHERE l.merchant = r.merchant AND l.refund_no = r.refund_no)
ORDER BY r.succeeded_at_ms";

fn ledger_facts(row: &Row) -> Result<LedgerFacts, DbError> {
    let payment = match row.get::<Option<String>>("payment_class")? {
        None => None,
        Some(class) => Some(PaymentFacts {
            class,
            amount_fen: row.get("payment_fen")?,
            currency: row.get("payment_currency")?,
            order_no: row.get("payment_order")?,
        }),
    };
    let order = match row.get::<Option<String>>("known_order")? {
        None => None,
        Some(order_no) => Some(OrderFacts {
            order_no,
            state: row.get("order_state")?,
            transaction_id: row.get("order_transaction")?,
            is_credited: row.get::<i64>("is_credited")? == 1,
        }),
    };
    Ok(LedgerFacts {
        place: (Timestamp::from_ms(row.get("at_ms")?), row.get("id")?),
        entry: row.get("entry")?,
        order_no: row.get("order_no")?,
        transaction_id: row.get("transaction_id")?,
        amount_fen: row.get("amount_fen")?,
        currency: row.get("currency")?,
        class: row.get("class")?,
        last_class: row.get("last_class")?,
        payment,
        order,
    })
}

fn refund_facts(row: &Row) -> Result<RefundFacts, DbError> {
    Ok(RefundFacts {
        place: (Timestamp::from_ms(row.get("at_ms")?), row.get("id")?),
        order_no: row.get("order_no")?,
        refund_no: row.get("refund_no")?,
        transaction_id: row.get("transaction_id")?,
        amount_fen: row.get("amount_fen")?,
        currency: row.get("currency")?,
        state: row.get("state")?,
        refund_fen: row.get("refund_fen")?,
        refund_currency: row.get("refund_currency")?,
        refund_order: row.get("refund_order")?,
        refund_transaction: row.get("refund_transaction")?,
        total_fen: row.get("total_fen")?,
        entered_fen: row.get::<i64>("of_order")? + row.get::<i64>("of_none")?,
        order_fen: row.get("order_fen")?,
        order_entered_fen: row.get("order_entered")?,
    })
}
