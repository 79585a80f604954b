//! The comparison of a range of the books.

use std::collections::HashMap;
use std::time::Duration;

use super::compare::{
    data, of_event, of_ledger, of_not_entered, of_order_events, of_refund, of_refund_event, of_refund_events,
};
use super::finding::{BookFinding, BookRule};
use crate::store::{BookRange, BooksReader, DbError, FeedEvent, FeedFault, LedgerFacts, RefundFacts};

/// Findings of a range that are kept; the others are counted.
const KEPT: usize = 100;
/// After the rows of a day were compared, they are compared again once so much later: an order is paid within a week.
const LATER: Duration = Duration::from_secs(8 * 24 * 3600);
/// An event is emitted in the transaction of its row, by the same clock; the two times differ by less.
const BESIDE: Duration = Duration::from_secs(15 * 60);

/// How long an event may be without a position.
const PLACED: Duration = Duration::from_secs(60);

const PAID: &str = "wxpay.order.paid.v1";
const ACCEPTED: &str = "wxpay.payment.accepted.v1";
const REFUNDED: &str = "wxpay.refund.succeeded.v1";

/// What a comparison came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Rows of the ledgers.
    pub rows: u64,
    /// All findings, also those that are not kept.
    pub count: u64,
    pub findings: Vec<BookFinding>,
}

impl Checked {
    fn add(&mut self, found: impl IntoIterator<Item = BookFinding>) {
        for finding in found {
            self.count += 1;
            if self.findings.len() < KEPT {
                self.findings.push(finding);
            }
        }
    }
}

/// Compares what was recorded in a range, and once more what is a week older.
pub async fn check(books: &BooksReader, range: &BookRange) -> Result<Checked, DbError> {
    let mut checked = Checked::default();
    ledger(books, range, &mut checked).await?;
    refunds(books, range, &mut checked).await?;
    events(books, range, &mut checked).await?;
    let older = BookRange { from: range.from.before(LATER), to: range.to.before(LATER), ..range.clone() };
    for range in [range, &older] {
        let rule = BookRule::NotEntered;
        let orders = books.orders_not_entered(range).await?;
        checked.add(orders.iter().map(|row| of_not_entered(rule, "orders", row)));
        let payments = books.payments_not_entered(range).await?;
        checked.add(payments.iter().map(|row| of_not_entered(rule, "payments", row)));
        let refunds = books.refunds_not_entered(range).await?;
        checked.add(refunds.iter().map(|row| of_not_entered(BookRule::RefundNotEntered, "refunds", row)));
    }
    Ok(checked)
}

async fn ledger(books: &BooksReader, range: &BookRange, checked: &mut Checked) -> Result<(), DbError> {
    let kept_since = books.events_kept_since().await?;
    let mut after = None;
    loop {
        let (rows, is_last) = books.ledger_facts(range, after).await?;
        checked.rows += rows.len() as u64;
        checked.add(rows.iter().flat_map(of_ledger));
        let credited: Vec<&LedgerFacts> =
            rows.iter().filter(|row| row.class.as_deref() == Some("credited") && row.order_no.is_some()).collect();
        let order_nos: Vec<String> = credited.iter().filter_map(|row| row.order_no.clone()).collect();
        let events = books.order_events(&range.merchant, PAID, &order_nos).await?;
        let by_order = by(&events, |event| event.order_no.clone());
        for row in credited {
            let of_it = row.order_no.as_ref().and_then(|order_no| by_order.get(order_no));
            checked.add(of_order_events(row, of_it.map_or(&[][..], Vec::as_slice), row.place.0 >= kept_since));
        }
        after = rows.last().map(|row| row.place).or(after);
        if is_last {
            return Ok(());
        }
    }
}

async fn refunds(books: &BooksReader, range: &BookRange, checked: &mut Checked) -> Result<(), DbError> {
    let kept_since = books.events_kept_since().await?;
    let mut after = None;
    loop {
        let (rows, is_last) = books.refund_facts(range, after).await?;
        checked.rows += rows.len() as u64;
        checked.add(rows.iter().flat_map(of_refund));
        let order_nos: Vec<String> = rows.iter().filter_map(|row| row.order_no.clone()).collect();
        let mut events = books.order_events(&range.merchant, REFUNDED, &order_nos).await?;
        events.extend(of_no_order(books, range, &rows).await?);
        let by_number = by(&events, |event| data(event)?["refund_no"].as_str().map(str::to_owned));
        for row in &rows {
            let of_it = by_number.get(&row.refund_no).map_or(&[][..], Vec::as_slice);
            checked.add(of_refund_events(row, of_it, row.place.0 >= kept_since));
        }
        after = rows.last().map(|row| row.place).or(after);
        if is_last {
            return Ok(());
        }
    }
}

/// The events of refunds of no order, found by the times of their rows.
async fn of_no_order(books: &BooksReader, range: &BookRange, rows: &[RefundFacts]) -> Result<Vec<FeedEvent>, DbError> {
    let mut times = rows.iter().filter(|row| row.order_no.is_none()).map(|row| row.place.0);
    let Some(first) = times.next() else { return Ok(Vec::new()) };
    let last = times.next_back().unwrap_or(first);
    let around = BookRange { from: first.before(BESIDE), to: last.after(BESIDE), ..range.clone() };
    let positions = books.positions(&around).await?;
    let (mut events, mut after) = (Vec::new(), None);
    loop {
        let (page, is_last) = books.events_in(&around, positions, &[REFUNDED], after).await?;
        after = page.last().map(|event| event.position).or(after);
        events.extend(page.into_iter().filter(|event| event.order_no.is_none()));
        if is_last {
            return Ok(events);
        }
    }
}

async fn events(books: &BooksReader, range: &BookRange, checked: &mut Checked) -> Result<(), DbError> {
    let positions = books.positions(range).await?;
    let mut after = None;
    loop {
        let (page, is_last) = books.events_in(range, positions, &[PAID, ACCEPTED, REFUNDED], after).await?;
        after = page.last().map(|event| event.position).or(after);
        let (refunds, payments): (Vec<_>, Vec<_>) = page.iter().partition(|event| is_refund(event));
        let numbers = |events: &[&FeedEvent], name: &str| -> Vec<String> {
            events.iter().filter_map(|event| data(event)?[name].as_str().map(str::to_owned)).collect()
        };
        let entries = books.ledger_of(&range.merchant, &numbers(&payments, "transaction_id")).await?;
        for event in payments {
            let number = numbers(&[event], "transaction_id").pop();
            let of_it: Vec<_> = entries.iter().filter(|row| Some(&row.transaction_id) == number.as_ref()).collect();
            checked.add(of_event(event, &of_it));
        }
        let entries = books.refunds_of(&range.merchant, &numbers(&refunds, "refund_no")).await?;
        for event in refunds {
            let number = numbers(&[event], "refund_no").pop();
            let entered = entries.iter().find(|row| Some(&row.refund_no) == number.as_ref()).map(|row| row.amount_fen);
            checked.add(of_refund_event(event, entered));
        }
        if is_last {
            break;
        }
    }
    // A relay places an event within a second or so: of each range's last minute, the next range asks.
    let settled = BookRange { from: range.from.before(PLACED), to: range.to.before(PLACED), ..range.clone() };
    let unplaced = books.events_unplaced(&settled).await?;
    checked.add(unplaced.iter().map(|fault| of_feed(fault, "feed: without a position")));
    let gaps = books.feed_gaps(range, positions).await?;
    checked.add(gaps.iter().map(|fault| of_feed(fault, "feed: the position behind it is missing")));
    Ok(())
}

fn is_refund(event: &FeedEvent) -> bool {
    data(event).is_some_and(|data| data.get("refund_no").is_some())
}

fn of_feed(fault: &FeedFault, there: &str) -> BookFinding {
    let here = match fault.position {
        Some(position) => format!("outbox: {} at {position}", fault.event_type),
        None => format!("outbox: {}", fault.event_type),
    };
    BookFinding::new(BookRule::Feed, (fault.order_no.as_deref(), &fault.event_id), here, there)
}

fn by(events: &[FeedEvent], key: impl Fn(&FeedEvent) -> Option<String>) -> HashMap<String, Vec<&FeedEvent>> {
    let mut found = HashMap::<String, Vec<&FeedEvent>>::new();
    for event in events {
        if let Some(key) = key(event) {
            found.entry(key).or_default().push(event);
        }
    }
    found
}
