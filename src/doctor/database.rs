//! The database: that it answers, that its schema is complete, that its clock is right.

use std::time::Duration;

use super::bus::space;
use super::clock::between;
use super::finding::{Finding, Status};
use crate::bus::Fill;
use crate::clock::Clock;
use crate::config::Config;
use crate::store::{DbError, DbFindings, DbKind, inspect_database};

const CHECK: &str = "database";

pub(super) async fn check(config: &Config, clock: &Clock) -> Vec<Finding> {
    match inspect_database(&config.store).await {
        Ok(Some(found)) => of_database(config, &found, clock),
        Ok(None) => {
            vec![Finding::new(CHECK, Status::Warning, "the SQLite file does not exist").about("store.url").mend(
                "the first start of wxpayd makes it; if there was one, correct store.url or the working directory",
            )]
        }
        Err(error) => vec![refused(&error)],
    }
}

fn refused(error: &DbError) -> Finding {
    let status = match error {
        DbError::Unavailable(_) => Status::Down,
        DbError::Exists(_) | DbError::Defect(_) => Status::Problem,
    };
    Finding::new(CHECK, status, error.to_string())
        .about("store.url")
        .mend("start the database, or correct store.url: host, name of the database, user and password")
}

fn of_database(config: &Config, found: &DbFindings, clock: &Clock) -> Vec<Finding> {
    let name = match found.kind {
        DbKind::Sqlite => "SQLite",
        DbKind::Postgres => "PostgreSQL",
    };
    let mut findings = vec![if found.takes_writes {
        Finding::new(CHECK, Status::Ok, format!("{name} answers"))
    } else {
        Finding::new(CHECK, Status::Problem, format!("{name} takes no writes: it is a standby, or read-only"))
            .mend("connect to the primary")
    }];
    if found.is_asynchronous {
        let text = "a commit waits for no standby, so a failover may lose acknowledged payments";
        findings
            .push(Finding::new("standbys", Status::Warning, text).mend("set synchronous_standby_names in PostgreSQL"));
    }
    findings.push(schema(config, &found.missing));
    let ahead_ms = clock.host_ahead_ms(found.now);
    findings.push(between("the database", Duration::from_millis(ahead_ms.unsigned_abs())));
    let embedded = config.bus.nats().is_none();
    if embedded {
        let fills = Fill::of_embedded(&config.bus, &found.streams);
        findings.extend(fills.iter().map(space));
    }
    findings
}

fn schema(config: &Config, missing: &[String]) -> Finding {
    const NAME: &str = "schema";
    if missing.is_empty() {
        return Finding::new(NAME, Status::Ok, "up to date");
    }
    let found = format!("{} migrations are missing, the first is {}", missing.len(), missing[0]);
    let mend = if config.store.migrate_on_start {
        "the next start of wxpayd applies them; `wxpayd migrate` does it now"
    } else {
        "run `wxpayd migrate` before the next start"
    };
    Finding::new(NAME, Status::Problem, found).mend(mend)
}
