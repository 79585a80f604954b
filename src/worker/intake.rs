//! Settling from the intake log: in its order, in groups, each with the cursor in one transaction.
//!
//! What cannot be settled with its group moves to the queue in that transaction, whose consumer handles it as any other
//! message. So nothing holds the log up but a database that takes no writes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::core::context::Context;
use super::core::fact::LogGroup;
use super::core::fact_applier::settle_log;
use super::core::outage::{TRIES, is_outage};
use super::notification::item_of;
use crate::bus::{Bus, Delivery, Message};
use crate::intake::{DeadLog, Durable, Reader, Record, dead_logs};
use crate::store::{DbError, IntakeStep};

/// Records of one group: what arrives meanwhile waits for no more than so many.
const MAX_GROUP: usize = 128;
/// From the beginning of one group to that of the next: under load groups grow.
const PACE: Duration = Duration::from_millis(10);
/// After an error of the database.
const AFTER_ERROR: Duration = Duration::from_millis(200);
/// How often the logs of dead processes are searched for.
const SEARCH_EVERY: Duration = Duration::from_secs(5);

/// Settles what this process accepts, until its log is closed and settled. `stop` gives up on a database that is away.
pub async fn run(ctx: Context, bus: Bus, mut reader: Reader, stop: CancellationToken) {
    while let Err(e) = ctx.store.open_intake_log(reader.name(), 0).await {
        tracing::error!(error = %e, "the intake log has no cursor yet");
        if stop.run_until_cancelled(tokio::time::sleep(AFTER_ERROR)).await.is_none() {
            return;
        }
    }
    let mut next_group = Instant::now();
    loop {
        tokio::time::sleep_until(next_group).await;
        let group = reader.take(MAX_GROUP).await;
        next_group = if group.len() < MAX_GROUP { Instant::now() + PACE } else { Instant::now() };
        let Some(to) = group.last().map(|last| last.to) else { break };
        if !settle(&ctx, &bus, reader.name(), group, &stop).await {
            tracing::warn!("the intake log is not settled to its end; the next start goes on with it");
            return;
        }
        reader.settled_up_to(to);
    }
    let ended = ctx.store.close_intake_log(reader.name()).await.map_err(|e| e.to_string());
    if let Err(e) = ended.and_then(|()| reader.remove().map_err(|e| e.to_string())) {
        tracing::warn!(error = e, "a settled intake log stays");
    }
}

/// Takes over what dead processes left in this folder, now and whenever another one dies.
pub async fn take_over(ctx: Context, bus: Bus, parent: impl AsRef<Path>, stop: CancellationToken) {
    let parent = parent.as_ref();
    report_missing(&ctx, parent).await;
    loop {
        match dead_logs(parent) {
            Ok(found) => {
                for dead in found {
                    if let Err(e) = finish(&ctx, &bus, dead).await {
                        tracing::error!(error = e, "the intake log of a dead process has not moved to the queue yet");
                    }
                }
            }
            Err(e) => tracing::error!(error = %e, "the intake logs cannot be listed"),
        }
        if stop.run_until_cancelled(tokio::time::sleep(SEARCH_EVERY)).await.is_none() {
            return;
        }
    }
}

/// Says which logs the database knows that are not there. A database that was restored on another host, for example;
/// what was in them, the queries to WeChat find.
async fn report_missing(ctx: &Context, parent: &Path) {
    for (log, position) in ctx.store.intake_logs().await.unwrap_or_default() {
        if !parent.join(&log).is_dir() {
            tracing::warn!(log, position, "an intake log that was not settled to its end is missing");
        }
    }
}

/// Moves what a dead process accepted and did not settle to the queue, and removes its log. The queue counts attempts:
/// a record that ended the process must not end every other one.
async fn finish(ctx: &Context, bus: &Bus, dead: DeadLog) -> Result<(), String> {
    crate::failpoint::point("intake.taken_over");
    let known = ctx.store.intake_logs().await.map_err(|e| e.to_string())?;
    let cursor = match known.iter().find(|(log, _)| *log == dead.name) {
        Some((_, position)) => u64::try_from(*position).unwrap_or(0),
        // The database is older than the log: all of it is read, and what was settled changes nothing.
        None => {
            ctx.store.open_intake_log(&dead.name, 0).await.map_err(|e| e.to_string())?;
            0
        }
    };
    let (records, damage) = dead.read(cursor).map_err(|e| e.to_string())?;
    for one in &damage {
        let kept = dead.keep(one).map_err(|e| e.to_string())?;
        let (position, bytes, is_end) = (one.position, one.bytes.len(), one.is_end);
        tracing::error!(log = dead.name, position, bytes, is_end, ?kept, "Damage in an intake log: the bytes are kept");
    }
    tracing::info!(log = dead.name, records = records.len(), "the intake log of a dead process moves to the queue");
    let mut at = cursor;
    for group in records.chunks(MAX_GROUP) {
        let to = group.last().map_or(at, |last| last.to);
        let moved = group.iter().map(|one| bus.queue_row(delivery(&one.record).message)).collect::<Result<_, _>>();
        // The cursor passes what lies between the records, too.
        let [from, until] = [at, to].map(|position| i64::try_from(position).unwrap_or(i64::MAX));
        let moved = moved.map_err(|e| e.to_string())?;
        let step = IntakeStep { log: dead.name.clone(), from, to: until, moved };
        ctx.store.advance_intake(step).await.map_err(|e| e.to_string())?;
        crate::failpoint::point("intake.moved");
        at = to;
    }
    ctx.store.close_intake_log(&dead.name).await.map_err(|e| e.to_string())?;
    dead.remove().map_err(|e| e.to_string())
}

/// Settles a group, however long the database takes no writes; false where the service stops first.
async fn settle(ctx: &Context, bus: &Bus, log: &str, group: Vec<Durable>, stop: &CancellationToken) -> bool {
    let (Some(first), Some(last)) = (group.first(), group.last()) else { return true };
    let [from, to] = [first.from, last.to].map(|position| i64::try_from(position).unwrap_or(i64::MAX));
    let mut tries = 0;
    loop {
        // What is refused each time while the database takes other writes is for the queue to take apart.
        let only_moves = tries >= TRIES && !is_outage(&ctx.store).await;
        let step = IntakeStep { log: log.to_owned(), from, to, moved: Vec::new() };
        match settle_once(ctx, bus, step, (&group, only_moves)).await {
            Ok(()) => return true,
            Err(e) => tracing::error!(error = %e, records = group.len(), "records of the intake log are not settled"),
        }
        tries += 1;
        if let Ok(known) = ctx.store.intake_logs().await {
            match known.iter().find(|(known, _)| known == log) {
                // The commit succeeded although it reported an error.
                Some((_, position)) if *position >= to => return true,
                Some(_) => {}
                // The database lost it.
                None => _ = ctx.store.open_intake_log(log, from).await,
            }
        }
        if stop.run_until_cancelled(tokio::time::sleep(AFTER_ERROR)).await.is_none() {
            return false;
        }
    }
}

async fn settle_once(
    ctx: &Context,
    bus: &Bus,
    step: IntakeStep,
    (group, only_moves): (&[Durable], bool),
) -> Result<(), DbError> {
    let ctx = ctx.for_delivery();
    let (mut items, mut rows) = (Vec::with_capacity(group.len()), Vec::with_capacity(group.len()));
    for Durable { record, .. } in group {
        let delivery = delivery(record);
        let item = if only_moves { None } else { item_of(&ctx, &delivery) };
        let place = item.is_some().then_some(items.len());
        items.extend(item);
        let row = bus.queue_row(delivery.message).map_err(|e| DbError::Defect(e.to_string()))?;
        rows.push((row, place));
    }
    let rows = Arc::new(rows);
    let tools = (&ctx.store, &ctx.clock, &ctx.wechat);
    match settle_log(tools, items, LogGroup { step: step.clone(), rows: Arc::clone(&rows) }).await {
        // One of them cannot be written: the queue's consumer finds out which.
        Err(DbError::Defect(_) | DbError::Exists(_)) => {
            let moved = rows.iter().map(|(row, _)| row.clone()).collect();
            ctx.store.advance_intake(IntakeStep { moved, ..step }).await
        }
        outcome => outcome,
    }
}

fn delivery(record: &Record) -> Delivery {
    let Record { subject, id, accepted_at, payload } = record.clone();
    let message = Message { subject, id, payload, headers: Vec::new() };
    Delivery { message, attempt: 1, published_at: accepted_at, ending: None }
}
