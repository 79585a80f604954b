//! Repairs in the background: their further batches, and what was asked about until it is in the books.
//!
//! What must stay true: a line ends by what WeChat says of it. Where that is not conclusive it is asked again, at
//! growing distances and so often; then the repair is over and says how many lines it waits for.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::apply::{BATCH, BATCH_LIMIT, SETTLES, Until, begin_anew, compare_again, ended_batch, mend_all};
use super::ask::is_kept;
use super::mend::{By, mend_line};
use super::repair::{Mend, Repair, RepairError, batch, mend};
use super::resolve::change;
use crate::config::Merchant;
use crate::ops::Operator;
use crate::reconciliation::Resolution;
use crate::store::{DayRepair, Reconciliation, RepairState, Work};

/// How long a run of the job goes on with a day before the next one's.
const DAY_LIMIT: Duration = Duration::from_secs(20);
/// Batches that failed are made again, and what was asked about is waited for, so often: some six hours.
const TRIES: i64 = 13;
/// Lines that WeChat is asked about again at each try.
const ASKED_AGAIN: u64 = 200;

/// Goes on with repairs that are due, until the process stops; answers of how many days.
pub async fn go_on(on: Repair<'_>, limit: u64, cancel: &CancellationToken) -> Result<u64, RepairError> {
    let mut count = 0;
    for mut repair in on.store.due_repairs(on.clock.now(), limit).await? {
        let Some(of) = on.store.reconciliation(&repair.merchant, &repair.day).await? else { continue };
        let until = Until::after(DAY_LIMIT).or_cancelled(cancel);
        if until.is_over() {
            break;
        }
        let gone_on = match (repair.state, on.config.merchant(of.merchant.as_str())) {
            (_, None) => postpone(on, &mut repair).await,
            (RepairState::Running, Some(merchant)) => batches(on, of, (merchant, &until), &mut repair).await,
            (_, Some(merchant)) => settle(on, &of, (merchant, &until), &mut repair).await,
        };
        if let Err(e) = gone_on {
            tracing::warn!(merchant = %repair.merchant, day = repair.day, error = %e, "a repair could not go on");
            postpone(on, &mut repair).await?;
        }
        count += 1;
    }
    Ok(count)
}

fn operator(repair: &DayRepair) -> Operator {
    let [name, id, remote_addr] = repair.by.clone();
    Operator { name, key: id.clone(), id, remote_addr, merchants: None }
}

async fn batches(
    on: Repair<'_>,
    mut of: Reconciliation,
    (merchant, until): (&Merchant, &Until<'_>),
    repair: &mut DayRepair,
) -> Result<(), RepairError> {
    let operator = operator(repair);
    while !until.is_over() {
        begin_anew(repair, &of);
        repair.next_at = Some(on.clock.now().after(BATCH_LIMIT));
        if !on.store.note_repair(repair).await? {
            return Ok(());
        }
        let page = batch(on, &of, repair.place, BATCH).await?;
        let (_, next) = mend_all(on, &operator, &of, (merchant, page, Some(until)), repair).await?;
        let goes_on = ended_batch(on, &of, repair, next).await?;
        if !goes_on || repair.state != RepairState::Running {
            return Ok(());
        }
        let Some(now) = on.store.reconciliation(&of.merchant, &of.day).await? else { return Ok(()) };
        of = now;
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
    on.store.note_repair(repair).await?;
    Ok(())
}

/// Whether what WeChat was asked about is in the books by now: then the day is compared again. As long as more of it
/// arrives, the comparison waits for the rest.
async fn settle(
    on: Repair<'_>,
    of: &Reconciliation,
    (merchant, until): (&Merchant, &Until<'_>),
    repair: &mut DayRepair,
) -> Result<(), RepairError> {
    if of.work == Work::Running {
        repair.next_at = Some(on.clock.now().after(SETTLES));
        on.store.note_repair(repair).await?;
        return Ok(());
    }
    if !is_kept(&of.day, on.clock.now()) {
        // There is no bill to compare with any more: the lines themselves say what came of them.
        repaired_by_what_came(on, of, until, repair).await?;
    }
    let lines = on.store.asked_lines(of).await?;
    let here = lines.settled.saturating_add(on.store.count_repaired_lines(of).await?);
    let is_last = repair.tries + 1 >= TRIES;
    let has_stopped = here == repair.settled || is_last;
    repair.settled = here;
    if (lines.waiting == 0 || (here > 0 && has_stopped)) && compare_again(on, of).await? {
        // Counted once: the next result has them.
        repair.settled = 0;
        if lines.waiting == 0 {
            (repair.state, repair.next_at, repair.updated_at) = (RepairState::Done, None, on.clock.now());
            on.store.note_repair(repair).await?;
            return Ok(());
        }
    }
    let before = repair.repaired;
    ask_again(on, of, (merchant, until), repair).await?;
    if repair.repaired == before {
        return postpone(on, repair).await;
    }
    // WeChat answers: the others of them soon.
    (repair.tries, repair.next_at) = (0, Some(on.clock.now().after(SETTLES)));
    repair.updated_at = on.clock.now();
    on.store.note_repair(repair).await?;
    Ok(())
}

/// Lines that WeChat was asked about and whose money is in the books are repaired.
async fn repaired_by_what_came(
    on: Repair<'_>,
    of: &Reconciliation,
    until: &Until<'_>,
    repair: &mut DayRepair,
) -> Result<(), RepairError> {
    let operator = operator(repair);
    while !until.is_over() && on.store.is_repair_under_way(repair).await? {
        let lines = on.store.settled_lines(of, ASKED_AGAIN).await?;
        let mut changed = 0;
        for line in &lines {
            let note = format!("{} (settled)", repair.reason);
            let made = ("reconciliation.repair", Resolution::Repaired);
            let change = change((on.clock, &operator), of, line, made, note);
            changed += i64::from(on.store.change_line(of, &change).await?);
        }
        repair.repaired += changed;
        if changed == 0 {
            break;
        }
    }
    Ok(())
}

/// Asks WeChat again about lines of which it has said nothing conclusive, as many as there is time for: those first
/// that have waited the longest.
async fn ask_again(
    on: Repair<'_>,
    of: &Reconciliation,
    (merchant, until): (&Merchant, &Until<'_>),
    repair: &mut DayRepair,
) -> Result<(), RepairError> {
    let operator = operator(repair);
    let reason = repair.reason.clone();
    let by = By { operator: &operator, merchant, reason: &reason, is_again: true };
    for line in on.store.waiting_lines(of, ASKED_AGAIN).await? {
        if until.is_over() || !on.store.is_repair_under_way(repair).await? {
            break;
        }
        let item = mend(on, of, line).await?;
        if item.mend == Mend::Rerun {
            // Of a refund that is there, WeChat's word is awaited by its own query.
            continue;
        }
        let mended = mend_line(on, &by, of, &item).await?;
        repair.repaired += i64::from(mended.is_repaired());
    }
    Ok(())
}
