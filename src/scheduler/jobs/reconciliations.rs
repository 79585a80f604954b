//! Days that are to be reconciled: those that were asked for, the day before, and gaps of the last three months.
//!
//! One day at a time: its run holds the disk and one thread. What is asked for goes first.

use std::collections::BTreeSet;

use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::reconcile::{Ran, Reconciler, RunError, days_to_ask, oldest};
use crate::scheduler::job::{Context, Reading};
use crate::scheduler::outcome::{Done, JobError};
use crate::store::{DbError, Store};

/// Days that one run of the job compares; the next run goes on.
const PER_RUN: u64 = 4;
/// Gaps of a merchant that one run asks for.
const GAPS_PER_RUN: usize = 2;
/// Results of a merchant without sums per currency that one run has compared again.
const MIXED_PER_RUN: u64 = 2;

/// Whether a day is due, or to be asked for.
pub async fn has_due_days(on: Reading) -> Result<bool, JobError> {
    let now = on.clock.now();
    if !on.store.due_reconciliations(now, 1).await?.is_empty()
        || !on.store.rechecks(now, &oldest(now).to_string(), 1).await?.is_empty()
    {
        return Ok(true);
    }
    for merchant in &on.config.merchants {
        if on.config.reconcile.schedule && !days_of(&on.store, &merchant.key, now).await?.is_empty()
            || on.store.has_unnoted_yuan_days(&merchant.key).await?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Asks for what the timetable wants, and compares what is due.
pub async fn reconciliations(ctx: Context) -> Result<Done, JobError> {
    let now = ctx.clock.now();
    if ctx.config.reconcile.schedule {
        ask(&ctx).await?;
    }
    // Of older days WeChat has no bill: their results stay.
    for due in ctx.store.rechecks(now, &oldest(now).to_string(), PER_RUN).await? {
        ctx.store.ask_reconciliation(&due.merchant, &due.day, None, now).await?;
    }
    let on = Reconciler {
        config: &ctx.config,
        store: &ctx.store,
        wechat: &ctx.wechat,
        clock: &ctx.clock,
        lease: &ctx.lease,
    };
    let (mut count, mut said) = (0, Vec::new());
    for due in ctx.store.due_reconciliations(now, PER_RUN).await? {
        // A run that is dropped is as one whose process was killed: the day is due still.
        let Some(ended) = ctx.cancel.run_until_cancelled(crate::reconcile::reconcile(on, &due)).await else {
            said.push(format!("{} {}: stopped with its process", due.merchant, due.day));
            return Ok(Done { count, detail: Some(said.join("; ")) });
        };
        let ended = match ended {
            Ok(Ran::Done(state)) => state.as_str().to_owned(),
            Ok(Ran::Failed(error)) => error,
            Err(RunError::Overtaken) => return Err(JobError::Overtaken),
            Err(RunError::Store(e)) => return Err(e.into()),
            // `reconcile` records every other error with the day.
            Err(e) => e.to_string(),
        };
        count += 1;
        said.push(format!("{} {}: {ended}", due.merchant, due.day));
    }
    for merchant in &ctx.config.merchants {
        // Lists are slower without it, and no less right.
        if let Err(e) = ctx.store.note_yuan_days(&merchant.key).await {
            tracing::warn!(merchant = %merchant.key, error = %e, "results of before are not noted as of yuan alone");
        }
    }
    Ok(Done { count, detail: (!said.is_empty()).then(|| said.join("; ")) })
}

async fn ask(ctx: &Context) -> Result<(), JobError> {
    let now = ctx.clock.now();
    for merchant in &ctx.config.merchants {
        for day in days_of(&ctx.store, &merchant.key, now).await? {
            ctx.store.ask_reconciliation(&merchant.key, &day, None, now).await?;
        }
    }
    Ok(())
}

/// The days of a merchant for which the timetable asks.
async fn days_of(store: &Store, merchant: &MerchantKey, now: Timestamp) -> Result<Vec<String>, DbError> {
    let oldest = oldest(now).to_string();
    let asked: BTreeSet<String> = store.asked_days(merchant, &oldest).await?.into_iter().collect();
    let first = store.first_trade_at(merchant).await?;
    let gaps = days_to_ask(first, &asked, now, GAPS_PER_RUN).into_iter().map(|day| day.to_string());
    let mixed = store.mixed_days(merchant, &oldest, MIXED_PER_RUN).await?.into_iter().map(|due| due.day);
    Ok(gaps.chain(mixed).collect())
}
