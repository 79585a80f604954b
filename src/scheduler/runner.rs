//! A job in this process: whether it has something to do, its lease, its runs and their reports.
//!
//! At most times there is nothing to do, which every process finds by itself, without a lease, a run or a write. Every
//! run leaves a report, but for those that found nothing to do less than the length of a lease after such a report. A
//! process whose run failed releases the lease and skips the next run so that another process can try. What must stay
//! true: a run is made under the lease, which is renewed for as long as it lasts; what it does is safe to do twice or
//! fenced, so a leader that outlived its lease does no harm.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

use super::job::{Check, Context, Job, Reading, Running};
use super::outcome::report_of;
use super::registry::JOBS;
use super::rests::{Next, Rests};
use super::schedule::When;
use super::shown::Shown;
use super::token_refresh::Tokens;
use crate::bus::Bus;
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, ConfigHandle};
use crate::store::{DbError, JobOutcome, JobRun, Lease, Store, job_waits};
use crate::telemetry;
use crate::wechat::platform::PlatformClient;
use crate::wechat::transport::Client;

/// How long, from when the job is due again, a process whose run failed leaves it to the others. They check when it is
/// due; one that is alone comes back soon.
const SIT_OUT: Duration = Duration::from_secs(3);
/// How often in a row that time is doubled while runs fail: to 24 seconds.
const LONGER_AT_MOST: u32 = 3;

/// What all jobs of this process share.
pub(super) struct Shared {
    pub config: ConfigHandle,
    pub store: Store,
    pub bus: Bus,
    pub clock: Clock,
    pub wechat: Client,
    pub platform: PlatformClient,
    pub holder: String,
}

impl Shared {
    /// The refresher of the apps that the configuration has now.
    pub fn tokens(&self, config: &Config) -> Option<Arc<Tokens>> {
        Tokens::new(config, self.platform.clone()).ok().flatten().map(Arc::new)
    }
}

/// One job in this process.
pub(super) struct Runner {
    pub job: &'static Job,
    pub check: Option<Check>,
    /// When a run is due by the database, whatever a check finds.
    pub due: When,
    shared: Arc<Shared>,
    busy: AtomicBool,
    rests: Mutex<Rests>,
    /// The lease, and when it was last acquired at the earliest: released at the end.
    held: Mutex<Option<(Lease, Instant)>>,
    /// The last run that this process made.
    last: Mutex<Option<LastRun>>,
    /// Until when the job is left to others, after a run that failed here.
    sits_out_until: Mutex<Option<Instant>>,
    /// Runs that failed here in a row.
    failures: AtomicU32,
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
    pub fn new((job, at_least): (&'static Job, When), shared: Arc<Shared>, cancel: CancellationToken) -> Runner {
        let check = job.check.filter(|_| at_least.period() > job.when.period());
        Runner {
            job,
            check,
            due: if check.is_some() { at_least } else { job.when },
            rests: Mutex::new(Rests::new(shared.store.db().polls())),
            shared,
            busy: AtomicBool::new(false),
            held: Mutex::default(),
            last: Mutex::default(),
            sits_out_until: Mutex::default(),
            failures: AtomicU32::new(0),
            shown: Arc::default(),
            cancel,
        }
    }

    /// A due time that this process's last report did not leave was set by an operator, or by another process: what is
    /// remembered of the last run does not count any more, nor that it failed.
    pub fn heed(&self, stored: Option<Timestamp>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| stored != Some(last.stored_due)) {
            *last = None;
            *self.sits_out_until.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// Runs the job if there is something to do, or without a check if it is due, and this process gets the lease.
    pub async fn run(&self, check: Option<Check>) {
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
                Ok(Some(lease)) => self.run_under(lease, config, check.is_some()).await,
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

    fn reading(&self, config: &Arc<Config>, ahead: Duration) -> Reading {
        let Shared { store, bus, clock, .. } = &*self.shared;
        Reading {
            config: Arc::clone(config),
            store: store.clone(),
            bus: bus.clone(),
            clock: clock.clone(),
            ahead,
            tokens: self.shared.tokens(config),
            shown: Arc::clone(&self.shown),
        }
    }

    /// Whether there is something to do.
    async fn finds(&self, check: Check, config: &Arc<Config>) -> bool {
        let now = self.shared.clock.now();
        let next = if self.job.rests { self.resting().next(config, now) } else { Next::Now };
        if let Next::Within(ahead) = next
            && !self.finds_within(ahead, check, config).await
        {
            self.resting().begin(Arc::clone(config), now);
            return false;
        }
        next != Next::Nothing && self.finds_within(Duration::ZERO, check, config).await
    }

    fn resting(&self) -> MutexGuard<'_, Rests> {
        self.rests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something is due by then, or it cannot be said: a run then says why in its report, or does what it can.
    async fn finds_within(&self, ahead: Duration, check: Check, config: &Arc<Config>) -> bool {
        let started = Instant::now();
        let checked = std::panic::AssertUnwindSafe(check(self.reading(config, ahead))).catch_unwind();
        let error = match tokio::time::timeout(self.job.deadline, checked).await {
            Ok(Ok(Ok(finds))) => {
                metrics::histogram!(telemetry::JOB_SECONDS, "job" => self.job.name, "outcome" => "checked")
                    .record(started.elapsed());
                return finds;
            }
            Ok(Ok(Err(e))) => e.to_string(),
            Ok(Err(_)) => "it panicked".to_owned(),
            Err(_) => "it did not end in time".to_owned(),
        };
        tracing::warn!(job = self.job.name, error, "it cannot be checked whether there is something to do");
        true
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
    pub async fn rest(&self) {
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

    async fn run_under(&self, lease: Lease, config: Arc<Config>, was_found: bool) {
        let lease_for = config.store.lease;
        let Shared { clock, wechat, .. } = &*self.shared;
        let (job, started, started_at) = (self.job, Instant::now(), clock.now());
        tracing::trace!(job = job.name, lease.term, "runs");
        let ctx = Context {
            reading: self.reading(&config, Duration::ZERO),
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
            let failures = self.failures.fetch_add(1, Ordering::SeqCst).min(LONGER_AT_MOST);
            self.sit_out(job.when.next_after(ended_at).since(ended_at) + SIT_OUT * ((1 << failures) - 1));
        } else {
            self.failures.store(0, Ordering::SeqCst);
        }
        let run = JobRun { started_at, ended_at, outcome, done, detail };
        self.report(&lease, begun.get().copied(), run, was_found).await;
        if outcome.is_failure() {
            self.give_back().await;
        }
    }

    /// Reports a run, unless it was idle like the one before and that one's report is recent.
    async fn report(&self, lease: &Lease, begun: Option<i64>, run: JobRun, was_found: bool) {
        let started_at = run.started_at;
        let idle = run.outcome == JobOutcome::Idle && begun.is_none();
        // From the start: what became due while it ran, it may not have seen. What failed comes again soon: what a
        // check found, it finds again.
        let when = if run.outcome.is_failure() && !was_found { self.job.when } else { self.due };
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
