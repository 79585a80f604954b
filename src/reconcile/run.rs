//! A day's run, from the bill to the result.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::elsewhere::{Elsewhere, awaited_until};
use super::error::RunError;
use super::fetch::{Bills, Fetch, Funds, Trades};
use super::folder::Folder;
use super::news;
use super::timetable::{next_funds_try, next_try};
use super::work::{Work, Worked, send_booked, send_ours};
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, Merchant};
use crate::reconciliation::{DayState, Figures, LineClass, Loops, Rules, TradesLoop, day_state};
use crate::store::{DayRange, DueDay, FailedRun, Fenced, FinishedRun, Lease, RunKey, Store};
use crate::wechat::transport::Client;
use crate::wechat::v2::bill::{Ask, BillDay, Expected, FundAccount, TradeBillType};

/// Parts that wait between the threads.
const WAITING: usize = 2;
/// When a day is due again whose run ended without any result: its process died or lost the lease, or the database
/// failed. A run that takes longer is not disturbed: the holder of the lease makes one after another, and the writes of
/// others are fenced.
const RETRY_LOST: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// What arrives during a run may leave a remainder: it is run again at once, so many times.
const AGAIN: u32 = 1;

/// What a run works with.
#[derive(Clone, Copy)]
pub struct Reconciler<'a> {
    pub config: &'a Config,
    pub store: &'a Store,
    pub wechat: &'a Client,
    pub clock: &'a Clock,
    pub lease: &'a Lease,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ran {
    /// The day has a new result.
    Done(DayState),
    /// It has not; the one before stays.
    Failed(String),
}

/// Runs a day that is due.
pub async fn reconcile(on: Reconciler<'_>, due: &DueDay) -> Result<Ran, RunError> {
    let now = on.clock.now();
    let run = fenced(on.store.begin_reconciliation(on.lease, due, (now, now.after(RETRY_LOST))).await?)?;
    match day(on, due, run).await {
        Ok(state) => Ok(Ran::Done(state)),
        Err(e @ (RunError::Overtaken | RunError::Store(_))) => Err(e),
        Err(e) => {
            let next_at = BillDay::parse(&due.day).ok().and_then(|day| next_try(day, on.clock.now()));
            let (merchant, day) = (due.merchant.clone(), due.day.clone());
            let before = on.store.reconciliation(&merchant, &day).await?.and_then(|day| day.error);
            let error = e.to_string();
            // That a bill is not made yet is no failure.
            let is_new = !e.is_early() && before.as_deref() != Some(error.as_str());
            let event = is_new.then(|| news::failed(due, &error, next_at, on.clock.now()));
            let failed = FailedRun { merchant, day, error, next_at, event };
            fenced(on.store.fail_reconciliation(on.lease, &failed).await?)?;
            tracing::warn!(merchant = %due.merchant, day = %due.day, error = %e, "a day could not be reconciled");
            Ok(Ran::Failed(failed.error))
        }
    }
}

fn fenced<T>(done: Fenced<T>) -> Result<T, RunError> {
    match done {
        Fenced::Done(value) => Ok(value),
        Fenced::Lost => Err(RunError::Overtaken),
    }
}

async fn day(on: Reconciler<'_>, due: &DueDay, first: i64) -> Result<DayState, RunError> {
    let unknown = || RunError::UnknownMerchant(due.merchant.to_string());
    let merchant = on.config.merchant(due.merchant.as_str()).ok_or_else(unknown)?;
    let day = BillDay::parse(&due.day).map_err(|_| RunError::Day(due.day.clone()))?;
    let now = on.clock.now();
    if now < day.ready_at() {
        return Err(RunError::TooEarly { day: due.day.clone(), ready_at: day.ready_at().to_string() });
    }
    let settings = &on.config.reconcile;
    let sorting = settings.sorting_dir(&on.config.store);
    let folder = Folder::create(&sorting).map_err(|e| RunError::of_folder(&sorting, &e))?;
    let folder = Arc::new(folder);
    let kept = settings.bills_dir(&on.config.store);
    let files: &Path = if settings.keep.is_zero() { folder.path() } else { kept.as_path() };
    if !settings.keep.is_zero() {
        keep(files, settings.keep).map_err(|e| RunError::of_folder(files, &e))?;
    }
    let fetch = Fetch { config: on.config, store: on.store, wechat: on.wechat, merchant, day, folder: files, now };
    let mut bills = Bills { trades: None, hash: None, funds: Funds::None, before: None };
    if let Trades::File(file) = fetch.trades().await? {
        (bills.trades, bills.hash, bills.funds) = (Some(file.file), Some(file.sha256), fetch.funds().await);
    }
    if matches!(bills.funds, Funds::Missing { .. }) {
        let before = on.store.reconciliation(&due.merchant, &due.day).await?;
        bills.before = before.filter(|day| day.loops.funds.is_some() && day.bill_hash == bills.hash);
    }
    let mut run = RunKey { merchant: due.merchant.clone(), day: due.day.clone(), run: first };
    let mut tries = 0;
    loop {
        let compared = once(on, merchant, (day, &run), &bills, &folder).await?;
        if compared.figures.remainder() == 0 || tries == AGAIN {
            return finish(on, day, run, bills, compared).await;
        }
        tries += 1;
        let now = on.clock.now();
        run.run = fenced(on.store.begin_reconciliation(on.lease, due, (now, now.after(RETRY_LOST))).await?)?;
    }
}

/// Makes the folder of kept bills, and removes those that are too old.
fn keep(folder: &Path, age: Duration) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    for entry in std::fs::read_dir(folder)?.flatten() {
        let is_bill = entry.file_name().to_str().is_some_and(|name| name.ends_with(".csv"));
        let is = entry.metadata().and_then(|data| data.modified()).ok().and_then(|at| at.elapsed().ok());
        if is_bill && is.is_some_and(|is| is > age) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// What both sides came to.
struct Compared {
    figures: Figures,
    loops: Loops,
    awaits: bool,
    pends: bool,
}

/// Compares both sides and writes the lines, which do not count yet.
async fn once(
    on: Reconciler<'_>,
    merchant: &Merchant,
    (day, run): (BillDay, &RunKey),
    bills: &Bills,
    folder: &Arc<Folder>,
) -> Result<Compared, RunError> {
    let now = on.clock.now();
    let foreign = on.config.reconcile.foreign.iter().chain(&merchant.foreign).cloned().collect();
    let rules = Rules { foreign, now_ms: now.as_ms() };
    let range = DayRange { merchant: run.merchant.clone(), from: day.begins_at(), to: day.ends_at() };
    let ((items, rows), (fees, booked)) = (mpsc::channel(WAITING), mpsc::channel(WAITING));
    let (found, mut pairs) = mpsc::channel(WAITING);
    let funds = match &bills.funds {
        Funds::File(file) => Some((file.clone(), Expected::new(merchant, Ask::fund_flow(day, FundAccount::Basic)))),
        Funds::None | Funds::Missing { .. } => None,
    };
    let work = Work {
        folder: Arc::clone(folder),
        buffer: on.config.reconcile.buffer_bytes,
        trades: bills.trades.clone().map(|file| (file, Expected::new(merchant, Ask::trades(day, TradeBillType::All)))),
        funds,
        rules: rules.clone(),
    };
    let working: JoinHandle<Result<Worked, RunError>> =
        tokio::task::spawn_blocking(move || work.run(rows, booked, found));
    send_ours(on.store, &range, items).await?;
    send_booked(on.store, bills.before.as_ref(), fees).await?;
    let mut elsewhere = Elsewhere {
        store: on.store,
        merchant: &run.merchant,
        day,
        rules: &rules,
        now,
        matched: 0,
        awaits: false,
        pends: false,
    };
    let mut figures = Figures::default();
    while let Some(part) = pairs.recv().await {
        let lines = elsewhere.lines(part).await?;
        lines.iter().for_each(|line| figures.explain(line));
        fenced(on.store.add_lines(on.lease, run, lines).await?)?;
    }
    let Worked { summary, bill, account } = working.await.map_err(|_| RunError::Ended)??;
    bill.into_iter().for_each(|(currency, sums)| figures.of(&currency).bill = sums);
    figures.count(LineClass::Matched, summary.matched.saturating_add(elsewhere.matched));
    for (currency, sums) in on.store.day_sums(&range).await? {
        figures.of(&currency).ledger = sums;
    }
    // The account is in yuan.
    let funds = account.map(|account| account.against(&figures.yuan.bill));
    let kept = || bills.before.as_ref().and_then(|day| day.loops.funds.clone());
    let loops = Loops {
        trades: TradesLoop::default(),
        funds: funds.or_else(kept),
        funds_error: bills.funds_error().map(str::to_owned),
    };
    Ok(Compared { figures, loops, awaits: elsewhere.awaits, pends: elsewhere.pends })
}

/// Makes the run the day's result, with the events about what is new in it.
async fn finish(
    on: Reconciler<'_>,
    day: BillDay,
    key: RunKey,
    bills: Bills,
    compared: Compared,
) -> Result<DayState, RunError> {
    let Compared { mut figures, mut loops, awaits, pends } = compared;
    let before = on.store.reconciliation(&key.merchant, &key.day).await?;
    let replaces = before.as_ref().map_or(0, |before| before.run);
    figures.open_lines = fenced(on.store.keep_notes(on.lease, &key, replaces).await?)?;
    let state = day_state(figures.differences, figures.open_lines, figures.remainder());
    loops.trades.holds = figures.open_lines == 0 && figures.remainder() == 0;
    let now = on.clock.now();
    let fresh = on.store.new_lines(&key, replaces, news::MISMATCHES_MAX).await?;
    let lines = on.store.lines_of_run(&key, &fresh).await?;
    let finished = FinishedRun {
        events: news::events(&key, (&figures, &loops, state), before.as_ref(), &lines, now),
        recheck_at: recheck(day, now, (awaits, pends, bills.is_funds_late())),
        key,
        figures,
        loops,
        bill_hash: bills.hash,
        replaces,
        next_at: None,
        at: now,
    };
    fenced(on.store.finish_reconciliation(on.lease, &finished).await?)?;
    let key = &finished.key;
    while on.store.sweep_lines(&key.merchant, &key.day).await? > 0 {}
    Ok(state)
}

/// When a line may have changed by itself, or the account's bill may be there.
fn recheck(day: BillDay, now: Timestamp, (awaits, pends, is_late): (bool, bool, bool)) -> Option<Timestamp> {
    let awaited = awaits.then(|| awaited_until(day));
    let pending = pends.then(|| now.after(DAY));
    let funds = if is_late { next_funds_try(day, now) } else { None };
    [awaited, pending, funds].into_iter().flatten().min()
}
