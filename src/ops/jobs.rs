//! The scheduler's jobs.

use super::operator::Operator;
use crate::clock::Timestamp;
use crate::store::{AuditEntry, DbError, JobView, RunNow, Store};

/// Every job with its lease and its last runs, by name. What a run says in words names merchants, and what WeChat
/// answered about them: it is for those who see them all.
pub async fn list(store: &Store, sees_all: bool) -> Result<Vec<JobView>, DbError> {
    let mut jobs = store.jobs().await?;
    if !sees_all {
        for job in &mut jobs {
            for report in [&mut job.last, &mut job.last_done, &mut job.last_failed].into_iter().flatten() {
                report.detail = None;
            }
        }
    }
    Ok(jobs)
}

/// Makes a job due now: the process that gets its lease runs it within `store.lease_ms`. A job concerns every merchant:
/// for an operator who sees only some it is unknown.
pub async fn run(
    store: &Store,
    operator: &Operator,
    name: &str,
    reason: &str,
    now: Timestamp,
) -> Result<RunNow, DbError> {
    if operator.merchants.is_some() {
        return Ok(RunNow::Unknown);
    }
    let audit = AuditEntry {
        at: now,
        actor: operator.name.clone(),
        actor_id: Some(operator.id.clone()),
        remote_addr: operator.remote_addr.clone(),
        action: "job.run",
        merchant: None,
        order_no: None,
        transaction_id: None,
        subject: Some(format!("job:{name}")),
        reason: reason.to_owned(),
        result: "done".to_owned(),
    };
    store.run_job_now(name, &audit).await
}
