//! `GET /v1/ops/jobs`: what the scheduler does, when each job is due next, which process holds the lease, and how the
//! last runs went. `POST /v1/ops/jobs/{name}/run` makes one due now.
//!
//! Read from the database, not from a process: every ingress answers the same, whichever process runs the jobs.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use super::operator;
use super::query::reason_of_body;
use crate::clock::Timestamp;
use crate::http::extract::auth::{Authorized, Ops};
use crate::http::extract::path::TextPath;
use crate::http::extract::posted::Posted;
use crate::http::extract::query::{NoQuery, StrictQuery};
use crate::http::problem::Error;
use crate::http::state::HttpState;
use crate::ops;
use crate::store::{JobReport, JobView, RunNow};

#[derive(Serialize)]
struct Jobs {
    jobs: Vec<JobJson>,
}

#[derive(Serialize)]
struct JobJson {
    name: String,
    cron: String,
    deadline_ms: i64,
    next_due: Timestamp,
    lease: Option<LeaseJson>,
    last: Option<ReportJson>,
    last_done: Option<ReportJson>,
    last_failed: Option<ReportJson>,
}

#[derive(Serialize)]
struct LeaseJson {
    holder: String,
    term: i64,
    expires_at: Timestamp,
}

#[derive(Serialize)]
struct ReportJson {
    outcome: &'static str,
    started_at: Timestamp,
    ended_at: Option<Timestamp>,
    done: u64,
    detail: Option<String>,
    holder: String,
    term: i64,
}

pub async fn jobs(app: HttpState, caller: Authorized<Ops>, _: StrictQuery<NoQuery>) -> Result<Response, Error> {
    let jobs = ops::jobs::list(&app.store, caller.sees_all(&app.config)).await?;
    let jobs = jobs.into_iter().map(JobJson::from).collect();
    Ok(axum::Json(Jobs { jobs }).into_response())
}

/// `POST /v1/ops/jobs/{name}/run`: `{"reason": "…"}`.
pub async fn run(
    app: HttpState,
    caller: Authorized<Ops>,
    _: StrictQuery<NoQuery>,
    TextPath(name): TextPath,
    request: Request,
) -> Result<Response, Error> {
    let Posted { body, client, .. } = Posted::json(&app, request).await?;
    let reason = reason_of_body(&body)?;
    let now = app.clock.now();
    let result = match ops::jobs::run(&app.store, &operator(&caller, client), &name, &reason, now).await? {
        RunNow::Due => "done",
        RunNow::DueBefore => "repeated",
        RunNow::Running => "running",
        RunNow::Unknown => return Err(Error::NotFound("job")),
    };
    Ok((StatusCode::ACCEPTED, axum::Json(json!({"job": name, "result": result, "at": now}))).into_response())
}

impl From<JobView> for JobJson {
    fn from(job: JobView) -> JobJson {
        JobJson {
            name: job.name,
            cron: job.cron,
            deadline_ms: job.deadline_ms,
            next_due: job.next_due,
            lease: job.lease.map(|(holder, term, expires_at)| LeaseJson { holder, term, expires_at }),
            last: job.last.map(ReportJson::from),
            last_done: job.last_done.map(ReportJson::from),
            last_failed: job.last_failed.map(ReportJson::from),
        }
    }
}

impl From<JobReport> for ReportJson {
    fn from(report: JobReport) -> ReportJson {
        ReportJson {
            outcome: report.outcome.as_str(),
            started_at: report.started_at,
            ended_at: report.ended_at,
            done: report.done,
            detail: report.detail,
            holder: report.holder,
            term: report.term,
        }
    }
}
