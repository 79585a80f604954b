//! Which days are due: each once when it is over, and those whose books did not agree until they do.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::check::{Checked, check};
use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::store::{BookCheck, BookRange, BooksReader, DbError, Store};

const DAY_MS: i64 = 24 * 3600 * 1000;
const HOUR_MS: i64 = 3600 * 1000;
/// Longer than any transaction takes that was begun on the day.
const OVER_MS: i64 = 600 * 1000;
/// Days that did not agree and are compared once more, at most; the newest.
const OPEN_DAYS: u32 = 31;

/// What a run came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ran {
    pub days: u64,
    pub rows: u64,
    /// What does not agree, of the days of the run.
    pub findings: u64,
    /// Whether days are left for the next run.
    pub is_behind: bool,
    /// Merchants that ended with an error, each with the error; the others were compared nevertheless.
    pub failed: Vec<String>,
}

fn begin_of(at: Timestamp) -> Timestamp {
    Timestamp::from_ms(at.next_beijing_midnight().as_ms() - DAY_MS)
}

/// The beginnings of the days that are due, oldest first: those behind the last one that was compared, as far as they
/// are over.
pub async fn due_days(books: &BooksReader, merchant: &MerchantKey, now: Timestamp) -> Result<Vec<Timestamp>, DbError> {
    let last = books.last_checked(merchant).await?.and_then(|day| Timestamp::parse_beijing_day(&day).ok());
    let first = match last {
        Some(last) => Some(last.next_beijing_midnight()),
        None => books.first_moment(merchant).await?.map(begin_of),
    };
    let end = begin_of(Timestamp::from_ms(now.as_ms() - OVER_MS));
    let days = first.into_iter().flat_map(|first| (first.as_ms()..end.as_ms()).step_by(86_400_000));
    Ok(days.map(Timestamp::from_ms).collect())
}

/// The beginnings of the days whose books did not agree, oldest first.
pub async fn open_days(books: &BooksReader, merchant: &MerchantKey) -> Result<Vec<Timestamp>, DbError> {
    let open = books.open_checks(merchant, OPEN_DAYS).await?;
    Ok(open.iter().rev().filter_map(|check| Timestamp::parse_beijing_day(&check.day).ok()).collect())
}

/// Compares the books of a day, as far as it is over.
pub async fn check_day(books: &BooksReader, merchant: &MerchantKey, begin: Timestamp) -> Result<Checked, DbError> {
    let range = BookRange { merchant: merchant.clone(), from: begin, to: begin.next_beijing_midnight() };
    check(books, &range).await
}

/// The days of a run in their order, and the merchants whose days could not be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pub days: Vec<(MerchantKey, Timestamp)>,
    pub failed: Vec<String>,
}

/// What is due of these merchants and of all that have money. Days that were not compared come before those that did
/// not agree, and each merchant has one before any has its second; which merchant, and which of its open days, is first
/// changes from hour to hour: what is not done in a run is not the same every time.
pub async fn plan(books: &BooksReader, merchants: &[MerchantKey], now: Timestamp) -> Result<Plan, DbError> {
    let hour = usize::try_from(now.as_ms() / HOUR_MS).unwrap_or(0);
    let mut all = all_merchants(books, merchants).await?;
    rotate(&mut all, hour);
    let mut plan = Plan::default();
    let (mut due, mut open) = (Vec::new(), Vec::new());
    for merchant in all {
        match (due_days(books, &merchant, now).await, open_days(books, &merchant).await) {
            (Ok(new), Ok(mut again)) => {
                rotate(&mut again, hour);
                due.push((merchant.clone(), new));
                open.push((merchant, again));
            }
            (Err(e), _) | (_, Err(e)) => plan.failed.push(format!("{merchant}: {e}")),
        }
    }
    plan.days = in_rounds(&due);
    plan.days.extend(in_rounds(&open));
    Ok(plan)
}

fn rotate<T>(items: &mut [T], by: usize) {
    if !items.is_empty() {
        items.rotate_left(by % items.len());
    }
}

/// The first day of each merchant, then the second of each, and so on.
fn in_rounds(of: &[(MerchantKey, Vec<Timestamp>)]) -> Vec<(MerchantKey, Timestamp)> {
    let rounds = of.iter().map(|(_, days)| days.len()).max().unwrap_or(0);
    let round = |n: usize| of.iter().filter_map(move |(merchant, days)| Some((merchant.clone(), *days.get(n)?)));
    (0..rounds).flat_map(round).collect()
}

/// Compares what is due of these merchants and of all that have money, and keeps the results. What is not done at
/// `until` is done by the next run. A merchant whose day fails has no further one in this run: the days of a merchant
/// are new in their order.
pub async fn run_due(store: &Store, merchants: &[MerchantKey], now: Timestamp, until: Instant) -> Result<Ran, DbError> {
    let books = store.books();
    let Plan { days, failed } = plan(&books, merchants, now).await?;
    let mut ran = Ran { failed, ..Ran::default() };
    let mut without = BTreeSet::new();
    for (merchant, begin) in days {
        if without.contains(&merchant) {
            continue;
        }
        if Instant::now() >= until {
            ran.is_behind = true;
            break;
        }
        match compared(store, &books, (&merchant, begin), now).await {
            Ok(checked) => {
                ran.days += 1;
                ran.rows += checked.rows;
                ran.findings += checked.count;
            }
            Err(e) => {
                ran.failed.push(format!("{merchant}, {}: {e}", begin.to_beijing_day()));
                without.insert(merchant);
            }
        }
    }
    Ok(ran)
}

async fn compared(
    store: &Store,
    books: &BooksReader,
    (merchant, begin): (&MerchantKey, Timestamp),
    now: Timestamp,
) -> Result<Checked, DbError> {
    let checked = check_day(books, merchant, begin).await?;
    for finding in checked.findings.iter().take(LOGGED) {
        let (day, rule, text) = (begin.to_beijing_day(), finding.rule.as_str(), finding.text());
        tracing::error!(%merchant, day, rule, "the books do not agree: {text}");
    }
    store.keep_book_check(&kept(merchant, begin, &checked, now)).await?;
    Ok(checked)
}

/// Findings of a day that are logged; all that are kept are in the database.
const LOGGED: usize = 5;

/// The configured merchants, and those that have money.
pub async fn all_merchants(books: &BooksReader, configured: &[MerchantKey]) -> Result<Vec<MerchantKey>, DbError> {
    let mut all = books.merchants().await?;
    all.extend(configured.iter().cloned());
    all.sort();
    all.dedup();
    Ok(all)
}

fn kept(merchant: &MerchantKey, begin: Timestamp, checked: &Checked, now: Timestamp) -> BookCheck {
    BookCheck {
        merchant: merchant.clone(),
        day: begin.to_beijing_day(),
        checked_at: now,
        rows: i64::try_from(checked.rows).unwrap_or(i64::MAX),
        findings: i64::try_from(checked.count).unwrap_or(i64::MAX),
        // Texts alone: there is always a JSON form.
        found: serde_json::to_string(&checked.findings).unwrap_or_default(),
    }
}
