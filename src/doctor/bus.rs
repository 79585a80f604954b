//! NATS: that it answers, its version, that it syncs before it acknowledges, and how full the streams are.

use super::finding::{Finding, Status};
use crate::bus::{Bus, ConnectError, Fill, Report};
use crate::config::Config;

const CHECK: &str = "bus";
/// Percents of its limit from which a stream is filling up.
const FILLING: u64 = 80;
/// Percents from which it refuses most messages.
const FULL: u64 = 99;

pub(super) async fn check(config: &Config) -> Vec<Finding> {
    if config.bus.nats().is_none() {
        // Its streams are read with the database.
        return vec![Finding::new(CHECK, Status::Ok, "embedded in the database")];
    }
    let inspected = match Bus::inspect(&config.bus).await {
        Ok(inspected) => inspected,
        Err(error) => return vec![refused(&error)],
    };
    let mut findings = match &inspected.report {
        Ok(report) => of_report(report),
        Err(error) => vec![refused(error)],
    };
    let missing = inspected.missing.iter().map(|stream| {
        Finding::new(CHECK, Status::Warning, "the stream does not exist")
            .about(stream)
            .mend("the next start of wxpayd creates it")
    });
    findings.extend(missing);
    findings.extend(inspected.fill.iter().map(space));
    findings
}

fn of_report(report: &Report) -> Vec<Finding> {
    let version = report.version.as_deref().unwrap_or("of an unknown version");
    let answers = format!("NATS {version} answers and syncs to disk: {}", report.sync);
    let warning = |text: &String| Finding::new(CHECK, Status::Warning, text);
    std::iter::once(Finding::new(CHECK, Status::Ok, answers)).chain(report.warnings.iter().map(warning)).collect()
}

/// Every text names the setting and what to do.
fn refused(error: &ConnectError) -> Finding {
    match error {
        ConnectError::Unreachable(_) | ConnectError::Unanswered(_) => {
            Finding::new(CHECK, Status::Down, error.to_string()).mend("start NATS, or correct bus.url")
        }
        ConnectError::Setting { .. }
        | ConnectError::NoDatabase
        | ConnectError::Database(_)
        | ConnectError::TooOld { .. }
        | ConnectError::NotDurable(_)
        | ConnectError::Shape(_)
        | ConnectError::Topology(_) => Finding::new(CHECK, Status::Problem, error.to_string()),
    }
}

/// How much of its limit a stream holds. One that drops its oldest messages is usually full.
pub(super) fn space(fill: &Fill) -> Finding {
    const NAME: &str = "bus_space";
    let found = format!("holds {} % of {} MiB", fill.percent(), fill.max_bytes / (1024 * 1024));
    let status = if !fill.refuses || fill.percent() < FILLING {
        Status::Ok
    } else if fill.percent() < FULL {
        Status::Warning
    } else {
        Status::Problem
    };
    let finding = Finding::new(NAME, status, found).about(&fill.stream);
    if status == Status::Ok {
        return finding;
    }
    finding.mend("start more workers or mend what they wait for (`wxpayctl bus lag`), or raise bus.max_bytes")
}
