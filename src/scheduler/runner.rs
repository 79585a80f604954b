//! Runs the jobs on their cron, in one process at a time.
//!
//! `tokio-cron-scheduler` says when; the lease says who; the due time in the database says whether the run was made. At
//! most times there is nothing to do, which every process finds by itself, without a lease, a run or a write: a job
//! with such a check runs when it finds something, and every few minutes, when the sweep finds it due. A
//! job that is still running when its time comes again is left alone; one whose time passed while no process ran, or
//! whose runner crashed, is found by the sweep and run then. A process whose run failed releases the lease and skips
//! the next run so that another process can try. Every run leaves a report, but for those that found nothing to do
//! less than the length of a lease after such a report: what runs each second must not cost a synced write each second.
//! To other processes the job is overdue meanwhile; the lease keeps them from running it. What must stay true: a run
//! is made under the lease, which is renewed for as long as it lasts; what it does is safe to do twice or fenced, so a
//! leader that outlived its lease does no harm.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::join_all;
use metrics::gauge;
use tokio::time::{MissedTickBehavior, interval};
use tokio_cron_scheduler::{Job as CronJob, JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::job::{Check, Context, Job, Reading, Running};
use super::outcome::report_of;
use super::registry::JOBS;
use super::schedule::When;
use super::shown::Shown;
use super::token_refresh::Tokens;
use crate::bus::Bus;
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, ConfigHandle};
use crate::sealed_box::CannotSeal;
use crate::store::{DbError, JobOutcome, JobRun, Lease, Store, job_waits};
use crate::telemetry;
use crate::wechat::platform::PlatformClient;
use crate::wechat::transport::Client;

/// How long, from when the job is due again, a process whose run failed leaves it to the others. They check when it is
/// due; one that is alone comes back soon.
const SIT_OUT: Duration = Duration::from_secs(3);

/// How often a job with a check runs at least: operators see by its report that it can.
pub const AT_LEAST: When = When::every_minutes(5);

/// What the scheduler works with.
pub struct Parts {
    pub config: ConfigHandle,
    pub store: Store,
    pub bus: Bus,
    /// The way to WeChat's pay API.
    pub wechat: Client,
    /// The way to WeChat's platform.
    pub platform: PlatformClient,
    /// The time, as the database has it: a host whose own clock is wrong must not stop the jobs of all the others.
    pub clock: Clock,
    /// How often each job runs though a check finds nothing to do. One with a rhythm as rare is not checked.
    pub at_least: When,
}

/// Why the scheduler does not run.
#[derive(Debug, thiserror::Error)]
pub enum SchedulerError {
    /// The cron could not be set up.
    #[error(transparent)]
    Cron(#[from] JobSchedulerError),
    /// No key could be derived from `web.session_key`.
    #[error("the key of stored tokens: {0}")]
    Seal(#[from] CannotSeal),
}

/// Runs until cancelled; jobs that run then finish first. Each lease is released as soon as its job has ended, so
/// that another process goes on at once.
pub async fn run(parts: Parts, holder: String, cancel: CancellationToken) -> Result<(), SchedulerError> {
    let Parts { config, store, bus, wechat, platform, clock, at_least } = parts;
    // A key that cannot be derived stops the start; it stays the same until the next one.
    Tokens::new(&config.snapshot(), platform.clone())?;
    let shared = Arc::new(Shared { config, store, bus, clock, wechat, platform, holder });
    let runners: Vec<Arc<Runner>> =
        JOBS.iter().map(|job| Arc::new(Runner::new((job, at_least), Arc::clone(&shared), cancel.clone()))).collect();
    let running = TaskTracker::new();
    let mut cron = JobScheduler::new().await?;
    for runner in &runners {
        let (runner, running) = (Arc::clone(runner), running.clone());
        let due = CronJob::new_async(runner.job.when.cron(), move |_, _| {
            let runner = Arc::clone(&runner);
            Box::pin(running.track_future(async move { runner.run(runner.check).await }))
        })?;
        cron.add(due).await?;
    }
    cron.start().await?;
    let sweep = running.spawn(sweep(shared, runners.clone(), running.clone(), cancel.clone()));
    cancel.cancelled().await;
    cron.shutdown().await?;
    join_all(runners.iter().map(|runner| runner.rest())).await;
    running.close();
    running.wait().await;
    // A sweep that panicked is a defect that the next start would hide.
    if let Err(e) = sweep.await {
        tracing::error!(error = %e, "the sweep for missed runs did not end well");
    }
    Ok(())
}

/// What all jobs of this process share.
struct Shared {
    config: ConfigHandle,
    store: Store,
    bus: Bus,
    clock: Clock,
    wechat: Client,
    platform: PlatformClient,
    holder: String,
}

impl Shared {
    /// The refresher of the apps that the configuration has now.
    fn tokens(&self, config: &Config) -> Option<Arc<Tokens>> {
        Tokens::new(config, self.platform.clone()).ok().flatten().map(Arc::new)
    }
}

/// Makes the jobs known and puts right what a wrong clock wrote, then starts what is due and was not run, again and
/// again.
async fn sweep(shared: Arc<Shared>, runners: Vec<Arc<Runner>>, running: TaskTracker, cancel: CancellationToken) {
    let mut ticks = interval(shared.config.snapshot().store.lease);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while cancel.run_until_cancelled(ticks.tick()).await.is_some() {
        match due(&shared, &runners).await {
            Ok(due) => {
                for runner in due {
                    running.spawn(async move { runner.run(None).await });
                }
            }
            Err(e) => tracing::warn!(error = %e, "missed runs cannot be checked"),
        }
    }
}

/// What is due and was not run. Also reports clock skew and token age.
async fn due(shared: &Shared, runners: &[Arc<Runner>]) -> Result<Vec<Arc<Runner>>, DbError> {
    let ahead_s = shared.clock.host_ahead_ms(shared.store.db().now().await?) / 1000;
    gauge!(telemetry::CLOCK_AHEAD_SECONDS).set(ahead_s as f64);
    let now = shared.clock.now();
    if let Some(tokens) = shared.tokens(&shared.config.snapshot()) {
        tokens.publish_ages(&shared.store, now).await?;
    }
    let mut due = Vec::new();
    let registered = shared.store.registered_jobs().await?;
    for runner in runners {
        let (job, next) = (runner.job, runner.due.next_after(now));
        let deadline_ms = i64::try_from(job.deadline.as_millis()).unwrap_or(i64::MAX);
        let known = registered.get(job.name).filter(|known| known.is_right(&job.when.cron(), deadline_ms, next));
        let stored = match known {
            Some(known) => Some(known.next_due),
            None => {
                shared.store.register_job(job.name, &job.when.cron(), deadline_ms, now, next).await?;
                shared.store.job_due_at(job.name).await?
            }
        };
        if stored.is_none_or(|stored| !job_waits(stored, now, next)) {
            runner.heed(stored);
            due.push(Arc::clone(runner));
        }
    }
    Ok(due)
}

/// One job in this process.
struct Runner {
    job: &'static Job,
    check: Option<Check>,
    /// When a run is due by the database, whatever a check finds.
    due: When,
    shared: Arc<Shared>,
    busy: AtomicBool,
    /// The lease, and when it was last acquired at the earliest: released at the end.
    held: Mutex<Option<(Lease, Instant)>>,
    /// The last run that this process made.
    last: Mutex<Option<LastRun>>,
    /// Until when the job is left to others, after a run that failed here.
    sits_out_until: Mutex<Option<Instant>>,
    shown: Arc<Shown>,
    cancel: CancellationToken,
}

/// What a process remembers of its last run of a job.
#[derive(Clone, Copy)]
struct LastRun {
    idle: bool,
    /// When the last reported run began.
    reported: Timestamp,
    next_due: Timestamp,
    /// The due time that the last report left in the database.
    stored_due: Timestamp,
}

impl Runner {
    fn new((job, at_least): (&'static Job, When), shared: Arc<Shared>, cancel: CancellationToken) -> Runner {
        let check = job.check.filter(|_| at_least.period() > job.when.period());
        Runner {
            job,
            check,
            due: if check.is_some() { at_least } else { job.when },
            shared,
            busy: AtomicBool::new(false),
            held: Mutex::default(),
            last: Mutex::default(),
            sits_out_until: Mutex::default(),
            shown: Arc::default(),
            cancel,
        }
    }

    /// A due time that this process's last report did not leave was set by an operator, or by another process: what is
    /// remembered of the last run does not count any more, nor that it failed.
    fn heed(&self, stored: Option<Timestamp>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| stored != Some(last.stored_due)) {
            *last = None;
            *self.sits_out_until.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// Runs the job if there is something to do, or without a check if it is due, and this process gets the lease.
    async fn run(&self, check: Option<Check>) {
        {
            let Some(_running) = Running::begin(&self.busy) else { return };
            // Checked while busy: a shutdown either sees this run and leaves the lease to it, or is seen here.
            if self.cancel.is_cancelled() || self.sits_out() {
                return;
            }
            let config = self.shared.config.snapshot();
            if let Some(check) = check
                && !self.finds(check, &config).await
            {
                return;
            }
            match self.acquire(&config, check.is_some()).await {
                Ok(Some(lease)) => self.run_under(lease, config).await,
                Ok(None) => {}
                Err(e) => {
                    tracing::warn!(job = self.job.name, error = %e, "the lease cannot be acquired");
                    self.sit_out(Duration::ZERO);
                    self.give_back().await;
                }
            }
        }
        if self.cancel.is_cancelled() {
            self.rest().await;
        }
    }

    fn reading(&self, config: &Arc<Config>) -> Reading {
        let Shared { store, bus, clock, .. } = &*self.shared;
        Reading {
            config: Arc::clone(config),
            store: store.clone(),
            bus: bus.clone(),
            clock: clock.clone(),
            tokens: self.shared.tokens(config),
            shown: Arc::clone(&self.shown),
        }
    }

    /// Whether there is something to do. What cannot be read now is read again at the next time.
    async fn finds(&self, check: Check, config: &Arc<Config>) -> bool {
        let started = Instant::now();
        let checked = std::panic::AssertUnwindSafe(check(self.reading(config))).catch_unwind();
        let checked = tokio::time::timeout(self.job.deadline, checked).await;
        let outcome = if matches!(checked, Ok(Ok(Ok(_)))) { "checked" } else { JobOutcome::Failed.as_str() };
        metrics::histogram!(telemetry::JOB_SECONDS, "job" => self.job.name, "outcome" => outcome)
            .record(started.elapsed());
        let error = match checked {
            Ok(Ok(Ok(finds))) => return finds,
            Ok(Ok(Err(e))) => e.to_string(),
            Ok(Err(_)) => "it panicked".to_owned(),
            Err(_) => "it did not end in time".to_owned(),
        };
        tracing::warn!(job = self.job.name, error, "it cannot be checked whether there is something to do");
        self.shown.cease();
        false
    }

    async fn acquire(&self, config: &Config, finds: bool) -> Result<Option<Lease>, DbError> {
        let Shared { store, clock, .. } = &*self.shared;
        let now = clock.now();
        let next = self.due.next_after(now);
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if !finds && last.is_some_and(|last| job_waits(last.next_due, now, next)) {
            return Ok(None);
        }
        let Some(lease) = self.lease(config.store.lease).await? else { return Ok(None) };
        // The process that held the lease before may have made this very run.
        let is_due = finds || store.is_job_due(self.job.name, now, next).await?;
        Ok(is_due.then_some(lease))
    }

    /// The lease of the job: each has its own, so that one that hangs in one process is taken over by another. One
    /// acquired a short while ago is still held and not written again.
    async fn lease(&self, lease_for: Duration) -> Result<Option<Lease>, DbError> {
        let Shared { store, holder, .. } = &*self.shared;
        let asked = Instant::now();
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).take();
        let lease = match held {
            Some((lease, acquired)) if asked.duration_since(acquired) < lease_for / 3 => Some((lease, acquired)),
            Some(_) | None => store.lease(self.job.name, holder, lease_for).await?.map(|lease| (lease, asked)),
        };
        if lease.is_none() && self.check.is_none() {
            self.shown.cease();
        }
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = lease.clone();
        Ok(lease.map(|(lease, _)| lease))
    }

    /// Releases the lease unless the job still runs, which then does it at its end.
    async fn rest(&self) {
        if !self.busy.load(Ordering::SeqCst) {
            self.give_back().await;
        }
    }

    /// A job that fails here may succeed elsewhere: the process that checks when it is due again, in `due_in`, runs it.
    fn sit_out(&self, due_in: Duration) {
        let until = Instant::now() + due_in + SIT_OUT;
        *self.sits_out_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    fn sits_out(&self) -> bool {
        let until = *self.sits_out_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    async fn give_back(&self) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((lease, _)) = held
            && let Err(e) = self.shared.store.release(&lease).await
        {
            tracing::info!(job = self.job.name, error = %e, "the lease runs out by itself");
        }
    }

    async fn run_under(&self, lease: Lease, config: Arc<Config>) {
        let lease_for = config.store.lease;
        let Shared { clock, wechat, .. } = &*self.shared;
        let (job, started, started_at) = (self.job, Instant::now(), clock.now());
        tracing::trace!(job = job.name, lease.term, "runs");
        let ctx = Context {
            reading: self.reading(&config),
            wechat: wechat.clone(),
            lease: lease.clone(),
            jobs: JOBS,
            cancel: self.cancel.clone(),
        };
        let begun = OnceLock::new();
        let run = std::panic::AssertUnwindSafe((job.run)(ctx)).catch_unwind();
        // Both at once: a run that holds the only writer must go on while the renewal waits for it.
        let ended = tokio::select! {
            biased;
            ended = tokio::time::timeout(job.deadline, run) => ended,
            never = self.renewing(&lease, lease_for, started_at, &begun) => match never {},
        };
        let (outcome, done, detail) = match ended {
            Err(_) => {
                tracing::error!(job = job.name, deadline_s = job.deadline.as_secs(), "did not end in time");
                (JobOutcome::Late, 0, None)
            }
            Ok(Err(_)) => {
                tracing::error!(job = job.name, "panicked");
                (JobOutcome::Panic, 0, None)
            }
            Ok(Ok(ended)) => report_of(job.name, ended),
        };
        metrics::histogram!(telemetry::JOB_SECONDS, "job" => job.name, "outcome" => outcome.as_str())
            .record(started.elapsed());
        let ended_at = clock.now();
        if outcome.is_failure() {
            // Before the report: a request that follows it ends this. By the time at the end: the clock may have been
            // set meanwhile.
            self.sit_out(job.when.next_after(ended_at).since(ended_at));
        }
        self.report(&lease, begun.get().copied(), JobRun { started_at, ended_at, outcome, done, detail }).await;
        if outcome.is_failure() {
            self.give_back().await;
        }
    }

    /// Reports a run, unless it was idle like the one before and that one's report is recent.
    async fn report(&self, lease: &Lease, begun: Option<i64>, run: JobRun) {
        let started_at = run.started_at;
        let idle = run.outcome == JobOutcome::Idle && begun.is_none();
        // From the start: what became due while it ran, it may not have seen. What failed comes again soon, whatever a
        // check finds.
        let when = if run.outcome.is_failure() { self.job.when } else { self.due };
        let next_due = when.next_after(started_at);
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = |last: &LastRun| {
            let until = last.reported.after(self.shared.config.snapshot().store.lease);
            idle && last.idle && (last.reported..until).contains(&started_at)
        };
        let reported = match last.filter(recent) {
            Some(last) => Some((last.reported, last.stored_due)),
            None => match self.shared.store.report_job(lease, begun, &run, next_due).await {
                Ok(()) => Some((started_at, next_due)),
                Err(e) => {
                    tracing::warn!(job = self.job.name, error = %e, "the run cannot be reported");
                    None
                }
            },
        };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) =
            reported.map(|(reported, stored_due)| LastRun { idle, reported, next_due, stored_due });
    }

    /// Keeps the lease for as long as the run lasts, and reports a long run.
    async fn renewing(
        &self,
        lease: &Lease,
        lease_for: Duration,
        started_at: Timestamp,
        begun: &OnceLock<i64>,
    ) -> Infallible {
        let (store, name) = (&self.shared.store, self.job.name);
        loop {
            // Well within the lease: two renewals may fail.
            tokio::time::sleep(lease_for / 3).await;
            match store.lease(name, &lease.holder, lease_for).await {
                Ok(Some(kept)) if kept.term == lease.term => {}
                Ok(Some(_) | None) => tracing::warn!(job = name, "another process took the job over while it ran"),
                Err(e) => tracing::warn!(job = name, error = %e, "the lease cannot be renewed"),
            }
            if begun.get().is_none() {
                match store.begin_job_report(lease, started_at).await {
                    Ok(id) => _ = begun.set(id),
                    Err(e) => tracing::warn!(job = name, error = %e, "the run cannot be reported"),
                }
            }
        }
    }
}
