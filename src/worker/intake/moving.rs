//! Moving a dead process's log to the queue, file by file, with its cursor: rows of the database in one transaction, or
//! messages on NATS and then the file of the cursor.
//!
//! What must stay true: the cursor stops before what could not be read, and a log goes only when nothing of it is left;
//! what lies behind such a place moves to the queue all the same. What is lost is said, and the cursor passes it once
//! WeChat is asked about everything that is open. What goes to NATS does not wait for that: it needs no database.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::batch::{Batch, MAX_FORWARDED};
use super::blocking::blocking;
use super::settle::{MAX_GROUP, queue_row};
use crate::bus::Bus;
use crate::intake::{DeadLog, Durable, Part, Piece, read_cursor, write_cursor};
use crate::store::queue::NewRow;
use crate::store::{DbError, IntakeStep};
use crate::worker::core::context::Context;

/// How long it takes until WeChat is asked again where orders were locked: each time sets those due again that were
/// asked about meanwhile.
pub(super) const LOCKED_FOR: Duration = Duration::from_secs(60);

/// How taking over a log ended.
pub(super) enum Ended {
    Gone,
    /// Part of it cannot be read.
    Blocked(Passed),
    /// All of it has moved that can be read, and WeChat is not asked yet about what is lost: about none of it, or about
    /// what is locked.
    Unasked {
        passed: Passed,
        is_locked: bool,
    },
    Stopped,
}

/// What is known of a log that was gone through before.
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// The positions of records that moved from behind the cursor.
    pub moved: BTreeSet<u64>,
    /// Something of it is lost, and WeChat is not asked yet.
    pub must_ask: bool,
}

/// The state of a log while it moves.
struct Moving<'a> {
    ctx: &'a Context,
    bus: &'a Bus,
    dead: Arc<DeadLog>,
    cursor: u64,
    /// Whether everything up to here has moved: the cursor does not pass what has not.
    is_whole: bool,
    passed: Passed,
    /// What the next step moves, and the position behind it.
    next: Next,
    to: u64,
}

/// What a step moves.
enum Next {
    Rows(Vec<NewRow>),
    Messages(Vec<Durable>),
}

impl Next {
    fn is_empty(&self) -> bool {
        match self {
            Next::Rows(rows) => rows.is_empty(),
            Next::Messages(records) => records.is_empty(),
        }
    }

    fn is_full(&self) -> bool {
        match self {
            Next::Rows(rows) => rows.len() >= MAX_GROUP,
            Next::Messages(records) => records.len() >= MAX_FORWARDED,
        }
    }

    /// Nothing where the record was added; why it is no message, otherwise.
    fn add(&mut self, bus: &Bus, durable: &Durable) -> Result<(), String> {
        match self {
            Next::Rows(rows) => rows.push(queue_row(bus, &durable.record)?),
            Next::Messages(records) => records.push(durable.clone()),
        }
        Ok(())
    }

    fn take(&mut self) -> Next {
        match self {
            Next::Rows(rows) => Next::Rows(std::mem::take(rows)),
            Next::Messages(records) => Next::Messages(std::mem::take(records)),
        }
    }
}

/// Where a log is moved from.
pub(super) struct Place<'a> {
    pub folder: &'a Path,
    pub is_spool: bool,
    pub stop: &'a CancellationToken,
}

/// Moves what lies behind the cursor and, where that is all, removes the log.
pub(super) async fn finish(
    ctx: &Context,
    bus: &Bus,
    (dead, passed): (Arc<DeadLog>, Passed),
    Place { folder, is_spool, stop }: Place<'_>,
) -> Result<Ended, String> {
    crate::failpoint::point("intake.taken_over");
    let cursor = if is_spool {
        let log = Arc::clone(&dead);
        blocking(move || read_cursor(log.folder())).await?
    } else {
        cursor_of_rows(ctx, &dead.name, folder).await?
    };
    let next = if is_spool { Next::Messages(Vec::new()) } else { Next::Rows(Vec::new()) };
    let mut moving = Moving { ctx, bus, dead: Arc::clone(&dead), cursor, is_whole: true, passed, next, to: cursor };
    if moving.passed.must_ask {
        moving.ask().await?;
    }
    // Where the next file has to begin; unknown behind one that cannot be read.
    let mut expected = Some(cursor);
    for file in 0..dead.files() {
        if stop.is_cancelled() {
            return Ok(Ended::Stopped);
        }
        if dead.is_behind(file, cursor) {
            continue;
        }
        let (log, after) = (Arc::clone(&dead), moving.cursor);
        match blocking(move || log.read(file, after)).await {
            Ok(part) => {
                if let Some(from) = expected.filter(|expected| part.begins > *expected) {
                    moving.lost(from, part.begins).await?;
                }
                // It is shorter than what was settled from it: an older copy, which may lack more.
                if file + 1 == dead.files() && part.ends < cursor {
                    moving.lost(part.ends, cursor).await?;
                }
                expected = Some(part.ends.max(cursor));
                moving.part(part).await?;
            }
            Err(e) => {
                tracing::error!(log = dead.name, file, error = e, "a file of an intake log cannot be read");
                (expected, moving.is_whole) = (None, false);
            }
        }
    }
    if let Err(e) = moving.ask_at_end().await {
        tracing::error!(log = dead.name, error = %e, "WeChat is not asked yet about what is lost");
        return Ok(Ended::Unasked { passed: moving.passed, is_locked: e.is_of_one_statement() });
    }
    if !moving.is_whole {
        return Ok(Ended::Blocked(moving.passed));
    }
    if !is_spool {
        ctx.store.end_intake_log(&dead.name).await.map_err(|e| e.to_string())?;
    }
    let log = Arc::clone(&dead);
    blocking(move || log.remove()).await?;
    if !is_spool {
        ctx.store.close_intake_log(&dead.name).await.map_err(|e| e.to_string())?;
    }
    Ok(Ended::Gone)
}

/// The database is older than the log where it has no cursor: all of it is read; what was settled changes nothing.
async fn cursor_of_rows(ctx: &Context, log: &str, folder: &Path) -> Result<u64, String> {
    ctx.store.open_intake_log(log, &folder.to_string_lossy()).await.map_err(|e| e.to_string())?;
    let known = ctx.store.intake_logs().await.map_err(|e| e.to_string())?;
    let cursor = known.iter().find(|known| known.log == log).map_or(0, |known| known.position);
    Ok(u64::try_from(cursor).unwrap_or(0))
}

impl Moving<'_> {
    /// Moves what a file holds.
    async fn part(&mut self, part: Part) -> Result<(), String> {
        for piece in part.pieces {
            match piece {
                Piece::Record(durable) if self.passed.moved.contains(&durable.from) => self.to = durable.to,
                Piece::Record(durable) => {
                    if let Err(e) = self.next.add(self.bus, &durable) {
                        tracing::error!(log = self.dead.name, error = e, "a record is no message of the queue");
                        self.keep((durable.from, durable.record.to_bytes()), false).await?;
                    }
                    if !self.is_whole || self.passed.must_ask {
                        self.passed.moved.insert(durable.from);
                    }
                    self.to = durable.to;
                    if self.next.is_full() {
                        self.step().await?;
                    }
                }
                Piece::Damage(damage) => {
                    self.keep((damage.position, damage.bytes), damage.is_end).await?;
                    // At the end, too: a write that was cut off was not acknowledged, a record that the disk damaged
                    // may have been.
                    self.ask().await?;
                }
                Piece::Unknown(position) => {
                    tracing::error!(log = self.dead.name, position, "a later version wrote this record: it stays");
                    self.step().await?;
                    self.is_whole = false;
                }
            }
        }
        self.step().await
    }

    /// Writes what was gathered, with the cursor's move where everything before has moved.
    async fn step(&mut self) -> Result<(), String> {
        if self.next.is_empty() && (!self.is_whole || self.to <= self.cursor) {
            return Ok(());
        }
        let to = if self.is_whole { self.to.max(self.cursor) } else { self.cursor };
        let log = &self.dead.name;
        match self.next.take() {
            Next::Rows(moved) => {
                let [from, until] = [self.cursor, to].map(|position| i64::try_from(position).unwrap_or(i64::MAX));
                tracing::info!(log, records = moved.len(), "records of a dead process move to the queue");
                let step = IntakeStep { log: log.clone(), from, to: until, moved };
                self.ctx.store.advance_intake(step).await.map_err(|e| e.to_string())?;
            }
            Next::Messages(records) => {
                tracing::info!(log, records = records.len(), "records of a dead process are forwarded");
                let parent = self.dead.folder().parent().unwrap_or(self.dead.folder());
                let positions: Vec<u64> = records.iter().map(|durable| durable.from).collect();
                let mut batch = Batch::new(records);
                batch.forward(self.bus, (parent, log)).await?;
                if batch.has_kept() {
                    self.passed.must_ask = true;
                    self.passed.moved.extend(positions);
                }
                if !self.passed.must_ask {
                    self.write_cursor(to).await;
                }
            }
        }
        crate::failpoint::point("intake.moved");
        self.cursor = to;
        Ok(())
    }

    /// The log goes at the end, with its cursor. Until then what is not written is forwarded again.
    async fn write_cursor(&self, to: u64) {
        let dead = Arc::clone(&self.dead);
        if let Err(e) = blocking(move || write_cursor(dead.folder(), to)).await {
            let log = &self.dead.name;
            tracing::warn!(log, error = e, "the cursor of an intake log cannot be written: forwarding goes on");
        }
    }

    /// Bytes between these positions were accepted and are nowhere.
    async fn lost(&mut self, from: u64, to: u64) -> Result<(), String> {
        const MISSING: &str = "Notifications of an intake log are missing: WeChat is asked about what is open";
        tracing::error!(log = self.dead.name, from, to, "{MISSING}");
        self.ask().await
    }

    /// Has WeChat asked about what is open before the cursor passes this place. What is forwarded goes first: the
    /// cursor stays behind until WeChat is asked, which is at the end.
    async fn ask(&mut self) -> Result<(), String> {
        if matches!(self.next, Next::Messages(_)) {
            self.step().await?;
            self.passed.must_ask = true;
        } else {
            ask_about_open(self.ctx).await?;
            self.passed.must_ask = false;
        }
        Ok(())
    }

    /// Has WeChat asked where that is left to do.
    async fn ask_at_end(&mut self) -> Result<(), DbError> {
        if self.passed.must_ask {
            self.ctx.store.ask_about_all_open(self.ctx.clock.now()).await?;
            self.passed.must_ask = false;
            self.write_cursor(self.cursor).await;
        }
        Ok(())
    }

    async fn keep(&self, (position, bytes): (u64, Vec<u8>), is_end: bool) -> Result<(), String> {
        let (log, size) = (Arc::clone(&self.dead), bytes.len());
        let kept = blocking(move || log.keep(position, &bytes)).await?;
        let log = &self.dead.name;
        tracing::error!(log, position, size, is_end, ?kept, "Damage in an intake log: the bytes are kept");
        Ok(())
    }
}

/// Has WeChat asked about everything that is open.
pub(super) async fn ask_about_open(ctx: &Context) -> Result<(), String> {
    ctx.store.ask_about_all_open(ctx.clock.now()).await.map_err(|e| e.to_string())
}
