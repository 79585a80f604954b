//! Jobs and their runs: when each is due next, and a row per run that operators can read.
//!
//! The due time is in the database and not in a process, so that a missed run, because no process was up or the one
//! that began it crashed, is noticed by the next process to check. A due time further ahead than the interval allows
//! was written under clock skew: the job is due, and the time is corrected. Rows are bounded by the retention job: runs
//! that found nothing to do are kept for an hour, those of the every-second jobs that did something for a day, all
//! others for fourteen days.

use std::collections::HashMap;
use std::time::Duration;

use sea_orm::sea_query::{Expr, Query};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QueryTrait, Set};

use super::Store;
use super::db::DbError;
use super::entity::{job, job_report};
use super::leases::Lease;
use super::order::rows::unknown;
use super::payment::audit::{AuditEntry, write_audit};
use super::writer::WriteTx;
use crate::clock::Timestamp;

/// A due time so much later than the rhythm says is another host's clock, and not a wrong one.
const SLACK: Duration = Duration::from_secs(10);

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobOutcome {
    /// Not yet. Or never: its process died, which the lease's term tells.
    Running,
    /// There was nothing to do.
    Idle,
    /// It did something.
    Done,
    /// It failed; the next run tries again.
    Failed,
    /// It was stopped at its deadline.
    Late,
    /// It panicked: a defect.
    Panic,
}

named!(JobOutcome {
    Running = "running",
    Idle = "idle",
    Done = "done",
    Failed = "failed",
    Late = "late",
    Panic = "panic",
});

impl JobOutcome {
    /// Whether the run ended without doing what it should.
    pub const fn is_failure(self) -> bool {
        match self {
            JobOutcome::Running | JobOutcome::Idle | JobOutcome::Done => false,
            JobOutcome::Failed | JobOutcome::Late | JobOutcome::Panic => true,
        }
    }
}

/// A run that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRun {
    pub started_at: Timestamp,
    pub ended_at: Timestamp,
    pub outcome: JobOutcome,
    /// How much it did, in whatever the job counts.
    pub done: u64,
    /// What people should know of it. No secret, no personal data.
    pub detail: Option<String>,
}

/// A run as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobReport {
    /// The process that ran it.
    pub holder: String,
    /// The term of its lease.
    pub term: i64,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub outcome: JobOutcome,
    /// How much it did.
    pub done: u64,
    /// What people should know of it.
    pub detail: Option<String>,
}

/// A job as operators see it.
#[derive(Debug, Clone)]
pub struct JobView {
    pub name: String,
    /// Its cron expression, with seconds, in UTC.
    pub cron: String,
    /// A run is stopped after this many milliseconds.
    pub deadline_ms: i64,
    /// When it is due next.
    pub next_due: Timestamp,
    /// The current lease, if held: holder, term and expiry by the database's clock.
    pub lease: Option<(String, i64, Timestamp)>,
    pub last: Option<JobReport>,
    /// The last run that did something.
    pub last_done: Option<JobReport>,
    /// The last run that failed, was late or panicked.
    pub last_failed: Option<JobReport>,
}

/// What became of a request to run a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunNow {
    /// It is due now.
    Due,
    /// It was due already, and no process has its lease.
    DueBefore,
    /// It was due already and a process has its lease, so a run may be under way: one that begins after this request
    /// follows.
    Running,
    /// No process knows it.
    Unknown,
}

/// A job as the last process that registered it made it known.
#[derive(Debug, Clone)]
pub struct RegisteredJob {
    cron: String,
    deadline_ms: i64,
    /// When it is due next.
    pub next_due: Timestamp,
}

impl RegisteredJob {
    /// Whether [`Store::register_job`] would change nothing.
    pub fn is_right(&self, cron: &str, deadline_ms: i64, next: Timestamp) -> bool {
        self.cron == cron && self.deadline_ms == deadline_ms && self.next_due <= next.after(SLACK)
    }
}

impl Store {
    /// Every job that some process registered, by name.
    pub async fn registered_jobs(&self) -> Result<HashMap<String, RegisteredJob>, DbError> {
        let rows = job::Entity::find().all(self.db.read()).await?;
        let known = |row: job::Model| {
            let next_due = Timestamp::from_ms(row.next_due_at_ms);
            (row.name, RegisteredJob { cron: row.cron, deadline_ms: row.deadline_ms, next_due })
        };
        Ok(rows.into_iter().map(known).collect())
    }

    /// Makes a job known, or puts it right. A new one is due at once, and a run that was missed stays due; a due time
    /// that lies beyond `next`, the first one of its rhythm after now, becomes `next`: the cron changed, or a clock was
    /// wrong.
    pub async fn register_job(
        &self,
        name: &str,
        cron: &str,
        deadline_ms: i64,
        now: Timestamp,
        next: Timestamp,
    ) -> Result<(), DbError> {
        let sql = "INSERT INTO jobs (name, cron, deadline_ms, next_due_at_ms) VALUES ($1, $2, $3, $4)
                   ON CONFLICT (name) DO UPDATE SET cron = excluded.cron, deadline_ms = excluded.deadline_ms,
                     next_due_at_ms = CASE WHEN jobs.next_due_at_ms <= $6 THEN jobs.next_due_at_ms ELSE $5 END
                   WHERE jobs.cron <> excluded.cron OR jobs.deadline_ms <> excluded.deadline_ms
                     OR jobs.next_due_at_ms > $6";
        let times = [now, next, next.after(SLACK)].map(|t| t.as_ms().into());
        let values = [name.into(), cron.into(), deadline_ms.into()].into_iter().chain(times);
        self.db.execute("job.register", sql, values.collect::<Vec<_>>()).await?;
        Ok(())
    }

    /// Whether this job is due; `next` is the first scheduled time after `now`. Must be checked under the lease: its
    /// previous holder may have run the job just now.
    pub async fn is_job_due(&self, name: &str, now: Timestamp, next: Timestamp) -> Result<bool, DbError> {
        let row = job::Entity::find_by_id(name).one(self.db.read()).await?;
        Ok(!row.is_some_and(|row| job_waits(Timestamp::from_ms(row.next_due_at_ms), now, next)))
    }

    /// When a job is due next; none where no process has registered it.
    pub async fn job_due_at(&self, name: &str) -> Result<Option<Timestamp>, DbError> {
        let row = job::Entity::find_by_id(name).one(self.db.read()).await?;
        Ok(row.map(|row| Timestamp::from_ms(row.next_due_at_ms)))
    }

    /// Makes a job due now, with its row in the audit; whichever process gets its lease runs it.
    pub async fn run_job_now(&self, name: &str, audit: &AuditEntry) -> Result<RunNow, DbError> {
        let write = (name.to_owned(), audit.clone());
        self.db.write("job.run_now", write, |tx, (name, audit)| Box::pin(run_now(tx, name, audit))).await
    }

    /// Notes a run that goes on for longer; its number goes to [`Store::report_job`] at the end.
    pub async fn begin_job_report(&self, lease: &Lease, started_at: Timestamp) -> Result<i64, DbError> {
        let row = report_row(lease, started_at, JobOutcome::Running);
        let mut insert = job_report::Entity::insert(row);
        insert.query().returning(Query::returning().column(job_report::Column::Id));
        let rows = self.db.write("job.begin", insert, |tx, insert| Box::pin(tx.returning(insert))).await?;
        rows.first().ok_or_else(|| DbError::Defect("a report without a number".into()))?.get("id")
    }

    /// Records a run that ended and when the job is due next, in one transaction.
    pub async fn report_job(
        &self,
        lease: &Lease,
        begun: Option<i64>,
        run: &JobRun,
        next_due: Timestamp,
    ) -> Result<(), DbError> {
        let row = job_report::ActiveModel {
            id: begun.map_or(sea_orm::NotSet, sea_orm::Unchanged),
            ended_at_ms: Set(Some(run.ended_at.as_ms())),
            done: Set(i64::try_from(run.done).unwrap_or(i64::MAX)),
            detail: Set(run.detail.clone()),
            ..report_row(lease, run.started_at, run.outcome)
        };
        let write = (row, lease.name, next_due);
        self.db.write("job.report", write, |tx, (row, job, next)| Box::pin(report(tx, row, job, *next))).await
    }

    /// Every job with its last runs, by name.
    pub async fn jobs(&self) -> Result<Vec<JobView>, DbError> {
        use JobOutcome::{Done, Failed, Late, Panic};
        // The runs are read before the due times: a due time shown beside a run is never the one that the run made
        // good.
        let mut runs = HashMap::new();
        for row in job::Entity::find().all(self.db.read()).await? {
            let last = self.last_report(&row.name, &[]).await?;
            let last_done = self.last_report(&row.name, &[Done]).await?;
            let last_failed = self.last_report(&row.name, &[Failed, Late, Panic]).await?;
            runs.insert(row.name, (last, last_done, last_failed));
        }
        let now_ms = self.db.now_ms_sql();
        let sql = format!(
            "SELECT jobs.name, jobs.cron, jobs.deadline_ms, jobs.next_due_at_ms, leases.holder, leases.term,
               leases.expires_at_ms
             FROM jobs LEFT JOIN leases ON leases.name = jobs.name AND leases.expires_at_ms > {now_ms}
             ORDER BY jobs.name"
        );
        let rows = self.db.read().query_all_raw(self.db.statement(sql, [])).await?;
        rows.into_iter()
            .map(|row| {
                let name: String = row.try_get("", "name")?;
                let holder: Option<String> = row.try_get("", "holder")?;
                let lease = match holder {
                    Some(holder) => {
                        let expires_at = Timestamp::from_ms(row.try_get("", "expires_at_ms")?);
                        Some((holder, row.try_get("", "term")?, expires_at))
                    }
                    None => None,
                };
                let (last, last_done, last_failed) = runs.remove(&name).unwrap_or_default();
                Ok(JobView {
                    name,
                    cron: row.try_get("", "cron")?,
                    deadline_ms: row.try_get("", "deadline_ms")?,
                    next_due: Timestamp::from_ms(row.try_get("", "next_due_at_ms")?),
                    lease,
                    last,
                    last_done,
                    last_failed,
                })
            })
            .collect()
    }

    /// Forgets reports of runs that began before `before`: of one outcome or all, of one job or all. At most `limit`;
    /// answers how many.
    pub async fn purge_job_reports(
        &self,
        outcome: Option<JobOutcome>,
        job: Option<&str>,
        before: Timestamp,
        limit: u64,
    ) -> Result<u64, DbError> {
        let sql = "DELETE FROM job_reports WHERE id IN (
                     SELECT id FROM job_reports
                     WHERE started_at_ms < $1 AND outcome = COALESCE($3, outcome) AND job = COALESCE($4, job)
                     LIMIT $2)";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let outcome = outcome.map(|o| o.as_str().to_owned());
        let values = [before.as_ms().into(), limit.into(), outcome.into(), job.map(ToOwned::to_owned).into()];
        self.db.execute("job.purge_reports", sql, values).await
    }

    async fn last_report(&self, job: &str, outcomes: &[JobOutcome]) -> Result<Option<JobReport>, DbError> {
        let mut find = job_report::Entity::find().filter(job_report::Column::Job.eq(job));
        if !outcomes.is_empty() {
            // The first condition is the one of the index.
            find = find.filter(Expr::cust("outcome <> 'idle'"));
            find = find.filter(job_report::Column::Outcome.is_in(outcomes.iter().map(|o| o.as_str())));
        }
        let row = find.order_by_desc(job_report::Column::Id).one(self.db.read()).await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(JobReport {
            holder: row.holder,
            term: row.term,
            started_at: Timestamp::from_ms(row.started_at_ms),
            ended_at: row.ended_at_ms.map(Timestamp::from_ms),
            outcome: JobOutcome::parse(&row.outcome).ok_or_else(|| unknown("outcome", &row.outcome))?,
            done: u64::try_from(row.done).unwrap_or_default(),
            detail: row.detail,
        }))
    }
}

async fn run_now(tx: &WriteTx, name: &str, audit: &AuditEntry) -> Result<RunNow, DbError> {
    let now = audit.at.as_ms();
    // A due time that another request or a run set meanwhile is not replaced.
    let sql = "UPDATE jobs SET next_due_at_ms = $2 WHERE name = $1 AND next_due_at_ms > $2";
    // A run under way does not make good what is asked for during it: see [`report`].
    let under_way = format!(
        "UPDATE jobs SET next_due_at_ms = $2 WHERE name = $1
           AND EXISTS (SELECT 1 FROM leases WHERE leases.name = $1 AND leases.expires_at_ms > {})",
        tx.kind().now_ms_sql()
    );
    let (outcome, result) = if tx.execute(sql, [name.into(), now.into()]).await? > 0 {
        (RunNow::Due, "done")
    } else if tx.execute(&under_way, [name.into(), now.into()]).await? > 0 {
        (RunNow::Running, "running")
    } else if tx.one("SELECT name FROM jobs WHERE name = $1", [name.into()]).await?.is_some() {
        (RunNow::DueBefore, "repeated")
    } else {
        return Ok(RunNow::Unknown);
    };
    write_audit(tx, &AuditEntry { result: result.to_owned(), ..audit.clone() }).await?;
    Ok(outcome)
}

/// Whether a job whose due time this is waits for it; `next` is the first scheduled time after `now`. A due time beyond
/// it was written under clock skew.
pub fn job_waits(due: Timestamp, now: Timestamp, next: Timestamp) -> bool {
    now < due && due <= next.after(SLACK)
}

fn report_row(lease: &Lease, started_at: Timestamp, outcome: JobOutcome) -> job_report::ActiveModel {
    job_report::ActiveModel {
        id: sea_orm::NotSet,
        job: Set(lease.name.to_owned()),
        holder: Set(lease.holder.clone()),
        term: Set(lease.term),
        started_at_ms: Set(started_at.as_ms()),
        ended_at_ms: Set(None),
        outcome: Set(outcome.as_str().to_owned()),
        done: Set(0),
        detail: Set(None),
    }
}

async fn report(tx: &WriteTx, row: &job_report::ActiveModel, job: &str, next_due: Timestamp) -> Result<(), DbError> {
    match row.id {
        sea_orm::NotSet => tx.run(&job_report::Entity::insert(row.clone())).await?,
        sea_orm::Set(_) | sea_orm::Unchanged(_) => tx.run(&job_report::Entity::update(row.clone()).validate()?).await?,
    };
    // A run that was overtaken must not make the job due again that its successor ran already. A due time after its
    // start, up to its end and what clocks may differ by, was asked for meanwhile and stays.
    let sql = "UPDATE jobs SET next_due_at_ms = $2
               WHERE name = $1 AND next_due_at_ms < $2 AND (next_due_at_ms <= $3 OR next_due_at_ms > $4)";
    let started_at = row.started_at_ms.clone().take().unwrap_or(i64::MAX);
    let ended_at = row.ended_at_ms.clone().take().flatten().unwrap_or(started_at);
    let meanwhile = Timestamp::from_ms(ended_at).after(SLACK).as_ms();
    tx.execute(sql, [job.into(), next_due.as_ms().into(), started_at.into(), meanwhile.into()]).await?;
    Ok(())
}
