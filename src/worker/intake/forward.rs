//! The spool: an intake log before a queue on NATS. What this process accepted is forwarded in the log's order, many
//! messages at once, which the bus puts together.
//!
//! What must stay true: the cursor, a file of the log, passes a record only once the server has acknowledged it, and
//! nothing is forwarded to servers that are known to lose what they acknowledge; a record that is forwarded twice has
//! the same id, and changes nothing the second time. Nothing of it needs the database, and no cursor that cannot be
//! written holds it up: then more is forwarded twice.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::batch::{Batch, MAX_FORWARDED};
use super::blocking::blocking;
use super::moving::LOCKED_FOR;
use super::settle::unless_late;
use crate::bus::Bus;
use crate::intake::{Durable, Log, Reader, write_cursor};
use crate::worker::core::context::Context;

/// The cursor is behind by no more than what this time brings: a file and its name are brought to the disk for it.
const CURSOR_EVERY: Duration = Duration::from_millis(50);
/// After an error of the bus or of the disk: at first, growing.
const AFTER_ERROR: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Forwards what this process accepts, until its log is closed and all of it is forwarded. It goes on so long after
/// `stop`; then it is an error that something is left.
pub async fn forward(
    ctx: Context,
    bus: Bus,
    mut reader: Reader,
    (stop, grace): (CancellationToken, Duration),
) -> Result<(), String> {
    let log = Arc::clone(reader.log());
    unless_late(&log, forward_all(&ctx, &bus, &mut reader), (stop, grace)).await
}

async fn forward_all(ctx: &Context, bus: &Bus, reader: &mut Reader) -> Result<(), String> {
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
                until_stored(ctx, bus, (log.parent(), log.name()), records).await;
                crate::failpoint::point("spool.forwarded");
                cursor.moves(to).await;
            }
        }
    }
    if !log.is_closed() {
        return Err(format!("the thread that writes {} has died", log.folder().display()));
    }
    // All is forwarded: without a cursor the files go all the same.
    if cursor.to > cursor.kept {
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

    /// Keeps it, and makes room in the log. Where the disk does not take it room is made all the same: the files that
    /// go then may be what the disk lacks.
    async fn keep(&mut self) {
        let (folder, to) = (self.log.folder().to_owned(), self.to);
        match blocking(move || write_cursor(&folder, to)).await {
            Ok(()) => {
                crate::failpoint::point("spool.kept");
                (self.kept, self.due) = (to, None);
            }
            Err(e) => {
                tracing::warn!(error = e, "the cursor of the intake log cannot be written: forwarding goes on");
                self.due = Some(Instant::now() + AFTER_ERROR.1);
            }
        }
        self.log.settled_up_to(to);
    }
}

/// Returns once the bus has all of them, however long it is away.
async fn until_stored(ctx: &Context, bus: &Bus, place: (&Path, &str), records: Vec<Durable>) {
    let mut batch = Batch::new(records);
    let mut pause = AFTER_ERROR.0;
    while let Err(why) = batch.forward(bus, place).await {
        let records = batch.len();
        tracing::warn!(error = why, records, "records of the intake log are not forwarded yet");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(AFTER_ERROR.1);
    }
    if batch.has_kept() {
        // Beside the work, which must not wait for the database.
        let ctx = ctx.clone();
        tokio::spawn(async move {
            while let Err(e) = ctx.store.ask_about_all_open(ctx.clock.now()).await {
                tracing::error!(error = %e, "WeChat is not asked yet about what a record that was kept aside said");
                tokio::time::sleep(if e.is_of_one_statement() { LOCKED_FOR } else { AFTER_ERROR.1 }).await;
            }
        });
    }
}
