//! When a day's bill is asked for, and again.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::wechat::v2::bill::BillDay;

const HOUR: Duration = Duration::from_secs(3600);
/// Until six in the evening WeChat may still be making the bill.
const AGAIN: Duration = Duration::from_secs(600);
/// WeChat keeps bills for three months.
const KEPT_DAYS: i64 = 90;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Days that are due, the newest first, up to `limit`: days since the first order or payment that are over and
/// were never asked for.
pub fn days_to_ask(
    first_trade: Option<Timestamp>,
    asked: &BTreeSet<String>,
    now: Timestamp,
    limit: usize,
) -> Vec<BillDay> {
    let yesterday = BillDay::of(now).previous();
    // Before ten the newest bill is that of the day before yesterday.
    let newest = if yesterday.ready_at() <= now { yesterday } else { yesterday.previous() };
    let Some(first) = first_trade.map(|at| BillDay::of(at).max(oldest(now))) else { return Vec::new() };
    let mut days = Vec::new();
    let mut day = newest;
    while day >= first && days.len() < limit {
        if !asked.contains(&day.to_string()) {
            days.push(day);
        }
        day = day.previous();
    }
    days
}

/// The oldest day of which WeChat has a bill.
pub fn oldest(now: Timestamp) -> BillDay {
    let back = Duration::from_secs(DAY.as_secs() * KEPT_DAYS.unsigned_abs());
    BillDay::of(now.before(back))
}

/// When a bill that was not there is asked for again; not any more once WeChat does not keep it.
pub fn next_try(day: BillDay, now: Timestamp) -> Option<Timestamp> {
    if day < oldest(now) {
        return None;
    }
    if now < day.ready_at() {
        return Some(day.ready_at());
    }
    if now < day.ends_at().after(HOUR * 18) {
        return Some(now.after(AGAIN));
    }
    let ten = BillDay::of(now).begins_at().after(HOUR * 10);
    Some(if now < ten { ten } else { ten.after(DAY) })
}

/// When a day that has a result is compared again because the account's bill was not there: at double the distance each
/// time, ten minutes to a day later.
pub fn next_funds_try(day: BillDay, now: Timestamp) -> Option<Timestamp> {
    if day < oldest(now) {
        return None;
    }
    let late = now.as_ms().saturating_sub(day.ready_at().as_ms());
    let late = Duration::from_millis(u64::try_from(late).unwrap_or_default());
    Some(now.after(late.clamp(AGAIN, DAY)))
}

/// Whether it is noon of the day after, when an operator is informed, and when "no bill" means that there is none.
pub fn has_missed_noon(day: BillDay, now: Timestamp) -> bool {
    now >= day.ends_at().after(HOUR * 12)
}

/// The newest day whose bill should have been there at noon.
pub fn newest_missed(now: Timestamp) -> String {
    let yesterday = BillDay::of(now).previous();
    let day = if has_missed_noon(yesterday, now) { yesterday } else { yesterday.previous() };
    day.to_string()
}
