//! Repairing what a bill shows: WeChat is asked, and its answer goes the way of any other.
//!
//! What must stay true: the bill alone moves no money. A payment of an order of ours, and a refund that WeChat's
//! platform made, are learnt by the order's own query; a payment of no order is entered as such once WeChat confirms
//! it. A repair that is made again finds the money there and changes nothing. A line whose money is not in the books
//! yet stays open: that WeChat was asked explains nothing. A repair goes on in batches, each written down, so that the
//! next process goes on where one was killed. However slowly WeChat answers, a batch ends in time, and a repair that
//! was stopped begins no further line.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::ask::is_kept;
use super::mend::{By, mend_line};
use super::repair::{MendOutcome, PlanItem, Repair, RepairError, batch, plan};
use crate::config::Merchant;
use crate::ops::{Operator, Page};
use crate::store::{DayRepair, Reconciliation, RepairState, Work};

/// Lines of one batch.
pub(super) const BATCH: u64 = 50;
/// Longer than a batch takes: what its process has not written by then is another one's.
pub(super) const BATCH_LIMIT: Duration = Duration::from_secs(120);
/// How soon it is seen whether what was asked about has settled; each further time is twice as far.
pub(super) const SETTLES: Duration = Duration::from_secs(2);
/// What a request waits for; the rest is done in the background.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// How long lines are mended.
pub(super) struct Until<'a> {
    at: Instant,
    cancel: Option<&'a CancellationToken>,
}

impl<'a> Until<'a> {
    pub fn after(limit: Duration) -> Until<'a> {
        Until { at: Instant::now() + limit, cancel: None }
    }

    /// Until the process stops, if that is earlier.
    pub const fn or_cancelled(self, cancel: &'a CancellationToken) -> Until<'a> {
        Until { at: self.at, cancel: Some(cancel) }
    }

    pub fn is_over(&self) -> bool {
        Instant::now() >= self.at || self.cancel.is_some_and(CancellationToken::is_cancelled)
    }
}

/// Repairs the lines of a day, or one of them: the first of them at once, the rest in the background.
pub async fn apply(
    on: Repair<'_>,
    operator: &Operator,
    of: &Reconciliation,
    (merchant, only, reason): (&Merchant, Option<i64>, String),
) -> Result<Vec<MendOutcome>, RepairError> {
    let now = on.clock.now();
    let one = if only.is_some() { plan(on, of, only).await? } else { Vec::new() };
    let lines = match only {
        Some(_) => i64::from(!one.is_empty()),
        None => on.store.count_mendable_lines(of).await?,
    };
    if lines == 0 {
        return Ok(Vec::new());
    }
    let mut repair = DayRepair {
        merchant: of.merchant.clone(),
        day: of.day.clone(),
        state: if only.is_some() { RepairState::Settling } else { RepairState::Running },
        reason,
        by: [operator.name.clone(), operator.id.clone(), operator.remote_addr.clone()],
        run: of.run,
        place: 0,
        lines,
        done: 0,
        repaired: 0,
        asked: 0,
        settled: 0,
        tries: 0,
        next_at: Some(now.after(BATCH_LIMIT)),
        started_at: now,
        updated_at: now,
        stopped: None,
    };
    // Before anything is done: what a killed process leaves is gone on with.
    let is_own = on.store.begin_repair(&repair).await?;
    let page = match only {
        Some(_) => Page { rows: one, next: None },
        None => batch(on, of, 0, BATCH).await?,
    };
    let until = is_own.then(|| Until::after(REQUEST_LIMIT));
    let (outcomes, next) = mend_all(on, operator, of, (merchant, page, until.as_ref()), &mut repair).await?;
    // While the whole day is being repaired, that repair takes care of what was asked.
    if is_own {
        ended_batch(on, of, &mut repair, next).await?;
    } else if repair.repaired > 0 {
        compare_again(on, of).await?;
    }
    Ok(outcomes)
}

/// Mends the lines of a batch, and counts them; answers behind which line the next batch begins. It ends early where
/// its time is over, or its repair.
pub(super) async fn mend_all(
    on: Repair<'_>,
    operator: &Operator,
    of: &Reconciliation,
    (merchant, page, until): (&Merchant, Page<PlanItem, i64>, Option<&Until<'_>>),
    repair: &mut DayRepair,
) -> Result<(Vec<MendOutcome>, Option<i64>), RepairError> {
    let reason = repair.reason.clone();
    let by = By { operator, merchant, reason: &reason, is_again: false };
    let mut outcomes = Vec::with_capacity(page.rows.len());
    for item in page.rows {
        if let Some(until) = until
            && (until.is_over() || !on.store.is_repair_under_way(repair).await?)
        {
            return Ok((outcomes, Some(repair.place)));
        }
        let mended = mend_line(on, &by, of, &item).await?;
        repair.repaired += i64::from(mended.is_repaired());
        repair.asked += i64::from(mended.waits());
        repair.done += 1;
        repair.place = item.line.id;
        outcomes.push(MendOutcome {
            line: item.line.id,
            mend: item.mend,
            result: mended.word().to_owned(),
            said: mended.said().filter(|_| mended.waits()).map(str::to_owned),
        });
    }
    Ok((outcomes, page.next))
}

/// Another result has other lines: those that are open in it are gone through from the beginning.
pub(super) fn begin_anew(repair: &mut DayRepair, of: &Reconciliation) -> bool {
    let is_other = repair.run != of.run;
    if is_other {
        (repair.run, repair.place, repair.done) = (of.run, 0, 0);
    }
    is_other
}

/// Writes down what follows a batch; whether the repair is still under way.
pub(super) async fn ended_batch(
    on: Repair<'_>,
    of: &Reconciliation,
    repair: &mut DayRepair,
    next: Option<i64>,
) -> Result<bool, RepairError> {
    let now = on.clock.now();
    repair.updated_at = now;
    repair.tries = 0;
    // A comparison may have ended meanwhile, and removed the lines of the result before.
    let newest = on.store.reconciliation(&of.merchant, &of.day).await?;
    let of = newest.as_ref().unwrap_or(of);
    let is_other = repair.state == RepairState::Running && begin_anew(repair, of);
    if next.is_some() || is_other {
        (repair.state, repair.next_at) = (RepairState::Running, Some(now));
    } else {
        // What a killed process repaired and did not write down counts, too.
        repair.done = repair.lines;
        // Also lines that a repair before asked about.
        let waits = repair.asked > 0 || on.store.asked_lines(of).await?.waiting > 0;
        let is_stale = !waits && (repair.repaired > 0 || on.store.count_repaired_lines(of).await? > 0);
        (repair.state, repair.next_at) = if waits {
            (RepairState::Settling, Some(now.after(SETTLES)))
        } else if is_stale && !compare_again(on, of).await? {
            (RepairState::Settling, Some(now))
        } else {
            (RepairState::Done, None)
        };
    }
    let is_under_way = on.store.note_repair(repair).await?;
    if !is_under_way && on.store.count_repaired_lines(of).await? > 0 {
        // It was stopped meanwhile: what was repaired until then counts.
        compare_again(on, of).await?;
    }
    Ok(is_under_way)
}

/// Has the day compared again; `false` where a comparison has begun that may have missed what was repaired.
pub(super) async fn compare_again(on: Repair<'_>, of: &Reconciliation) -> Result<bool, RepairError> {
    let (merchant, day, now) = (&of.merchant, of.day.as_str(), on.clock.now());
    if !is_kept(day, now) {
        // WeChat has no bill to compare with any more: the result stays, with the lines that are repaired.
        return Ok(true);
    }
    if on.store.ask_reconciliation(merchant, day, of.asked_by.as_deref(), now).await? {
        return Ok(true);
    }
    let found = on.store.reconciliation(merchant, day).await?;
    Ok(found.is_some_and(|day| day.work == Work::Pending))
}
