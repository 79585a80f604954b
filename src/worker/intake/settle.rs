//! Settling from the intake log: in its order, in groups, each with the cursor in one transaction.
//!
//! What cannot be settled with its group moves to the queue in that transaction, whose consumer handles it as any other
//! message. So nothing holds the log up but a database that takes no writes.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::bus::{Bus, Message};
use crate::event::command::NotifyReceived;
use crate::event::envelope::Envelope;
use crate::intake::{Durable, Log, Reader, Record, keep_aside};
use crate::store::queue::NewRow;
use crate::store::{DbError, IntakeStep};
use crate::worker::core::context::Context;
use crate::worker::core::fact::{Item, LogGroup};
use crate::worker::core::fact_applier::settle_log;
use crate::worker::core::outage::{TRIES, is_outage};
use crate::worker::notification::item_of;

/// Records of one group: an order waits for the writing of no more than so many.
pub(super) const MAX_GROUP: usize = 256;
/// From the beginning of one group to that of the next: under load groups grow.
const PACE: Duration = Duration::from_millis(10);
/// Records that are verified in one go: the thread has other work, too.
const AT_ONCE: usize = 16;
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
    let log = Arc::clone(reader.log());
    unless_late(&log, settle_all(&ctx, &bus, &mut reader), (stop, grace)).await
}

/// Has work on a log go on so long after `stop`.
pub(super) async fn unless_late(
    log: &Log,
    work: impl Future<Output = Result<(), String>>,
    (stop, grace): (CancellationToken, Duration),
) -> Result<(), String> {
    let deadline = async {
        stop.cancelled().await;
        tokio::time::sleep(grace).await;
    };
    let outcome = tokio::select! {
        outcome = work => Some(outcome),
        () = deadline => None,
    };
    let left = log.state().unsettled_bytes;
    match outcome {
        Some(outcome) => outcome,
        None if left == 0 => Ok(()),
        None => Err(format!(
            "{left} bytes of notifications in {} are not settled: keep the folder, the next start goes on with it",
            log.folder().display()
        )),
    }
}

/// Records that are settled together, and what they come to.
struct Group {
    records: Arc<Vec<Durable>>,
    /// None where that has to be found out anew.
    prepared: Option<Prepared>,
}

/// What is written for a group.
struct Prepared {
    items: Vec<Item>,
    /// Which record each item is from.
    places: Vec<usize>,
    /// What is no item moves to the queue.
    moved: Vec<NewRow>,
}

/// What settling works with.
struct Settler<'a> {
    ctx: &'a Context,
    bus: &'a Bus,
    log: Arc<Log>,
}

async fn settle_all(ctx: &Context, bus: &Bus, reader: &mut Reader) -> Result<(), String> {
    let settler = Settler { ctx, bus, log: Arc::clone(reader.log()) };
    let log = &settler.log;
    let folder = log.parent().to_string_lossy().into_owned();
    while let Err(e) = ctx.store.open_intake_log(log.name(), &folder).await {
        tracing::error!(error = %e, "the intake log has no cursor yet");
        tokio::time::sleep(AFTER_ERROR).await;
    }
    let (mut group, mut next_at) = (None, Instant::now());
    loop {
        // While one group is written, the next one is verified.
        let ((), next) = tokio::try_join!(settler.settle(group.take()), settler.next(reader, &mut next_at))?;
        group = next;
        if group.is_none() {
            break;
        }
    }
    if !log.is_closed() {
        return Err(format!("the thread that writes {} has died", log.folder().display()));
    }
    if let Err(e) = end(ctx, log).await {
        tracing::warn!(error = e, "a settled intake log stays");
    }
    Ok(())
}

/// The files go before the cursor: without it they would be settled anew.
async fn end(ctx: &Context, log: &Log) -> Result<(), String> {
    ctx.store.end_intake_log(log.name()).await.map_err(|e| e.to_string())?;
    log.remove().map_err(|e| e.to_string())?;
    ctx.store.close_intake_log(log.name()).await.map_err(|e| e.to_string())
}

impl Settler<'_> {
    /// The next group; none at the end of the log.
    async fn next(&self, reader: &mut Reader, next_at: &mut Instant) -> Result<Option<Group>, String> {
        tokio::time::sleep_until(*next_at).await;
        let records = reader.take(MAX_GROUP).await;
        *next_at = if records.len() < MAX_GROUP { Instant::now() + PACE } else { Instant::now() };
        if records.is_empty() {
            return Ok(None);
        }
        let records = Arc::new(records);
        let prepared = self.prepare(&records, false).await;
        let prepared = prepared.inspect_err(|e| tracing::error!(error = %e, "the intake log cannot be settled")).ok();
        Ok(Some(Group { records, prepared }))
    }

    /// Settles a group, however long the database takes no writes. An error where the cursor is no longer this
    /// reader's.
    async fn settle(&self, group: Option<Group>) -> Result<(), String> {
        let Some(Group { records, mut prepared }) = group else { return Ok(()) };
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return Ok(()) };
        let [from, to] = [first.from, last.to].map(|position| i64::try_from(position).unwrap_or(i64::MAX));
        let step = IntakeStep { log: self.log.name().to_owned(), from, to, moved: Vec::new() };
        let mut tries = 0;
        loop {
            // What is refused each time while the database takes other writes is for the queue to take apart.
            let only_moves = tries >= TRIES && !is_outage(&self.ctx.store).await;
            let known = prepared.take().filter(|_| !only_moves);
            match self.write(&records, known, (&step, only_moves)).await {
                Ok(()) => break,
                Err(e) => {
                    tracing::error!(error = %e, records = records.len(), "records of the intake log are not settled");
                }
            }
            tries += 1;
            if self.is_past(from, to).await? {
                break;
            }
            tokio::time::sleep(AFTER_ERROR).await;
        }
        self.log.settled_up_to(last.to);
        Ok(())
    }

    /// Whether the commit succeeded although it reported an error.
    async fn is_past(&self, from: i64, to: i64) -> Result<bool, String> {
        let Ok(known) = self.ctx.store.intake_logs().await else { return Ok(false) };
        match known.iter().find(|known| known.log == self.log.name()).map(|known| known.position) {
            Some(position) if position == to => Ok(true),
            Some(position) if position == from => Ok(false),
            // Another database, or an older one, is in this one's place: what it lacks, the next start reads.
            elsewhere => {
                let folder = self.log.folder().display();
                Err(format!("the database's cursor of {folder} is at {elsewhere:?}, not at {from}"))
            }
        }
    }

    async fn write(
        &self,
        records: &Arc<Vec<Durable>>,
        prepared: Option<Prepared>,
        (step, only_moves): (&IntakeStep, bool),
    ) -> Result<(), DbError> {
        let Prepared { items, places, moved } = match prepared {
            Some(prepared) => prepared,
            None => self.prepare(records, only_moves).await?,
        };
        let row_of = {
            let (bus, records) = (self.bus.clone(), Arc::clone(records));
            move |item: usize| {
                let durable = places.get(item).and_then(|place| records.get(*place));
                let durable = durable.ok_or_else(|| DbError::Defect("an item of no record".into()))?;
                queue_row(&bus, &durable.record).map_err(DbError::Defect)
            }
        };
        let group = LogGroup { step: IntakeStep { moved, ..step.clone() }, row_of: Box::new(row_of) };
        let tools = (&self.ctx.store, &self.ctx.clock, &self.ctx.wechat);
        match settle_log(tools, items, group).await {
            // One of them cannot be written, or contradicts its order: the queue's consumer finds out which.
            Err(DbError::Defect(_) | DbError::Exists(_)) => {
                let moved = self.prepare(records, true).await?.moved;
                self.ctx.store.advance_intake(IntakeStep { moved, ..step.clone() }).await?;
                crate::failpoint::point("intake.queued");
                Ok(())
            }
            outcome => outcome,
        }
    }

    async fn prepare(&self, records: &[Durable], only_moves: bool) -> Result<Prepared, DbError> {
        let ctx = self.ctx.for_delivery();
        let mut prepared = Prepared { items: Vec::with_capacity(records.len()), places: Vec::new(), moved: Vec::new() };
        for (place, durable) in records.iter().enumerate() {
            if place > 0 && place.is_multiple_of(AT_ONCE) {
                tokio::task::yield_now().await;
            }
            let record = &durable.record;
            let event = if only_moves { None } else { event_of(record).ok() };
            if let Some(item) = event.and_then(|event| item_of(&ctx, &record.subject, &event)) {
                prepared.items.push(item);
                prepared.places.push(place);
            } else {
                prepared.moved.extend(self.row_or_kept(durable)?);
            }
        }
        Ok(prepared)
    }

    /// One that no handler takes holds up no other: its bytes are kept.
    fn row_or_kept(&self, durable: &Durable) -> Result<Option<NewRow>, DbError> {
        let error = match queue_row(self.bus, &durable.record) {
            Ok(row) => return Ok(Some(row)),
            Err(e) => e,
        };
        let kept = keep_aside(self.log.parent(), self.log.name(), durable.from, &durable.record.to_bytes());
        let kept = kept.map_err(|e| DbError::Defect(e.to_string()))?;
        tracing::error!(error, ?kept, "a record of the intake log is no message: its bytes are kept");
        Ok(None)
    }
}

fn event_of(record: &Record) -> Result<Envelope<NotifyReceived>, String> {
    Envelope::from_stored(record.id, &record.payload).map_err(|e| e.to_string())
}

/// The message of the queue that a record would have been.
pub(super) fn message_of(record: &Record) -> Result<Message, String> {
    let payload = event_of(record)?.to_json().map_err(|e| e.to_string())?.into_bytes();
    Ok(Message { subject: record.subject.clone(), id: record.id, payload, headers: Vec::new() })
}

/// The row of the embedded queue that it would have been.
pub(super) fn queue_row(bus: &Bus, record: &Record) -> Result<NewRow, String> {
    bus.queue_row(message_of(record)?).map_err(|e| e.to_string())
}
