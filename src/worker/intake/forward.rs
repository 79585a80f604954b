//! The spool: an intake log before a queue on NATS. What this process accepted is forwarded in the log's order, many
//! messages at once, which the bus puts together.
//!
//! What must stay true: the cursor, a file of the log, passes a record only once the server has acknowledged it; a
//! record that is forwarded twice has the same id, and changes nothing the second time. Nothing of it needs the
//! database.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::blocking::blocking;
use super::settle::{message_of, unless_late};
use crate::bus::{Bus, PublishError};
use crate::intake::{Durable, Log, Reader, keep_aside, write_cursor};

/// Records that are forwarded together: several bundles of the bus.
pub(super) const MAX_FORWARDED: usize = 1024;
/// The cursor is behind by no more than what this time brings: a file and its name are brought to the disk for it.
const CURSOR_EVERY: Duration = Duration::from_millis(50);
/// After an error of the bus or of the disk: at first, growing.
const AFTER_ERROR: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Forwards what this process accepts, until its log is closed and all of it is forwarded. It goes on so long after
/// `stop`; then it is an error that something is left.
pub async fn forward(bus: Bus, mut reader: Reader, (stop, grace): (CancellationToken, Duration)) -> Result<(), String> {
    let log = Arc::clone(reader.log());
    unless_late(&log, forward_all(&bus, &mut reader), (stop, grace)).await
}

async fn forward_all(bus: &Bus, reader: &mut Reader) -> Result<(), String> {
    let log = Arc::clone(reader.log());
    let mut cursor = Cursor { log: &log, kept: 0, to: 0, due: None };
    loop {
        let records = match cursor.due {
            // Nothing is lost of what is waited for: it stays with the reader.
            Some(due) => tokio::time::timeout_at(due, reader.take(MAX_FORWARDED)).await.ok(),
            None => Some(reader.take(MAX_FORWARDED).await),
        };
        match records {
            None => cursor.keep().await,
            Some(records) => {
                let Some(last) = records.last() else { break };
                let to = last.to;
                until_stored(bus, &log, records).await;
                crate::failpoint::point("spool.forwarded");
                cursor.moves(to).await;
            }
        }
    }
    if !log.is_closed() {
        return Err(format!("the thread that writes {} has died", log.folder().display()));
    }
    while cursor.to > cursor.kept {
        cursor.keep().await;
    }
    if let Err(e) = log.remove() {
        tracing::warn!(error = %e, "a forwarded intake log stays");
    }
    Ok(())
}

/// How far a log is forwarded, and how much of that is on the disk.
struct Cursor<'a> {
    log: &'a Log,
    kept: u64,
    to: u64,
    /// When it is to be kept; none where it is.
    due: Option<Instant>,
}

impl Cursor<'_> {
    async fn moves(&mut self, to: u64) {
        self.to = to;
        let due = *self.due.get_or_insert_with(|| Instant::now() + CURSOR_EVERY);
        if due <= Instant::now() {
            self.keep().await;
        }
    }

    /// Keeps it. Room is made in the log only after that: what goes is never needed again.
    async fn keep(&mut self) {
        let (folder, to) = (self.log.folder().to_owned(), self.to);
        match blocking(move || write_cursor(&folder, to)).await {
            Ok(()) => {
                crate::failpoint::point("spool.kept");
                self.log.settled_up_to(to);
                (self.kept, self.due) = (to, None);
            }
            Err(e) => {
                tracing::error!(error = e, "the cursor of the intake log cannot be written");
                tokio::time::sleep(AFTER_ERROR.0).await;
                self.due = Some(Instant::now() + AFTER_ERROR.1);
            }
        }
    }
}

/// Returns once the bus has all of them, however long it is away.
async fn until_stored(bus: &Bus, log: &Log, records: Vec<Durable>) {
    let mut left = records;
    let mut pause = AFTER_ERROR.0;
    loop {
        let place = (log.parent(), log.name());
        let outcome = forwarded(bus, place, left).await;
        let Err((why, records)) = outcome else { return };
        tracing::warn!(error = why, records = records.len(), "records of the intake log are not forwarded yet");
        left = records;
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(AFTER_ERROR.1);
    }
}

/// Publishes records in their order. What no stream will ever take is kept aside and holds up no other one; the error
/// has those that are to be published again.
pub(super) async fn forwarded(
    bus: &Bus,
    (parent, log): (&Path, &str),
    records: Vec<Durable>,
) -> Result<(), (String, Vec<Durable>)> {
    let outcomes = join_all(records.iter().map(async |durable| match message_of(&durable.record) {
        Ok(message) => match bus.publish(message).await {
            Ok(()) => Ok(()),
            Err(e @ (PublishError::TooLarge | PublishError::Misdirected(_))) => kept(parent, log, durable, &e).await,
            Err(e @ (PublishError::Unavailable(_) | PublishError::Full | PublishError::Timeout)) => Err(e.to_string()),
        },
        Err(e) => kept(parent, log, durable, &e).await,
    }));
    let (mut why, mut left) = (None, Vec::new());
    for (outcome, durable) in outcomes.await.into_iter().zip(records) {
        if let Err(e) = outcome {
            why.get_or_insert(e);
            left.push(durable);
        }
    }
    why.map_or(Ok(()), |why| Err((why, left)))
}

async fn kept(parent: &Path, log: &str, durable: &Durable, why: &impl std::fmt::Display) -> Result<(), String> {
    let (parent, name) = (parent.to_owned(), log.to_owned());
    let (position, bytes) = (durable.from, durable.record.to_bytes());
    let kept = blocking(move || keep_aside(&parent, &name, position, &bytes)).await?;
    tracing::error!(log, position, error = %why, ?kept, "a record of an intake log is no message: its bytes are kept");
    Ok(())
}
