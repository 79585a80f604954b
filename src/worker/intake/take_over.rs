//! The logs of dead processes are searched for, and what they accepted and did not settle moves to the queue. The queue
//! counts attempts: a record that ended the process must not end every other one.
//!
//! What must stay true: every process with workers searches, whether it writes a log or not, as long as it runs; what
//! stays in the folder is reported for as long as it stays.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::blocking::blocking;
use super::moving::{Ended, LOCKED_FOR, Passed, Place, ask_about_open, finish};
use crate::bus::Bus;
use crate::intake::{
    DatabaseId, Lately, LeftAlone, Leftovers, Owner, dead_logs, forget_kept, is_log_name, kept_files, only_database,
};
use crate::secret::random_text;
use crate::store::{IntakeLog, Store};
use crate::worker::core::context::Context;

/// How long a log rests that could not be read to its end.
const BLOCKED_FOR: Duration = Duration::from_secs(300);
/// How often files of damaged bytes are removed that are too old or too many.
const FORGET_EVERY: Duration = Duration::from_secs(3600);
/// Why a log has not gone that was taken over.
const CANNOT_BE_READ: &str = "part of it cannot be read";
const NOT_ASKED: &str = "WeChat is not asked yet about what is lost of it";

const DAMAGED: &str = "its header is damaged";

/// Where the logs lie, and where it is said what stays there.
#[derive(Debug, Clone)]
pub struct Logs {
    pub folder: PathBuf,
    /// Whether that is a folder of this database alone, as its name says.
    pub is_own: bool,
    /// Whether they go to NATS, each with a file for its cursor: the database knows none of them.
    pub is_spool: bool,
    pub found: Lately,
    pub pauses: SearchPauses,
}

/// The pauses of taking over.
#[derive(Debug, Clone, Copy)]
pub struct SearchPauses {
    /// How often the logs of dead processes are searched for.
    pub every: Duration,
    /// How long a log rests of which WeChat was not asked because orders were locked.
    pub locked_for: Duration,
}

impl Default for SearchPauses {
    fn default() -> SearchPauses {
        SearchPauses { every: Duration::from_secs(5), locked_for: LOCKED_FOR }
    }
}

impl Logs {
    /// Nothing is found yet.
    pub fn new(folder: PathBuf, is_own: bool, is_spool: bool) -> Logs {
        Logs { folder, is_own, is_spool, found: Lately::default(), pauses: SearchPauses::default() }
    }
}

/// What this process knows of logs that stay.
#[derive(Default)]
struct Known {
    /// Whose logs they are; made when there is a folder for them.
    database: Option<DatabaseId>,
    /// Each is reported once.
    said: HashSet<(String, String)>,
    blocked: HashMap<String, Blocked>,
    forget_at: Option<Instant>,
}

struct Blocked {
    until: Instant,
    why: &'static str,
    passed: Passed,
}

/// Takes over what dead processes left in this folder, now and whenever another one dies.
pub async fn take_over(ctx: Context, bus: Bus, logs: Logs, stop: CancellationToken) {
    if !logs.is_spool
        && let Err(e) = report_missing(&ctx, &logs.folder).await
    {
        tracing::error!(error = e, "whether an intake log is missing is not known");
    }
    let mut known = Known::default();
    loop {
        if let Err(e) = search(&ctx, &bus, &logs, (&mut known, &stop)).await {
            tracing::error!(error = e, "the intake logs of dead processes cannot be searched for");
        }
        if stop.run_until_cancelled(tokio::time::sleep(logs.pauses.every)).await.is_none() {
            return;
        }
    }
}

async fn search(
    ctx: &Context,
    bus: &Bus,
    logs: &Logs,
    (known, stop): (&mut Known, &CancellationToken),
) -> Result<(), String> {
    let folder = logs.folder.clone();
    if blocking(move || is_absent(&folder)).await? {
        logs.found.set(Leftovers::default());
        return Ok(());
    }
    let database = known.database_of(&ctx.store, logs).await?;
    // What a spool holds is forwarded also while the database is away.
    let cursors = if logs.is_spool { Vec::new() } else { ctx.store.intake_logs().await.map_err(|e| e.to_string())? };
    let owner = Owner { database: Some(database), known: cursors.into_iter().map(|known| known.log).collect() };
    let folder = logs.folder.clone();
    let listing = blocking(move || dead_logs(&folder, &owner)).await?;
    for left in &listing.left {
        if known.said.insert((left.name.clone(), left.why.clone())) {
            let folder = logs.folder.join(&left.name);
            tracing::error!(?folder, why = left.why, "an intake log is not taken over, and stays");
            if let Err(e) = ask_if_known(ctx, &left.name).await {
                tracing::error!(error = e, "WeChat is not asked about what an intake log holds");
            }
        }
    }
    let mut found = Leftovers { left: listing.left, ..Leftovers::default() };
    for dead in listing.dead {
        let name = dead.name.clone();
        let mut stays = |why: String| found.blocked.push(LeftAlone { name: name.clone(), why });
        if let Some(before) = known.blocked.get(&name).filter(|before| before.until > Instant::now()) {
            stays(before.why.into());
            continue;
        }
        let mut passed = known.blocked.remove(&name).map(|before| before.passed).unwrap_or_default();
        if dead.is_damaged && known.said.insert((name.clone(), DAMAGED.to_owned())) {
            tracing::error!(log = name, "an intake log's header is damaged: what follows is read all the same");
            passed.must_ask = true;
        }
        let must_ask = passed.must_ask;
        let place = Place { folder: &logs.folder, is_spool: logs.is_spool, stop };
        match finish(ctx, bus, (Arc::new(dead), passed), place).await {
            Ok(Ended::Gone) => {}
            Ok(Ended::Stopped) => return Ok(()),
            Ok(Ended::Blocked(passed)) => {
                stays(CANNOT_BE_READ.into());
                let until = Instant::now() + BLOCKED_FOR;
                known.blocked.insert(name, Blocked { until, why: CANNOT_BE_READ, passed });
            }
            Ok(Ended::Unasked { passed, is_locked }) => {
                stays(NOT_ASKED.into());
                let until = Instant::now() + if is_locked { logs.pauses.locked_for } else { Duration::ZERO };
                known.blocked.insert(name, Blocked { until, why: NOT_ASKED, passed });
            }
            Err(e) => {
                tracing::error!(log = name, error = e, "the intake log of a dead process has not moved yet");
                stays(e);
                // It is gone through from its cursor again, but for this.
                let passed = Passed { must_ask, ..Passed::default() };
                known.blocked.insert(name, Blocked { until: Instant::now(), why: NOT_ASKED, passed });
            }
        }
    }
    let folder = logs.folder.clone();
    found.damaged = blocking(move || kept_files(&folder)).await?;
    logs.found.set(found);
    // Last: it needs the database.
    known.forget(ctx, &logs.folder).await
}

impl Known {
    async fn database_of(&mut self, store: &Store, logs: &Logs) -> Result<DatabaseId, String> {
        if let Some(database) = self.database {
            return Ok(database);
        }
        let database = database_of(store, &logs.folder, logs.is_own).await?;
        self.database = Some(database);
        Ok(database)
    }

    /// Removes damaged bytes that were kept long enough; none of a log that has a cursor or a folder still.
    async fn forget(&mut self, ctx: &Context, parent: &Path) -> Result<(), String> {
        if self.forget_at.is_some_and(|at| at > Instant::now()) {
            return Ok(());
        }
        let known = ctx.store.intake_logs().await.map_err(|e| e.to_string())?;
        let unsettled = known.into_iter().map(|known| known.log).collect();
        let (parent, now) = (parent.to_owned(), ctx.clock.now());
        let gone = blocking(move || forget_kept(&parent, &unsettled, now)).await?;
        if gone > 0 {
            tracing::info!(files = gone, "damaged bytes of intake logs were kept long enough");
        }
        self.forget_at = Some(Instant::now() + FORGET_EVERY);
        Ok(())
    }
}

/// The id that the headers of this database's logs name. A database that has none may have been restored from a time
/// before its first log: what lies in a folder of its own is its own, then, and names it.
pub async fn database_of(store: &Store, folder: &Path, is_own: bool) -> Result<DatabaseId, String> {
    let at = folder.to_owned();
    let found = if is_own { blocking(move || Ok(only_database(&at))).await? } else { None };
    let proposal = found.map_or_else(|| random_text(DatabaseId::LENGTH), |found| found.as_text());
    let id = store.intake_database(&proposal).await.map_err(|e| e.to_string())?;
    DatabaseId::parse(&id).ok_or_else(|| "the database's id for intake logs is none".to_owned())
}

/// Whether there is nothing of this name. A disk that is not mounted, or rights that lack, are errors.
fn is_absent(path: &Path) -> io::Result<bool> {
    match std::fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(true),
        found => found.map(|_| false),
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
        let places = [parent.join(&log), Path::new(&folder).join(&log)];
        let is_gone = blocking(move || places.iter().map(|at| is_absent(at)).collect::<io::Result<Vec<bool>>>());
        if is_gone.await?.contains(&false) {
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
