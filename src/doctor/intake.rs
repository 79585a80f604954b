//! The intake logs beside a file of SQLite, or before NATS: what in them is not settled or forwarded, and what no
//! process takes over.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use tokio::sync::oneshot;

use super::finding::{Finding, Status};
use crate::config::Config;
use crate::intake::{DatabaseId, Leftovers, LogFound, Owner, Survey, only_database, read_cursor, survey};
use crate::store::{IntakeFindings, inspect_intake};

const CHECK: &str = "intake";
const SETTLES: &str = "start wxpayd with the role worker: it settles them within seconds, or says why it cannot";
const FORWARDS: &str =
    "start wxpayd with the role ingress or worker: it forwards them within seconds, or says why it cannot";

/// How far each log is settled, or forwarded.
type Cursors = HashMap<String, u64>;

pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let file = config.store.sqlite_file();
    if config.bus.nats().is_some() {
        let intake = &config.server.intake;
        let Some(folder) = intake.spool(file.as_deref()) else { return Vec::new() };
        return check_spool(folder, intake.is_spool()).await;
    }
    let Some(file) = file else { return Vec::new() };
    let known = match inspect_intake(&file).await {
        Ok(known) => known,
        // The check of the database says why.
        Err(error) => return vec![Finding::new(CHECK, Status::NotChecked, error.to_string())],
    };
    let folder = config.server.intake.folder(&file);
    let database = known.database.as_deref().and_then(DatabaseId::parse);
    let owner = Owner { database, known: known.cursors.iter().map(|(log, _)| log.clone()).collect() };
    let at = folder.clone();
    let cursors: Cursors =
        known.cursors.iter().map(|(log, at)| (log.clone(), u64::try_from(*at).unwrap_or(0))).collect();
    match beside(move || survey(&at, &owner)).await {
        Some(Ok(found)) => of_survey(&folder, &found, (&cursors, SETTLES), missing(&folder, &found, &known)),
        Some(Err(error)) => vec![Finding::new(CHECK, Status::NotChecked, format!("{}: {error}", folder.display()))],
        None => Vec::new(),
    }
}

/// Of a spool the folder says all, so that the check needs no database. Which one it belongs to, its logs say. Where
/// none is configured any more and no folder is there, nothing is said.
async fn check_spool(folder: PathBuf, is_chosen: bool) -> Vec<Finding> {
    let at = folder.clone();
    let surveyed = beside(move || {
        if !is_chosen && !at.try_exists()? {
            return Ok(None);
        }
        let found = survey(&at, &Owner { database: only_database(&at), known: HashSet::new() })?;
        let cursor = |log: &LogFound| -> io::Result<_> { Ok((log.name.clone(), read_cursor(&at.join(&log.name))?)) };
        let cursors: Cursors = found.logs.iter().map(cursor).collect::<io::Result<_>>()?;
        Ok(Some((found, cursors)))
    });
    match surveyed.await {
        Some(Ok(Some((found, cursors)))) => of_survey(&folder, &found, (&cursors, FORWARDS), None),
        Some(Err(error)) => vec![Finding::new(CHECK, Status::NotChecked, format!("{}: {error}", folder.display()))],
        Some(Ok(None)) | None => Vec::new(),
    }
}

/// In a thread that is not awaited at the end: a network file system may not answer.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Option<io::Result<T>> {
    let (sender, done) = oneshot::channel();
    std::thread::spawn(move || sender.send(work()));
    done.await.ok()
}

fn of_survey(
    folder: &Path,
    found: &Survey,
    (cursors, mend): (&Cursors, &str),
    missing: Option<Finding>,
) -> Vec<Finding> {
    let unsettled = |log: &LogFound| log.ends.saturating_sub(cursors.get(&log.name).copied().unwrap_or_default());
    let dead = found.logs.iter().filter(|log| !log.is_held && unsettled(log) > 0);
    let mut findings: Vec<Finding> = dead
        .map(|log| {
            let text = format!("{} bytes of notifications of a process that ended are not settled", unsettled(log));
            Finding::new(CHECK, Status::Warning, text).about(&log.name).mend(mend)
        })
        .collect();
    findings.extend(left(folder, &found.leftovers));
    findings.extend(missing);
    if findings.is_empty() {
        let held = found.logs.iter().filter(|log| log.is_held).count();
        findings.push(Finding::new(CHECK, Status::Ok, format!("{held} intake logs of running processes, no other")));
    }
    findings
}

fn left(folder: &Path, leftovers: &Leftovers) -> Vec<Finding> {
    let of = |status, why: &str, name: &str| {
        Finding::new(CHECK, status, format!("is not taken over: {why}")).about(folder.join(name).display().to_string())
    };
    let mut findings: Vec<Finding> = Vec::new();
    for log in &leftovers.left {
        findings.push(if log.is_foreign() {
            of(Status::Ok, &log.why, &log.name)
        } else {
            of(Status::Warning, &log.why, &log.name).mend("docs/intake.md says what may be in it and what to do")
        });
    }
    if leftovers.damaged > 0 {
        let text = format!("{} files of damaged bytes are kept", leftovers.damaged);
        let mend = "a disk that damages files is to be replaced; the files go by themselves after half a year";
        findings.push(Finding::new(CHECK, Status::Warning, text).about(folder.display().to_string()).mend(mend));
    }
    findings
}

/// Logs that the database knows and that are not there.
fn missing(folder: &Path, found: &Survey, known: &IntakeFindings) -> Option<Finding> {
    let lies = |name: &String| {
        found.logs.iter().any(|log| log.name == *name) || found.leftovers.left.iter().any(|left| left.name == *name)
    };
    let gone: Vec<PathBuf> =
        known.cursors.iter().filter(|(log, _)| !lies(log)).map(|(log, _)| folder.join(log)).collect();
    let first = gone.first()?;
    let text = format!("{} logs are missing that were not settled to their end", gone.len());
    Some(
        Finding::new(CHECK, Status::Warning, text)
            .about(first.display().to_string())
            .mend("set server.intake_dir to where they lie; the start of wxpayd asks WeChat about what is open"),
    )
}
