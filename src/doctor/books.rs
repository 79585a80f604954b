//! The books: whether orders, ledgers, outbox and feed agree, as far as the job `books` has not compared them, and the
//! day under way.

use std::time::Duration;

use tokio::time::Instant;

use super::finding::{Finding, Status};
use crate::books::{Checked, all_merchants, check, due_days, open_days};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::ids::MerchantKey;
use crate::store::{BookRange, BooksReader, DbError, open_books};

const CHECK: &str = "books";
/// Findings of a merchant that are shown.
const SHOWN: usize = 50;

pub(super) async fn check_books(config: &Config, limit: Duration) -> Vec<Finding> {
    let books = match open_books(&config.store).await {
        Ok(Some(books)) => books,
        Ok(None) => return vec![Finding::new(CHECK, Status::NotChecked, "the SQLite file does not exist")],
        Err(error) => return vec![refused(&error)],
    };
    let until = Instant::now() + limit;
    let configured: Vec<MerchantKey> = config.merchants.iter().map(|merchant| merchant.key.clone()).collect();
    let merchants = match all_merchants(&books, &configured).await {
        Ok(merchants) => merchants,
        Err(error) => return vec![refused(&error)],
    };
    let mut findings = Vec::new();
    for merchant in merchants {
        match of_merchant(&books, &merchant, until).await {
            Ok(found) => findings.extend(found),
            Err(error) => findings.push(refused(&error)),
        }
    }
    findings
}

async fn of_merchant(books: &BooksReader, merchant: &MerchantKey, until: Instant) -> Result<Vec<Finding>, DbError> {
    let end = books.now().await?;
    let mut days = open_days(books, merchant).await?;
    let due = due_days(books, merchant, end).await?;
    // From the last day that is over to now: at most a day and some minutes.
    let rest = match due.last() {
        Some(last) => Some(last.next_beijing_midnight()),
        None => after_checked(books, merchant).await?,
    };
    days.extend(due);
    let mut findings = Vec::new();
    let (mut rows, mut compared) = (0, 0);
    let ranges = days.into_iter().map(|begin| (begin, begin.next_beijing_midnight()));
    for (from, to) in ranges.chain(rest.map(|from| (from, end)).filter(|(from, to)| from < to)) {
        if Instant::now() >= until {
            let left = format!("{} and later is not compared: there was no time", from.to_beijing_day());
            let mend = "`wxpayctl trigger books` compares the days that are over; or allow more time with --timeout";
            findings.push(Finding::new(CHECK, Status::Warning, left).about(merchant.to_string()).mend(mend));
            break;
        }
        let range = BookRange { merchant: merchant.clone(), from, to };
        let checked = check(books, &range).await?;
        (rows, compared) = (rows + checked.rows, compared + 1);
        findings.extend(of_range(merchant, from, &checked).take(SHOWN));
    }
    if findings.is_empty() {
        let text = format!("{rows} rows of {compared} days agree; the days before were compared by the job books");
        findings.push(Finding::new(CHECK, Status::Ok, text).about(merchant.to_string()));
    }
    Ok(findings)
}

/// The end of the last day that was compared, or the first moment of a merchant without one.
async fn after_checked(books: &BooksReader, merchant: &MerchantKey) -> Result<Option<Timestamp>, DbError> {
    let last = books.last_checked(merchant).await?.and_then(|day| Timestamp::parse_beijing_day(&day).ok());
    Ok(match last {
        Some(last) => Some(last.next_beijing_midnight()),
        None => books.first_moment(merchant).await?,
    })
}

fn of_range(merchant: &MerchantKey, from: Timestamp, checked: &Checked) -> impl Iterator<Item = Finding> {
    let about = format!("{merchant} {}", from.to_beijing_day());
    let more = checked.count - checked.findings.len() as u64;
    let more = (more > 0).then(|| Finding::new(CHECK, Status::Problem, format!("{more} more")).about(&about));
    let each = checked.findings.clone().into_iter().map(move |finding| {
        let found = format!("{}: {}", finding.rule.as_str(), finding.text());
        Finding::new(CHECK, Status::Problem, found).about(&about).mend(finding.rule.mend())
    });
    each.chain(more)
}

fn refused(error: &DbError) -> Finding {
    let status = match error {
        DbError::Unavailable(_) => Status::Down,
        DbError::Exists(_) | DbError::Defect(_) => Status::Problem,
    };
    Finding::new(CHECK, status, format!("cannot be compared: {error}"))
        .mend("bring the schema up to date (`wxpayd migrate`), or correct store.url")
}
