//! What dead processes accepted and did not settle moves to the queue. The queue counts attempts: a record that ended
//! the process must not end every other one.
//!
//! What must stay true: the cursor stops before what could not be read, and a log goes only when nothing of it is left;
//! what lies behind such a place moves to the queue all the same. What is lost is said, and WeChat is asked about
//! everything that is open.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::settle::{MAX_GROUP, queue_row};
use crate::bus::Bus;
use crate::intake::{DatabaseId, DeadLog, Part, Piece, dead_logs, is_log_name};
use crate::store::queue::NewRow;
use crate::store::{IntakeLog, IntakeStep, Store};
use crate::worker::core::context::Context;

/// How often the logs of dead processes are searched for.
const SEARCH_EVERY: Duration = Duration::from_secs(5);
/// How long a log rests that could not be read to its end.
const BLOCKED_FOR: Duration = Duration::from_secs(300);

/// Where the logs lie, and whose they are.
#[derive(Debug, Clone)]
pub struct Logs {
    pub folder: PathBuf,
    pub database: DatabaseId,
}

/// What this process knows of logs that stay.
#[derive(Default)]
struct Known {
    /// Each is reported once.
    said: HashSet<(String, String)>,
    blocked: HashMap<String, Blocked>,
}

struct Blocked {
    until: Instant,
    /// The positions of records that moved from behind what could not be read.
    moved: BTreeSet<u64>,
}

/// How taking over a log ended.
enum Ended {
    Gone,
    /// Part of it cannot be read.
    Blocked(BTreeSet<u64>),
    Stopped,
}

/// Takes over what dead processes left in this folder, now and whenever another one dies.
pub async fn take_over(ctx: Context, bus: Bus, logs: Logs, stop: CancellationToken) {
    if let Err(e) = report_missing(&ctx, &logs.folder).await {
        tracing::error!(error = e, "whether an intake log is missing is not known");
    }
    let mut known = Known::default();
    loop {
        search(&ctx, &bus, &logs, (&mut known, &stop)).await;
        if stop.run_until_cancelled(tokio::time::sleep(SEARCH_EVERY)).await.is_none() {
            return;
        }
    }
}

async fn search(ctx: &Context, bus: &Bus, logs: &Logs, (known, stop): (&mut Known, &CancellationToken)) {
    let Logs { folder, database } = logs.clone();
    let listing = match blocking(move || dead_logs(&folder, database)).await {
        Ok(listing) => listing,
        Err(e) => return tracing::error!(error = e, "the intake logs cannot be listed"),
    };
    for left in listing.left {
        if known.said.insert((left.name.clone(), left.why.clone())) {
            let folder = logs.folder.join(&left.name);
            tracing::error!(?folder, why = left.why, "an intake log is not taken over, and stays");
            if let Err(e) = ask_if_known(ctx, &left.name).await {
                tracing::error!(error = e, "WeChat is not asked about what an intake log holds");
            }
        }
    }
    for dead in listing.dead {
        let name = dead.name.clone();
        let before = known.blocked.remove(&name);
        if let Some(before) = before.as_ref().filter(|before| before.until > Instant::now()) {
            let before = Blocked { until: before.until, moved: before.moved.clone() };
            known.blocked.insert(name, before);
            continue;
        }
        let moved = before.map(|before| before.moved).unwrap_or_default();
        match finish(ctx, bus, (Arc::new(dead), moved), (&logs.folder, stop)).await {
            Ok(Ended::Gone) => {}
            Ok(Ended::Stopped) => return,
            Ok(Ended::Blocked(moved)) => {
                known.blocked.insert(name, Blocked { until: Instant::now() + BLOCKED_FOR, moved });
            }
            Err(e) => tracing::error!(log = name, error = e, "the intake log of a dead process has not moved yet"),
        }
    }
}

/// Has WeChat asked about what is open where a log that cannot be read is one of this database.
async fn ask_if_known(ctx: &Context, log: &str) -> Result<(), String> {
    let known = ctx.store.intake_logs().await.map_err(|e| e.to_string())?;
    if known.iter().any(|known| known.log == log && !known.has_ended) { ask_about_open(ctx).await } else { Ok(()) }
}

/// Says which logs the database knows that are not there. A database that was restored on another host, for example;
/// what was in them, the queries to WeChat find.
async fn report_missing(ctx: &Context, parent: &Path) -> Result<(), String> {
    let known = ctx.store.intake_logs().await.map_err(|e| e.to_string())?;
    for IntakeLog { log, folder, position, has_ended } in known {
        // It lies here, or where another configuration had it.
        if parent.join(&log).is_dir() || Path::new(&folder).join(&log).is_dir() {
            continue;
        }
        if has_ended {
            ctx.store.close_intake_log(&log).await.map_err(|e| e.to_string())?;
            continue;
        }
        tracing::warn!(log, folder, position, "an intake log that was not settled to its end is missing");
        ask_about_open(ctx).await?;
        // Asked about once. If it comes back, all of it is read, and what was settled changes nothing.
        ctx.store.close_intake_log(&log).await.map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// Warns of logs that this process does not read: in a folder of before, or beside a database whose queue is
/// another one now.
pub async fn warn_elsewhere(store: &Store, reads: Option<&Path>, others: &[PathBuf]) {
    let known = match store.intake_logs().await {
        Ok(known) => known,
        Err(e) => return tracing::error!(error = %e, "whether intake logs lie elsewhere is not known"),
    };
    let named = known.into_iter().filter(|known| !known.has_ended).map(|known| PathBuf::from(known.folder));
    let folders: BTreeSet<PathBuf> = named.chain(others.iter().cloned()).collect();
    for folder in folders.into_iter().filter(|folder| Some(folder.as_path()) != reads) {
        let mut entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let holds_any = entries.any(|entry| entry.file_name().to_str().is_some_and(is_log_name));
        if holds_any {
            tracing::warn!(
                ?folder,
                "intake logs lie in a folder that this configuration does not read: server.intake_dir"
            );
        }
    }
}

/// The state of a log while it moves.
struct Moving<'a> {
    ctx: &'a Context,
    bus: &'a Bus,
    dead: Arc<DeadLog>,
    cursor: u64,
    /// Whether everything up to here has moved: the cursor does not pass what has not.
    is_whole: bool,
    /// What moved from behind the cursor.
    moved: BTreeSet<u64>,
    /// The rows of the next step, and the position behind them.
    rows: Vec<NewRow>,
    to: u64,
}

async fn finish(
    ctx: &Context,
    bus: &Bus,
    (dead, moved): (Arc<DeadLog>, BTreeSet<u64>),
    (folder, stop): (&Path, &CancellationToken),
) -> Result<Ended, String> {
    crate::failpoint::point("intake.taken_over");
    // The database is older than the log where it has no cursor: all of it is read; what was settled changes nothing.
    ctx.store.open_intake_log(&dead.name, &folder.to_string_lossy()).await.map_err(|e| e.to_string())?;
    let known = ctx.store.intake_logs().await.map_err(|e| e.to_string())?;
    let cursor = known.iter().find(|known| known.log == dead.name).map_or(0, |known| known.position);
    let cursor = u64::try_from(cursor).unwrap_or(0);
    let mut moving =
        Moving { ctx, bus, dead: Arc::clone(&dead), cursor, is_whole: true, moved, rows: Vec::new(), to: cursor };
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
                    lost(ctx, &dead.name, from, part.begins).await?;
                }
                // It is shorter than what was settled from it: an older copy, which may lack more.
                if file + 1 == dead.files() && part.ends < cursor {
                    lost(ctx, &dead.name, part.ends, cursor).await?;
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
    if !moving.is_whole {
        return Ok(Ended::Blocked(moving.moved));
    }
    ctx.store.end_intake_log(&dead.name).await.map_err(|e| e.to_string())?;
    let log = Arc::clone(&dead);
    blocking(move || log.remove()).await?;
    ctx.store.close_intake_log(&dead.name).await.map_err(|e| e.to_string())?;
    Ok(Ended::Gone)
}

impl Moving<'_> {
    /// Moves what a file holds.
    async fn part(&mut self, part: Part) -> Result<(), String> {
        for piece in part.pieces {
            match piece {
                Piece::Record(durable) if self.moved.contains(&durable.from) => self.to = durable.to,
                Piece::Record(durable) => {
                    match queue_row(self.bus, &durable.record) {
                        Ok(row) => self.rows.push(row),
                        Err(e) => {
                            tracing::error!(log = self.dead.name, error = e, "a record is no message of the queue");
                            self.keep((durable.from, durable.record.to_bytes()), false).await?;
                        }
                    }
                    if !self.is_whole {
                        self.moved.insert(durable.from);
                    }
                    self.to = durable.to;
                    if self.rows.len() >= MAX_GROUP {
                        self.step().await?;
                    }
                }
                Piece::Damage(damage) => {
                    self.keep((damage.position, damage.bytes), damage.is_end).await?;
                    // At the end, too: a write that was cut off was not acknowledged, a record that the disk damaged
                    // may have been.
                    ask_about_open(self.ctx).await?;
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
        if self.rows.is_empty() && (!self.is_whole || self.to <= self.cursor) {
            return Ok(());
        }
        let to = if self.is_whole { self.to.max(self.cursor) } else { self.cursor };
        let [from, until] = [self.cursor, to].map(|position| i64::try_from(position).unwrap_or(i64::MAX));
        let moved = std::mem::take(&mut self.rows);
        tracing::info!(log = self.dead.name, records = moved.len(), "records of a dead process move to the queue");
        let step = IntakeStep { log: self.dead.name.clone(), from, to: until, moved };
        self.ctx.store.advance_intake(step).await.map_err(|e| e.to_string())?;
        crate::failpoint::point("intake.moved");
        self.cursor = to;
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

/// Bytes between these positions were accepted and are nowhere.
async fn lost(ctx: &Context, log: &str, from: u64, to: u64) -> Result<(), String> {
    tracing::error!(log, from, to, "Notifications of an intake log are missing: WeChat is asked about what is open");
    ask_about_open(ctx).await
}

async fn ask_about_open(ctx: &Context) -> Result<(), String> {
    ctx.store.ask_about_all_open(ctx.clock.now()).await.map_err(|e| e.to_string())
}

/// Reads and writes files beside the threads of the runtime.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> Result<T, String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome.map_err(|e| e.to_string()),
        Err(e) => Err(e.to_string()),
    }
}
