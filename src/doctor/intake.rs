//! The intake logs beside a file of SQLite: what in them is not settled, and what no process takes over.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tokio::sync::oneshot;

use super::finding::{Finding, Status};
use crate::config::Config;
use crate::intake::{DatabaseId, Leftovers, LogFound, Owner, Survey, survey};
use crate::store::{IntakeFindings, inspect_intake};

const CHECK: &str = "intake";

pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let Some(file) = config.store.sqlite_file().filter(|_| config.bus.nats().is_none()) else { return Vec::new() };
    let known = match inspect_intake(&file).await {
        Ok(known) => known,
        // The check of the database says why.
        Err(error) => return vec![Finding::new(CHECK, Status::NotChecked, error.to_string())],
    };
    let folder = config.server.intake.folder(&file);
    let database = known.database.as_deref().and_then(DatabaseId::parse);
    let owner = Owner { database, known: known.cursors.iter().map(|(log, _)| log.clone()).collect() };
    // In a thread that is not awaited at the end: a network file system may not answer.
    let (sender, surveyed) = oneshot::channel();
    let at = folder.clone();
    std::thread::spawn(move || sender.send(survey(&at, &owner)));
    match surveyed.await {
        Ok(Ok(found)) => of_survey(&folder, &found, &known),
        Ok(Err(error)) => vec![Finding::new(CHECK, Status::NotChecked, format!("{}: {error}", folder.display()))],
        Err(_) => Vec::new(),
    }
}

fn of_survey(folder: &Path, found: &Survey, known: &IntakeFindings) -> Vec<Finding> {
    let cursors: HashMap<&str, i64> = known.cursors.iter().map(|(log, at)| (log.as_str(), *at)).collect();
    let unsettled = |log: &LogFound| {
        let settled = cursors.get(log.name.as_str()).and_then(|at| u64::try_from(*at).ok()).unwrap_or_default();
        log.ends.saturating_sub(settled)
    };
    let dead = found.logs.iter().filter(|log| !log.is_held && unsettled(log) > 0);
    let mut findings: Vec<Finding> = dead
        .map(|log| {
            let text = format!("{} bytes of notifications of a process that ended are not settled", unsettled(log));
            Finding::new(CHECK, Status::Warning, text)
                .about(&log.name)
                .mend("start wxpayd with the role worker: it settles them within seconds, or says why it cannot")
        })
        .collect();
    findings.extend(left(folder, &found.leftovers));
    findings.extend(missing(folder, found, known));
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
