//! Repairing what a bill shows: WeChat is asked, and its answer goes the way of any other.
//!
//! What must stay true: the bill alone moves no money. A payment of an order of ours, and a refund that WeChat's
//! platform made, are learnt by the order's own query; a payment of no order is entered as such once WeChat confirms
//! it. A repair that is made again finds the money there and changes nothing. A line whose money is not in the books
//! yet stays open: that WeChat was asked explains nothing. A repair goes on in batches, each written down, so that the
//! next process goes on where one was killed; the day is compared again when what was asked about is in the books.

use std::time::Duration;

use super::enter::enter;
use super::enter_refund::enter_refund;
use super::repair::{Mend, MendOutcome, PlanItem, Repair, RepairError, batch, mend, plan};
use super::resolve::change;
use crate::config::Merchant;
use crate::ops::Operator;
use crate::ops::commands;
use crate::reconciliation::Resolution;
use crate::store::{DayRepair, DbError, Reconciliation, RepairState, Store, Work};

/// Lines of one batch.
const BATCH: u64 = 50;
/// Batches that one run of the job makes of a day.
const BATCHES: usize = 10;
/// Longer than a batch takes: what its process has not written by then is another one's.
const BATCH_LIMIT: Duration = Duration::from_secs(120);
/// How soon it is seen whether what was asked about has settled; each further time is twice as far.
const SETTLES: Duration = Duration::from_secs(2);
/// Batches that failed are made again, and what was asked about is waited for, so often: some six hours.
const TRIES: i64 = 13;
/// Lines that WeChat is asked about again at each try.
const ASKED_AGAIN: u64 = 200;

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
    };
    // Before anything is done: what a killed process leaves is gone on with.
    let is_own = on.store.begin_repair(&repair).await?;
    let (items, next) = match only {
        Some(_) => (one, None),
        None => {
            let page = batch(on, of, 0, BATCH).await?;
            (page.rows, page.next)
        }
    };
    let outcomes = mend_all(on, operator, of, (merchant, items), &mut repair).await?;
    // While the whole day is being repaired, that repair takes care of what was asked.
    if is_own {
        ended_batch(on, of, &mut repair, next).await?;
    } else if repair.repaired > 0 {
        compare_again(on, of).await?;
    }
    Ok(outcomes)
}

/// Mends the lines of a batch, and counts them.
async fn mend_all(
    on: Repair<'_>,
    operator: &Operator,
    of: &Reconciliation,
    (merchant, items): (&Merchant, Vec<PlanItem>),
    repair: &mut DayRepair,
) -> Result<Vec<MendOutcome>, RepairError> {
    let mut outcomes = Vec::with_capacity(items.len());
    for item in items {
        let result = match (&item.mend, &item.order) {
            (Mend::AskAboutOrder | Mend::AdoptRefund, Some(order)) => {
                commands::ask(on.bus, on.clock, &order.order).await?;
                "asked".to_owned()
            }
            (Mend::EnterPayment, _) => enter(on, merchant, &item.line).await?,
            (Mend::AdoptRefund, None) => enter_refund(on, merchant, &item.line).await?,
            (Mend::Rerun, _) => "known".to_owned(),
            (Mend::Note | Mend::AskAboutOrder, _) => "note".to_owned(),
        };
        let note = format!("{} ({}: {result})", repair.reason, item.mend.as_str());
        let change =
            change((on.clock, operator), of, &item.line, ("reconciliation.repair", Resolution::Repaired), note);
        match result.as_str() {
            "entered" | "known" => {
                // The day may have another result by now; what was entered is audited all the same.
                if !on.store.change_line(of, &change).await? {
                    on.store.record_audit(&change.audit).await?;
                }
                repair.repaired += 1;
            }
            "asked" => {
                on.store.note_asked(item.line.id, &change.audit).await?;
                repair.asked += 1;
            }
            _ => {}
        }
        repair.done += 1;
        repair.place = item.line.id;
        outcomes.push(MendOutcome { line: item.line.id, mend: item.mend, result });
    }
    Ok(outcomes)
}

/// Writes down what follows a batch.
async fn ended_batch(
    on: Repair<'_>,
    of: &Reconciliation,
    repair: &mut DayRepair,
    next: Option<i64>,
) -> Result<(), RepairError> {
    let now = on.clock.now();
    repair.updated_at = now;
    repair.tries = 0;
    // Also lines that a repair before asked about.
    let waits = next.is_none() && on.store.asked_lines(of).await?.waiting > 0;
    (repair.state, repair.next_at) = match next {
        Some(_) => (RepairState::Running, Some(now)),
        None if waits || repair.asked > 0 => (RepairState::Settling, Some(now.after(SETTLES))),
        None if repair.repaired > 0 && !compare_again(on, of).await? => (RepairState::Settling, Some(now)),
        None => (RepairState::Done, None),
    };
    on.store.note_repair(repair).await?;
    Ok(())
}

/// Has the day compared again; `false` where a comparison has begun that may have missed what was repaired.
async fn compare_again(on: Repair<'_>, of: &Reconciliation) -> Result<bool, RepairError> {
    let (merchant, day, now) = (&of.merchant, of.day.as_str(), on.clock.now());
    if on.store.ask_reconciliation(merchant, day, of.asked_by.as_deref(), now).await? {
        return Ok(true);
    }
    let found = on.store.reconciliation(merchant, day).await?;
    Ok(found.is_some_and(|day| day.work == Work::Pending))
}

/// Goes on with repairs that are due; answers of how many days.
pub async fn go_on(on: Repair<'_>, limit: u64) -> Result<u64, RepairError> {
    let mut count = 0;
    for mut repair in on.store.due_repairs(on.clock.now(), limit).await? {
        let Some(of) = on.store.reconciliation(&repair.merchant, &repair.day).await? else { continue };
        let gone_on = match repair.state {
            RepairState::Running => batches(on, &of, &mut repair).await,
            RepairState::Settling | RepairState::Done | RepairState::Unsettled => settle(on, &of, &mut repair).await,
        };
        if let Err(e) = gone_on {
            tracing::warn!(merchant = %repair.merchant, day = repair.day, error = %e, "a repair could not go on");
            postpone(on, &mut repair).await?;
        }
        count += 1;
    }
    Ok(count)
}

async fn batches(on: Repair<'_>, of: &Reconciliation, repair: &mut DayRepair) -> Result<(), RepairError> {
    let [name, id, remote_addr] = repair.by.clone();
    let operator = Operator { name, id, remote_addr, merchants: None };
    let Some(merchant) = on.config.merchant(of.merchant.as_str()) else { return postpone(on, repair).await };
    if repair.run != of.run {
        // Another result has other lines: those that are open in it are gone through from the beginning.
        (repair.run, repair.place, repair.done) = (of.run, 0, 0);
    }
    for _ in 0..BATCHES {
        repair.next_at = Some(on.clock.now().after(BATCH_LIMIT));
        on.store.note_repair(repair).await?;
        let page = batch(on, of, repair.place, BATCH).await?;
        mend_all(on, &operator, of, (merchant, page.rows), repair).await?;
        ended_batch(on, of, repair, page.next).await?;
        if page.next.is_none() {
            break;
        }
    }
    Ok(())
}

/// Tries later, the longer the more often it was tried; a last time at the end.
async fn postpone(on: Repair<'_>, repair: &mut DayRepair) -> Result<(), RepairError> {
    let now = on.clock.now();
    repair.tries += 1;
    repair.updated_at = now;
    if repair.tries >= TRIES {
        (repair.state, repair.next_at) = (RepairState::Unsettled, None);
    } else {
        let doubled = u32::try_from(repair.tries).map_or(1, |tries| 1 << tries.min(16));
        repair.next_at = Some(now.after(SETTLES * doubled));
    }
    Ok(on.store.note_repair(repair).await?)
}

/// Whether what WeChat was asked about is in the books by now: then the day is compared again. As long as more of it
/// arrives, the comparison waits for the rest.
async fn settle(on: Repair<'_>, of: &Reconciliation, repair: &mut DayRepair) -> Result<(), RepairError> {
    if of.work == Work::Running {
        repair.next_at = Some(on.clock.now().after(SETTLES));
        return Ok(on.store.note_repair(repair).await?);
    }
    let lines = on.store.asked_lines(of).await?;
    let here = lines.settled.saturating_add(repair.repaired);
    let is_last = repair.tries + 1 >= TRIES;
    let has_stopped = here == repair.settled || is_last;
    repair.settled = here;
    if (lines.waiting == 0 || (here > 0 && has_stopped)) && compare_again(on, of).await? {
        // Counted once: the next result has them.
        (repair.settled, repair.repaired) = (0, 0);
        if lines.waiting == 0 {
            (repair.state, repair.next_at, repair.updated_at) = (RepairState::Done, None, on.clock.now());
            return Ok(on.store.note_repair(repair).await?);
        }
    }
    for line in on.store.waiting_lines(of, ASKED_AGAIN).await? {
        let item = mend(on, of, line).await?;
        if let (Mend::AskAboutOrder | Mend::AdoptRefund, Some(order)) = (item.mend, &item.order) {
            commands::ask(on.bus, on.clock, &order.order).await?;
        }
    }
    postpone(on, repair).await
}

/// How a day's repair stands, and how many lines it waits for; none where none was made.
pub async fn progress(store: &Store, of: &Reconciliation) -> Result<Option<(DayRepair, i64)>, DbError> {
    let Some(repair) = store.day_repair(&of.merchant, &of.day).await? else { return Ok(None) };
    let waiting = match repair.state {
        RepairState::Done => 0,
        RepairState::Running | RepairState::Settling | RepairState::Unsettled => store.asked_lines(of).await?.waiting,
    };
    Ok(Some((repair, waiting)))
}
