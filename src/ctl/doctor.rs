//! `doctor`: what is wrong with an installation, and how it is mended.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::client::Api;
use super::exit::{Exit, Failure};
use super::output::{Column, Printer};
use crate::clock::Clock;
use crate::config::process_env;
use crate::doctor::{Examined, Finding, Status, examine};

const FINDINGS: &[Column] =
    &[("STATUS", "/status"), ("CHECK", "/check"), ("ABOUT", "/about"), ("FOUND", "/found"), ("MEND", "/mend")];

/// What is examined.
pub struct Request {
    /// The configuration; none and no environment: only the service is asked.
    pub file: Option<PathBuf>,
    /// The service, where its address was given.
    pub url: Option<String>,
    pub key_file: Option<PathBuf>,
    /// The most that one check may take.
    pub limit: Duration,
    /// Whether the books are compared.
    pub books: bool,
}

pub async fn run(request: Request, out: &mut Printer) -> Result<Exit, Failure> {
    let Request { file, url, key_file, limit, books } = request;
    let env: Vec<_> = process_env().collect();
    let has_config = file.is_some() || !env.is_empty();
    if !has_config && url.is_none() {
        let text = "nothing to examine: --config FILE for this host, --url URL for a service";
        return Err(Failure::new(Exit::Usage, text));
    }
    if books && !has_config {
        let text = "--books reads the database: --config FILE names it";
        return Err(Failure::new(Exit::Usage, text));
    }
    let local = async {
        if !has_config {
            return vec![Finding::new("configuration", Status::NotChecked, "--config FILE was not given")];
        }
        examine(&Examined { file, env, limit, books, clock: Clock::system() }).await
    };
    let remote = async {
        match &url {
            Some(url) => of_service(url, key_file.as_deref(), limit).await,
            None => Ok(vec![Finding::new("service", Status::NotChecked, "--url URL was not given")]),
        }
    };
    let (mut findings, of_service) = tokio::join!(local, remote);
    findings.extend(of_service?);
    report(&findings, out)
}

fn report(findings: &[Finding], out: &mut Printer) -> Result<Exit, Failure> {
    let count = |status| findings.iter().filter(|finding| finding.status == status).count();
    let (problems, down, warnings) = (count(Status::Problem), count(Status::Down), count(Status::Warning));
    let rows: Vec<Value> = findings.iter().map(Finding::to_json).collect();
    if out.is_json() {
        out.json(&json!({"ok": problems + down == 0, "findings": rows}))?;
    } else {
        out.table(&rows, FINDINGS, "nothing was checked")?;
        out.note(&format!("{problems} problems, {down} without an answer, {warnings} warnings"));
    }
    Ok(match (problems, down) {
        (0, 0) => Exit::Ok,
        (0, _) => Exit::Down,
        _ => Exit::Failed,
    })
}

/// What the running service says of itself.
async fn of_service(url: &str, key_file: Option<&Path>, limit: Duration) -> Result<Vec<Finding>, Failure> {
    let api = Api::without_key(url)?;
    let with_key = match key_file {
        Some(_) => Some(Api::open(url, key_file)?),
        None => None,
    };
    let readiness = within(limit, with_key.as_ref().unwrap_or(&api).try_get("/readyz", &[]));
    let operations = async {
        let Some(api) = &with_key else {
            return vec![Finding::new("api_key", Status::NotChecked, "--key-file FILE was not given")];
        };
        let (jobs, groups) = tokio::join!(
            within(limit, api.get("/v1/ops/jobs", &[])),
            within(limit, api.get("/v1/ops/dead-letters/groups", &[])),
        );
        [jobs.map(|jobs| of_jobs(&jobs)), groups.map(|groups| of_groups(&groups))]
            .into_iter()
            .flat_map(|found| found.unwrap_or_else(|failure| vec![refused(&failure)]))
            .collect()
    };
    let (readiness, operations) = tokio::join!(readiness, operations);
    let mut findings = match readiness {
        Ok((_, readiness)) => of_readiness(&readiness),
        // Without an answer the other questions have none either.
        Err(failure) => return Ok(vec![refused(&failure)]),
    };
    findings.extend(operations);
    Ok(findings)
}

async fn within<T>(limit: Duration, asked: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let late = || Failure::new(Exit::Down, format!("the service did not answer within {} s", limit.as_secs()));
    tokio::time::timeout(limit, asked).await.unwrap_or_else(|_| Err(late()))
}

fn refused(failure: &Failure) -> Finding {
    match failure.exit {
        Exit::Refused => Finding::new("api_key", Status::Problem, &failure.text)
            .mend("use a key of this service with the scope ops: `wxpayctl keys new --scopes ops`"),
        _ => Finding::new("service", Status::Down, &failure.text)
            .mend("start the service, or correct --url (WXPAYCTL_URL)"),
    }
}

fn of_readiness(readiness: &Value) -> Vec<Finding> {
    if let Some(ready) = readiness["ready"].as_bool().filter(|_| readiness["checks"].is_null()) {
        let (status, found) = if ready { (Status::Ok, "ready") } else { (Status::Problem, "not ready") };
        return vec![
            Finding::new("service", status, format!("{found}; what was checked is shown only with a key"))
                .mend("add --key-file with a key of scope ops, or ask the address of server.admin_listen"),
        ];
    }
    let Some(checks) = readiness["checks"].as_array() else {
        return vec![
            Finding::new("service", Status::Problem, "/readyz is not this service's")
                .mend("correct --url; with server.admin_listen set it is that address"),
        ];
    };
    let mut findings: Vec<Finding> = checks
        .iter()
        .filter_map(|check| {
            let reason = check["reason"].as_str()?;
            let status = if check["ok"] == true { Status::Warning } else { Status::Problem };
            let name = check["name"].as_str().unwrap_or_default();
            let finding = Finding::new("service", status, reason).about(name);
            Some(finding.mend("docs/runbook.md has an entry for it"))
        })
        .collect();
    let hash = readiness["config_hash"].as_str().unwrap_or_default();
    if readiness["ready"] == true {
        findings.push(Finding::new("service", Status::Ok, format!("ready; the hash of its configuration is {hash}")));
    }
    findings
}

fn of_jobs(jobs: &Value) -> Vec<Finding> {
    let failed = jobs["jobs"].as_array().into_iter().flatten().filter_map(|job| {
        let outcome = job["last"]["outcome"].as_str().filter(|o| matches!(*o, "failed" | "late" | "panic"))?;
        let detail = job["last"]["detail"].as_str().unwrap_or_default();
        let name = job["name"].as_str().unwrap_or_default();
        let finding = Finding::new("job", Status::Warning, format!("the last run {outcome}: {detail}")).about(name);
        Some(finding.mend(format!("mend the cause; `wxpayctl trigger {name} --reason …` runs it at once")))
    });
    failed.collect()
}

fn of_groups(groups: &Value) -> Vec<Finding> {
    let groups = groups["groups"].as_array().into_iter().flatten();
    let parked = groups.map(|group| {
        let text = |name: &str| group[name].as_str().unwrap_or_default();
        let found = format!("{} parked since {}: {}", group["count"], text("first"), text("means"));
        Finding::new("dead_letters", Status::Warning, found).about(text("reason")).mend(text("mend"))
    });
    parked.collect()
}
