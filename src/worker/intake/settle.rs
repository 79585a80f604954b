//! Settling from the intake log: in its order, in groups, each with the cursor in one transaction.
//!
//! What cannot be settled with its group moves to the queue in that transaction, whose consumer handles it as any other
//! message. So nothing holds the log up but a database that takes no writes.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::bus::{Bus, Delivery, Message};
use crate::intake::{Durable, Reader, Record, keep_aside};
use crate::store::{DbError, IntakeStep};
use crate::worker::core::context::Context;
use crate::worker::core::fact::LogGroup;
use crate::worker::core::fact_applier::settle_log;
use crate::worker::core::outage::{TRIES, is_outage};
use crate::worker::notification::item_of;

/// Records of one group: what arrives meanwhile waits for no more than so many.
pub(super) const MAX_GROUP: usize = 128;
/// From the beginning of one group to that of the next: under load groups grow.
const PACE: Duration = Duration::from_millis(10);
/// After an error of the database.
const AFTER_ERROR: Duration = Duration::from_millis(200);

/// Settles what this process accepts, until its log is closed and settled. It goes on so long after `stop`; then it is
/// an error that something is left.
pub async fn run(
    ctx: Context,
    bus: Bus,
    mut reader: Reader,
    (stop, grace): (CancellationToken, Duration),
) -> Result<(), String> {
    let deadline = async {
        stop.cancelled().await;
        tokio::time::sleep(grace).await;
    };
    let outcome = tokio::select! {
        outcome = settle_all(&ctx, &bus, &mut reader) => Some(outcome),
        () = deadline => None,
    };
    let left = reader.state().unsettled_bytes;
    match outcome {
        Some(outcome) => outcome,
        None if left == 0 => Ok(()),
        None => Err(format!(
            "{left} bytes of notifications in {} are not settled: keep the folder, the next start goes on with it",
            reader.folder().display()
        )),
    }
}

async fn settle_all(ctx: &Context, bus: &Bus, reader: &mut Reader) -> Result<(), String> {
    let folder = reader.parent().to_string_lossy().into_owned();
    while let Err(e) = ctx.store.open_intake_log(reader.name(), &folder).await {
        tracing::error!(error = %e, "the intake log has no cursor yet");
        tokio::time::sleep(AFTER_ERROR).await;
    }
    let mut next_group = Instant::now();
    loop {
        tokio::time::sleep_until(next_group).await;
        let group = reader.take(MAX_GROUP).await;
        next_group = if group.len() < MAX_GROUP { Instant::now() + PACE } else { Instant::now() };
        let Some(to) = group.last().map(|last| last.to) else { break };
        settle(ctx, bus, reader, group).await?;
        reader.settled_up_to(to);
    }
    if !reader.is_closed() {
        return Err(format!("the thread that writes {} has died", reader.folder().display()));
    }
    if let Err(e) = end(ctx, reader).await {
        tracing::warn!(error = e, "a settled intake log stays");
    }
    Ok(())
}

/// The files go before the cursor: without it they would be settled anew.
async fn end(ctx: &Context, reader: &Reader) -> Result<(), String> {
    ctx.store.end_intake_log(reader.name()).await.map_err(|e| e.to_string())?;
    reader.remove().map_err(|e| e.to_string())?;
    ctx.store.close_intake_log(reader.name()).await.map_err(|e| e.to_string())
}

/// Settles a group, however long the database takes no writes. An error where the cursor is no longer this reader's.
async fn settle(ctx: &Context, bus: &Bus, reader: &Reader, group: Vec<Durable>) -> Result<(), String> {
    let (Some(first), Some(last)) = (group.first(), group.last()) else { return Ok(()) };
    let [from, to] = [first.from, last.to].map(|position| i64::try_from(position).unwrap_or(i64::MAX));
    let mut tries = 0;
    loop {
        // What is refused each time while the database takes other writes is for the queue to take apart.
        let only_moves = tries >= TRIES && !is_outage(&ctx.store).await;
        let step = IntakeStep { log: reader.name().to_owned(), from, to, moved: Vec::new() };
        match settle_once(ctx, bus, step, (reader, &group, only_moves)).await {
            Ok(()) => return Ok(()),
            Err(e) => tracing::error!(error = %e, records = group.len(), "records of the intake log are not settled"),
        }
        tries += 1;
        if let Ok(known) = ctx.store.intake_logs().await {
            match known.iter().find(|known| known.log == reader.name()).map(|known| known.position) {
                // The commit succeeded although it reported an error.
                Some(position) if position == to => return Ok(()),
                Some(position) if position == from => {}
                // Another database, or an older one, is in this one's place: what it lacks, the next start reads.
                elsewhere => {
                    let folder = reader.folder().display();
                    return Err(format!("the database's cursor of {folder} is at {elsewhere:?}, not at {from}"));
                }
            }
        }
        tokio::time::sleep(AFTER_ERROR).await;
    }
}

async fn settle_once(
    ctx: &Context,
    bus: &Bus,
    step: IntakeStep,
    (reader, group, only_moves): (&Reader, &[Durable], bool),
) -> Result<(), DbError> {
    let ctx = ctx.for_delivery();
    let (mut items, mut rows) = (Vec::with_capacity(group.len()), Vec::with_capacity(group.len()));
    for durable in group {
        let delivery = delivery(&durable.record);
        let item = if only_moves { None } else { item_of(&ctx, &delivery) };
        match bus.queue_row(delivery.message) {
            Ok(row) => {
                let place = item.is_some().then_some(items.len());
                items.extend(item);
                rows.push((row, place));
            }
            // One that no handler takes holds up no other.
            Err(e) => {
                let kept = keep_aside(reader.parent(), reader.name(), durable.from, &durable.record.to_bytes());
                let kept = kept.map_err(|e| DbError::Defect(e.to_string()))?;
                tracing::error!(error = %e, ?kept, "a record of the intake log is no message: its bytes are kept");
            }
        }
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

pub(super) fn delivery(record: &Record) -> Delivery {
    let Record { subject, id, accepted_at, payload } = record.clone();
    let message = Message { subject, id, payload, headers: Vec::new() };
    Delivery { message, attempt: 1, published_at: accepted_at, ending: None }
}
