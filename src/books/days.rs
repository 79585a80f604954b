//! Which days are due: each once when it is over, and those whose books did not agree until they do.

use tokio::time::Instant;

use super::check::{Checked, check};
use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::store::{BookCheck, BookRange, BooksReader, DbError, Store};

const DAY_MS: i64 = 24 * 3600 * 1000;
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

/// Compares what is due of these merchants and of all that have money, and keeps the results. What is not done at
/// `until` is done by the next run.
pub async fn run_due(store: &Store, merchants: &[MerchantKey], now: Timestamp, until: Instant) -> Result<Ran, DbError> {
    let books = store.books();
    let mut ran = Ran::default();
    for merchant in all_merchants(&books, merchants).await? {
        let mut days = open_days(&books, &merchant).await?;
        days.extend(due_days(&books, &merchant, now).await?);
        for begin in days {
            if Instant::now() >= until {
                ran.is_behind = true;
                return Ok(ran);
            }
            let checked = check_day(&books, &merchant, begin).await?;
            ran.days += 1;
            ran.rows += checked.rows;
            ran.findings += checked.count;
            for finding in checked.findings.iter().take(LOGGED) {
                let (day, rule, text) = (begin.to_beijing_day(), finding.rule.as_str(), finding.text());
                tracing::error!(%merchant, day, rule, "the books do not agree: {text}");
            }
            store.keep_book_check(&kept(&merchant, begin, &checked, now)).await?;
        }
    }
    Ok(ran)
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
