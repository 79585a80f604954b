//! What holds at the end of every test that runs the service: nothing is left to do, and its books are WeChat's.

use std::collections::BTreeSet;

use serde_json::Value;
use wxpay_worker::books::{BookRule, all_merchants, check};
use wxpay_worker::bus::Bus;
use wxpay_worker::clock::Timestamp;
use wxpay_worker::store::{BookRange, Db, Store};

use super::service::logs::unsettled;
use super::sql::{number, texts};

/// What a test says of its own end.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    dead_letters: Vec<String>,
    pub unfinished: Option<&'static str>,
    pub open_books: Option<&'static str>,
}

impl Expected {
    pub fn dead_letters(&mut self, reasons: &[&str]) {
        self.dead_letters.extend(reasons.iter().map(|&reason| reason.to_owned()));
        self.dead_letters.sort();
    }
}

/// Counts of rows that contradict each other.
const CONTRADICTIONS: &[(&str, &str)] = &[
    (
        "orders with a change that nothing proves",
        "SELECT COUNT(*) FROM orders o
         WHERE o.version - (SELECT MIN(e.version) FROM evidence e WHERE e.order_id = o.id) + 1
            <> (SELECT COUNT(*) FROM evidence e WHERE e.order_id = o.id)",
    ),
    (
        "orders settled by two notifications",
        "SELECT COUNT(*) FROM (SELECT order_id FROM notifications WHERE verdict = 'settled' AND kind <> 'refund'
         GROUP BY order_id, transaction_id HAVING COUNT(*) > 1) AS t",
    ),
    (
        "orders whose refunded_fen is not their ledger's",
        "SELECT COUNT(*) FROM orders o WHERE o.refunded_fen <>
         COALESCE((SELECT SUM(amount_fen) FROM refund_ledger l WHERE l.order_id = o.id AND l.currency = 'CNY'), 0)",
    ),
    (
        "payments of another class than their ledger's",
        "SELECT COUNT(*) FROM payments p
         JOIN (SELECT merchant, transaction_id, MAX(id) AS id FROM ledger GROUP BY merchant, transaction_id) AS last
           ON last.merchant = p.merchant AND last.transaction_id = p.transaction_id
         JOIN ledger l ON l.id = last.id WHERE p.class <> COALESCE(l.to_class, p.class)",
    ),
    (
        "ledger entries without a payment of their amount",
        "SELECT COUNT(*) FROM ledger l WHERE NOT EXISTS (SELECT 1 FROM payments p WHERE p.merchant = l.merchant
         AND p.transaction_id = l.transaction_id AND p.amount_fen = l.amount_fen AND p.currency = l.currency)",
    ),
    (
        "orders that were announced as paid without a credited payment",
        "SELECT COUNT(*) FROM orders o WHERE o.paid_told AND NOT EXISTS (SELECT 1 FROM payments p
         WHERE p.order_id = o.id AND p.transaction_id = o.transaction_id AND p.class = 'credited')",
    ),
    (
        "credited payments of which money goes back as of no order",
        "SELECT COUNT(*) FROM refunds r JOIN payments p ON p.merchant = r.merchant
           AND p.transaction_id = r.transaction_id
         WHERE p.class = 'credited' AND r.order_id IS NULL AND r.state <> 'failed'",
    ),
    (
        "refunds in another currency than their payment's",
        "SELECT COUNT(*) FROM refund_ledger l WHERE NOT EXISTS (SELECT 1 FROM payments p WHERE p.merchant = l.merchant
         AND p.transaction_id = l.transaction_id AND p.currency = l.currency)",
    ),
    (
        "totals that are not their refunds'",
        "SELECT COUNT(*) FROM refund_totals t WHERE t.reserved_fen <> COALESCE((SELECT SUM(amount_fen) FROM refunds r
         WHERE r.merchant = t.merchant AND r.transaction_id = t.transaction_id AND r.state <> 'failed'), 0)",
    ),
    (
        "totals that are not their ledger's",
        "SELECT COUNT(*) FROM refund_totals t WHERE t.refunded_fen <> COALESCE((SELECT SUM(amount_fen)
         FROM refund_ledger l WHERE l.merchant = t.merchant AND l.transaction_id = t.transaction_id), 0)",
    ),
    (
        "refunds with a change that nothing proves",
        "SELECT COUNT(*) FROM refunds r WHERE r.version - 1 + CASE WHEN r.origin = 'console' THEN 1 ELSE 0 END
         <> (SELECT COUNT(*) FROM refund_evidence e WHERE e.refund = r.id)",
    ),
    (
        "succeeded refunds without exactly one event",
        "SELECT COUNT(*) FROM refunds r WHERE r.state = 'succeeded' AND 1 <> (SELECT COUNT(*) FROM outbox x
         WHERE x.event_type = 'wxpay.refund.succeeded.v1'
           AND (x.payload LIKE '%\"refund_no\":\"' || r.refund_no || '\"%'
                OR x.packed IS NOT NULL AND x.order_no = r.order_no))",
    ),
];

/// What does not hold. Without a bus what is left to do is not checked.
pub async fn problems(expected: &Expected, db: &Db, bus: Option<&Bus>, truth: &Value) -> Vec<String> {
    let mut problems = match (bus, expected.unfinished) {
        (Some(bus), None) => unfinished(db, bus).await,
        (None, _) | (_, Some(_)) => Vec::new(),
    };
    if expected.unfinished.is_none() {
        let waiting = texts(db, "SELECT event_id FROM notifications WHERE verdict = 'waiting'").await;
        problems.extend((!waiting.is_empty()).then(|| format!("notifications without a verdict: {waiting:?}")));
    }
    let dead_letters = texts(db, "SELECT reason FROM dead_letters ORDER BY reason").await;
    if dead_letters != expected.dead_letters {
        let found = texts(db, "SELECT consumer || ' ' || reason || ': ' || last_error FROM dead_letters").await;
        problems.push(format!("dead letters {found:?}, expected {:?}", expected.dead_letters));
    }
    if expected.open_books.is_none() {
        compare_books(db, truth, &mut problems).await;
    }
    problems
}

/// What is left to do. Nothing, where that is seen twice: what goes from the database to the queue while both are read
/// is in neither.
pub async fn unfinished(db: &Db, bus: &Bus) -> Vec<String> {
    let left = seen_unfinished(db, bus).await;
    if left.is_empty() { seen_unfinished(db, bus).await } else { left }
}

async fn seen_unfinished(db: &Db, bus: &Bus) -> Vec<String> {
    // Before the queue: what leaves a log goes there.
    let mut left: Vec<String> =
        unsettled(db).await.into_iter().map(|log| format!("an intake log is not settled: {log}")).collect();
    match bus.lag().await {
        Err(error) => left.push(format!("the bus does not answer: {error}")),
        Ok(lag) => left.extend(
            lag.iter().filter(|l| l.pending > 0 || l.in_flight > 0).map(|l| format!("not acknowledged: {l:?}")),
        ),
    }
    for (what, rows) in [
        ("events not relayed", "SELECT event_type FROM outbox WHERE relayed_at_ms IS NULL"),
        ("messages deferred", "SELECT subject || ' ' || last_error FROM deferred"),
        ("orders being placed", "SELECT order_no FROM orders WHERE placing_version = version AND placing_until_ms > 0"),
    ] {
        let rows = texts(db, rows).await;
        if !rows.is_empty() {
            left.push(format!("{what}: {rows:?}"));
        }
    }
    left
}

async fn compare_books(db: &Db, truth: &Value, problems: &mut Vec<String>) {
    // Of money of no order, what was given back must be known line by line, too.
    let own = "SELECT out_trade_no FROM attempts UNION SELECT out_trade_no FROM refunds WHERE order_id IS NULL";
    let numbers: BTreeSet<String> = texts(db, own).await.into_iter().collect();
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    // What the merchant's other systems sell is none of ours.
    let of = |rows: &str, line: &dyn Fn(&Value) -> Option<String>| -> Vec<String> {
        let rows = truth[rows].as_array().unwrap().iter();
        let mut lines: Vec<String> =
            rows.filter(|row| numbers.contains(&text(row, "out_trade_no"))).filter_map(line).collect();
        lines.sort();
        lines
    };
    let payments = of("payments", &|p| {
        Some(format!("{} {} {}", text(p, "out_trade_no"), text(p, "transaction_id"), p["total_fee"]))
    });
    let refunds = of("refunds", &|r| {
        let line = format!("{} {} {}", text(r, "out_refund_no"), text(r, "refund_id"), r["refund_fee"]);
        (r["status"] == "SUCCESS").then_some(line)
    });
    for (what, sql, theirs) in [
        (
            "payments",
            &*format!(
                "SELECT out_trade_no || ' ' || transaction_id || ' ' || amount_fen FROM ledger
                 WHERE entry = 'payment' AND out_trade_no IN ({own})"
            ),
            payments,
        ),
        ("refunds", "SELECT refund_no || ' ' || refund_id || ' ' || amount_fen FROM refund_ledger", refunds),
    ] {
        let mut ours = texts(db, sql).await;
        ours.sort();
        if ours != theirs {
            problems.push(format!("{what} in our ledger {ours:?}, at WeChat {theirs:?}"));
        }
    }
    problems.extend(contradictions(db).await);
    problems.extend(disagreements(db).await);
}

/// What the service's own comparison of its books finds. Events that a test removed are no finding.
async fn disagreements(db: &Db) -> Vec<String> {
    let books = Store::new(db.clone()).books();
    let all_events = number(db, "SELECT COUNT(*) - COALESCE(MAX(position), 0) FROM outbox").await == 0;
    let mut found = Vec::new();
    for merchant in all_merchants(&books, &[]).await.unwrap() {
        let (from, to) = (Timestamp::from_ms(0), Timestamp::from_ms(END_MS));
        let checked = check(&books, &BookRange { merchant, from, to }).await.unwrap();
        let of_events = |rule| matches!(rule, BookRule::Feed | BookRule::PaidEvent | BookRule::RefundEvent);
        let kept = checked.findings.iter().filter(|finding| all_events || !of_events(finding.rule));
        found.extend(kept.map(|finding| format!("books: {} {}", finding.rule.as_str(), finding.text())));
    }
    found
}

/// Later than any test's clock.
const END_MS: i64 = 9_000_000_000_000;

/// Rows that contradict each other.
pub async fn contradictions(db: &Db) -> Vec<String> {
    let mut found = Vec::new();
    for (what, sql) in CONTRADICTIONS {
        let count = number(db, sql).await;
        if count > 0 {
            found.push(format!("{count} {what}"));
        }
    }
    found
}
