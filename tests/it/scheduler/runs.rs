//! Runs: which process makes them, what they leave behind, and what becomes of those that were missed.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wxpay_worker::bus::Bus;
use wxpay_worker::clock::{Clock, Timestamp};
use wxpay_worker::config::ConfigHandle;
use wxpay_worker::ids::MerchantKey;
use wxpay_worker::sandbox::Settings;
use wxpay_worker::scheduler;
use wxpay_worker::scheduler::{AT_LEAST, Parts, SchedulerError};
use wxpay_worker::store::{JobOutcome, JobView, Store, TokenKind};
use wxpay_worker::wechat::platform::PlatformClient;
use wxpay_worker::wechat::transport::Client;

use super::stage::{SHOP, Stage};
use crate::contracts::new_order;
use crate::harness::db::TestDb;
use crate::harness::within_timeout;

const HOUR: Duration = Duration::from_secs(3600);

/// A scheduler as a process runs it; stopped when dropped.
pub struct Process {
    task: JoinHandle<Result<(), SchedulerError>>,
    cancel: CancellationToken,
}

impl Process {
    pub async fn start(stage: &Stage, holder: &str) -> Process {
        Process::start_by(stage, holder, stage.clock.clone()).await
    }

    async fn start_by(stage: &Stage, holder: &str, clock: Clock) -> Process {
        let (bus, _) = Bus::connect(&stage.config.bus, Some(stage.store.db().clone())).await.unwrap();
        let parts = Parts {
            config: ConfigHandle::new(stage.config.clone()),
            store: Store::open(&stage.config.store).await.unwrap(),
            bus,
            wechat: Client::new(&stage.config.wechat).unwrap(),
            platform: PlatformClient::new(&stage.config.wechat).unwrap(),
            clock,
            at_least: AT_LEAST,
        };
        Process::of(parts, holder)
    }

    fn of(parts: Parts, holder: &str) -> Process {
        let cancel = CancellationToken::new();
        let task = tokio::spawn(scheduler::run(parts, holder.to_owned(), cancel.clone()));
        Process { task, cancel }
    }

    pub async fn stop(self) {
        self.cancel.cancel();
        within_timeout("the scheduler's end", self.task).await.unwrap().unwrap();
    }
}

pub async fn real_time() -> Stage {
    let stage = Stage::on(Clock::system(), "stable", Settings::default()).await;
    stage.store.release(&stage.lease).await.unwrap();
    stage
}

/// How often retention was due by the clock since a moment: at minute 7 of each hour, seldom within a test.
fn due_by_the_clock(since: Timestamp) -> i64 {
    let hours = |at: Timestamp| (at.as_ms() - 7 * 60_000).div_euclid(3_600_000);
    hours(Clock::system().now()) - hours(since)
}

/// Asserts how many runs of retention there are, but for one that was due by the clock meanwhile.
async fn retention_ran(stage: &Stage, times: i64, since: Timestamp, why: &str) {
    let runs = stage.count("job_reports WHERE job = 'retention'").await;
    assert!((times..=times + due_by_the_clock(since)).contains(&runs), "{runs} runs instead of {times}: {why}");
}

/// Whether a run of this job has ended. One that takes long is shown before: without its outcome, and with a due time
/// that it has not yet made good.
pub fn has_ended(view: &JobView) -> bool {
    view.last.as_ref().is_some_and(|run| run.ended_at.is_some())
}

/// Whether a run that this process made of the job has ended.
pub fn ended_by(view: &JobView, holder: &str) -> bool {
    has_ended(view) && view.last.as_ref().is_some_and(|run| run.holder == holder)
}

/// Awaits a state of a job that has no signal.
pub async fn until(stage: &Stage, job: &str, what: &str, holds: impl Fn(&JobView) -> bool) -> JobView {
    within_timeout(&format!("{job}: {what}"), async {
        loop {
            let jobs = stage.store.jobs().await.unwrap();
            if let Some(view) = jobs.into_iter().find(|view| view.name == job && holds(view)) {
                return view;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

/// Has a run of a job made that has nothing to do: it is due by the database.
async fn make_due(stage: &Stage, job: &str) {
    execute(stage, &format!("UPDATE jobs SET next_due_at_ms = 1 WHERE name = '{job}'")).await;
}

pub async fn execute(stage: &Stage, sql: &str) {
    stage.store.db().execute("test", String::from(sql), []).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_job_runs_at_the_first_start_and_leaves_a_report_and_its_next_due_time() {
    let stage = real_time().await;
    let process = Process::start(&stage, "one").await;
    for job in
        ["pending_queries", "far_times", "deferred_messages", "orphans", "platform_tokens", "gauges", "retention"]
    {
        let view = until(&stage, job, "a report", has_ended).await;
        let last = view.last.unwrap();
        assert_eq!(
            (last.holder.as_str(), last.outcome == JobOutcome::Failed),
            ("one", false),
            "{job}: {:?}",
            last.detail
        );
        assert!(view.next_due > last.started_at, "{job}");
        // It may have run out by now: not every job comes again before its end.
        let lease = format!("leases WHERE name = '{job}' AND holder = 'one' AND term = {}", last.term);
        assert_eq!(stage.count(&lease).await, 1, "{job}");
    }
    let fetched = |view: &JobView| {
        let detail = view.last_done.as_ref().and_then(|run| run.detail.as_deref());
        detail.is_some_and(|detail| detail.contains("shop access_token: renewed"))
    };
    until(&stage, "platform_tokens", "fetched", fetched).await;
    // And goes on: as soon as there is something to do.
    let first = until(&stage, "pending_queries", "a report", |view| view.last.is_some()).await.last.unwrap();
    stage.store.record_orders(&[new_order(1, 100)]).await.unwrap();
    execute(&stage, "UPDATE orders SET next_query_at_ms = 1").await;
    let done = until(&stage, "pending_queries", "another", |view| view.last_done.is_some()).await;
    assert!(done.last_done.unwrap().started_at > first.started_at);
    process.stop().await;
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_was_missed_is_made_once_at_the_next_start_and_one_that_was_not_is_not() {
    let (stage, begun) = (real_time().await, Clock::system().now());
    let first = Process::start(&stage, "one").await;
    until(&stage, "retention", "its first run", has_ended).await;
    first.stop().await;

    make_due(&stage, "gauges").await;
    let second = Process::start(&stage, "two").await;
    until(&stage, "gauges", "a run of the second process", |view| ended_by(view, "two")).await;
    second.stop().await;
    retention_ran(&stage, 1, begun, "it was not due").await;

    execute(&stage, "UPDATE jobs SET next_due_at_ms = next_due_at_ms - 7200000 WHERE name = 'retention'").await;
    let (third, fourth) = tokio::join!(Process::start(&stage, "three"), Process::start(&stage, "four"));
    let missed = until(&stage, "retention", "the missed run", |view| has_ended(view) && !ended_by(view, "one")).await;
    assert!(missed.next_due > missed.last.unwrap().started_at);
    third.stop().await;
    fourth.stop().await;
    retention_ran(&stage, 2, begun, "two processes made it once").await;
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_stops_gives_its_leases_back_and_the_next_one_goes_on_at_once() {
    let stage = real_time().await;
    stage.faults(json!([{"on": "stable_token", "kind": "hang", "appid": SHOP, "times": 1}])).await;
    let first = Process::start(&stage, "one").await;
    for job in ["retention", "gauges"] {
        until(&stage, job, "its first run", |view| view.last.is_some()).await;
    }
    // One job is in the middle of its run: its lease goes back when that has ended.
    within_timeout("the call that hangs", async {
        while stage.calls("stable_token", SHOP).await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    first.stop().await;
    assert!(stage.count("leases WHERE holder = 'one'").await > 1, "it led several jobs");
    assert_eq!(stage.count("leases WHERE holder = 'one' AND expires_at_ms > 0").await, 0);
    // On a slow machine another one follows it before the stop.
    let ended = stage.count("job_reports WHERE job = 'platform_tokens' AND outcome = 'done'").await;
    assert!(ended >= 1, "it was let end");

    make_due(&stage, "gauges").await;
    let second = Process::start(&stage, "two").await;
    let run = until(&stage, "gauges", "a run", |v| v.last.as_ref().is_some_and(|r| r.holder == "two")).await;
    assert_eq!(run.last.unwrap().term, 2);
    second.stop().await;
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_whose_clock_is_a_day_ahead_stops_no_job_of_the_others() {
    let stage = real_time().await;
    let tomorrow = Clock::host_off_by(24 * 3_600_000);
    let asked = Instant::now();
    tomorrow.set_by(stage.store.db().now().await.unwrap(), asked).expect("it was ahead");
    let wrong = Process::start_by(&stage, "wrong", tomorrow).await;
    for job in ["pending_queries", "platform_tokens", "retention"] {
        let view = until(&stage, job, "a run", has_ended).await;
        let (last, soonest) = (view.last.unwrap(), stage.clock.now().after(Duration::from_secs(5)));
        assert!(last.started_at < soonest && last.ended_at.unwrap() < soonest, "{job}: {last:?}");
        assert!(view.next_due <= soonest.after(HOUR), "{job}: {}", view.next_due);
    }
    let fetched = within_timeout("a token", async {
        loop {
            if let Some(token) = stage.token("shop", TokenKind::AccessToken).await {
                return token;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert!(fetched.expires_at <= stage.clock.now().after(2 * HOUR), "{}", fetched.expires_at);
    wrong.stop().await;
    make_due(&stage, "pending_queries").await;
    let right = Process::start(&stage, "right").await;
    until(&stage, "pending_queries", "a run", |v| v.last.as_ref().is_some_and(|r| r.holder == "right")).await;
    right.stop().await;
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_due_time_that_the_rhythm_cannot_have_set_counts_as_due_and_is_put_right() {
    let (stage, begun) = (real_time().await, Clock::system().now());
    let process = Process::start(&stage, "one").await;
    until(&stage, "retention", "its first run", has_ended).await;
    until(&stage, "pending_queries", "a run", has_ended).await;
    execute(&stage, "UPDATE jobs SET next_due_at_ms = next_due_at_ms + 86400000").await;
    for job in ["pending_queries", "retention"] {
        let soonest = stage.clock.now().after(2 * HOUR);
        until(&stage, job, "is put right", |view| view.next_due < soonest).await;
    }
    retention_ran(&stage, 1, begun, "once in its hour").await;
    process.stop().await;
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_process_died_is_made_by_another_when_its_lease_has_ended() {
    let stage = real_time().await;
    stage.store.lease("retention", "dead", Duration::from_secs(2)).await.unwrap().unwrap();
    let process = Process::start(&stage, "alive").await;
    let run = until(&stage, "retention", "a run", |view| view.last.is_some()).await.last.unwrap();
    assert_eq!((run.holder.as_str(), run.term), ("alive", 2));
    process.stop().await;
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_of_a_merchant_that_the_leader_does_not_know_yet_is_asked_about() {
    let mut stage = real_time().await;
    let new_merchant = MerchantKey::parse("second").unwrap();
    let mut order = new_order(1, 100);
    order.content.merchant = new_merchant.clone();
    stage.store.record_orders(&[order]).await.unwrap();
    stage.config.merchants.retain(|merchant| merchant.key != new_merchant);
    let leader = Process::start(&stage, "behind").await;
    execute(&stage, "UPDATE orders SET next_query_at_ms = 1").await;
    within_timeout("the question", async {
        while stage.count("bus_messages WHERE subject = 'pay.in.second.query.due'").await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    leader.stop().await;
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_whose_run_fails_gives_the_job_to_another_and_one_that_is_alone_has_it_again_soon() {
    let stage = real_time().await;
    // Its bus is a database that has gone away; its own database is there.
    let gone = TestDb::sqlite().open().await;
    let parts = Parts {
        config: ConfigHandle::new(stage.config.clone()),
        store: Store::open(&stage.config.store).await.unwrap(),
        bus: Bus::connect(&stage.config.bus, Some(gone.clone())).await.unwrap().0,
        wechat: Client::new(&stage.config.wechat).unwrap(),
        platform: PlatformClient::new(&stage.config.wechat).unwrap(),
        clock: stage.clock.clone(),
        at_least: AT_LEAST,
    };
    gone.execute("test", "ALTER TABLE bus_messages RENAME TO gone", []).await.unwrap();
    gone.read().clone().close().await.unwrap();
    let broken = Process::of(parts, "broken");
    let failed = |view: &JobView| view.last.as_ref().is_some_and(|run| run.outcome == JobOutcome::Failed);
    let first = until(&stage, "pending_queries", "a run that fails", failed).await.last.unwrap().started_at;
    let again = |view: &JobView| has_ended(view) && view.last.as_ref().is_some_and(|run| run.started_at > first);
    let again = until(&stage, "pending_queries", "another", again).await.last.unwrap();
    assert_eq!((again.holder.as_str(), again.outcome), ("broken", JobOutcome::Failed));
    let between = again.started_at.since(first);
    assert!(between > Duration::from_secs(3), "no other process had the time to take it: {between:?}");
    assert!(between < Duration::from_secs(50), "out for {between:?}");

    for job in ["pending_queries", "pending_refunds", "gauges"] {
        make_due(&stage, job).await;
    }
    let sound = Process::start(&stage, "sound").await;
    for job in ["pending_queries", "pending_refunds", "gauges"] {
        let done =
            |view: &JobView| view.last.as_ref().is_some_and(|run| run.holder == "sound" && !run.outcome.is_failure());
        until(&stage, job, "a run of the sound process", done).await;
    }
    let lease = until(&stage, "pending_queries", "held", |view| view.lease.is_some()).await.lease.unwrap();
    assert_eq!(lease.0, "sound");
    broken.stop().await;
    sound.stop().await;
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_run_is_shown_while_it_runs_and_keeps_its_lease() {
    let mut stage = real_time().await;
    stage.config.store.lease = Duration::from_secs(6);
    // Long enough to be seen while it runs.
    stage.config.wechat.timeout = Duration::from_secs(15);
    stage.faults(json!([{"on": "stable_token", "kind": "hang", "appid": SHOP, "times": 1}])).await;
    let process = Process::start(&stage, "one").await;
    let running = |view: &JobView| view.last.as_ref().is_some_and(|run| run.outcome == JobOutcome::Running);
    let view = until(&stage, "platform_tokens", "running", running).await;
    let started = view.last.unwrap().started_at;
    let (holder, _, lease_end) = view.lease.unwrap();
    assert_eq!(holder, "one");
    assert!(lease_end.since(started) > Duration::from_millis(7900), "renewed after two seconds for six: {lease_end}");
    let done = until(&stage, "platform_tokens", "done", |view| view.last_done.is_some()).await.last_done.unwrap();
    assert_eq!(done.started_at, started, "a second run began beside it: {done:?}");
    assert!(done.detail.unwrap().contains("shop access_token: no_answer"));
    let rows = format!("job_reports WHERE job = 'platform_tokens' AND started_at_ms = {}", started.as_ms());
    assert_eq!(stage.count(&rows).await, 1, "one row per run");
    process.stop().await;
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_forgets_old_reports_and_logins_and_keeps_the_rest() {
    let stage = real_time().await;
    let now_ms = stage.clock.now().as_ms();
    let ago = |d: Duration| now_ms - i64::try_from(d.as_millis()).unwrap();
    let minutes = |n: u32| n * Duration::from_secs(60);
    for (job, outcome, age) in [
        ("pending_queries", "idle", HOUR + minutes(1)),
        ("pending_queries", "idle", HOUR - minutes(5)),
        ("pending_queries", "done", 24 * HOUR + minutes(1)),
        ("pending_queries", "done", 24 * HOUR - minutes(5)),
        ("pending_queries", "failed", 14 * 24 * HOUR + minutes(1)),
        ("pending_queries", "failed", 14 * 24 * HOUR - minutes(5)),
        ("retention", "done", 14 * 24 * HOUR - minutes(5)),
    ] {
        let at = ago(age);
        let sql = format!(
            "INSERT INTO job_reports (job, holder, term, started_at_ms, ended_at_ms, outcome, done)
             VALUES ('{job}', 'old', 1, {at}, {at}, '{outcome}', 1)"
        );
        execute(&stage, &sql).await;
    }
    for (name, age) in [("old", HOUR + minutes(1)), ("new", HOUR - minutes(5))] {
        let at = ago(age);
        let sql = format!(
            "INSERT INTO login_codes (code_hash, app, state_hash, claimed_at_ms, is_snapshot)
             VALUES ('{name}', 'shop', '{name}', {at}, FALSE)"
        );
        execute(&stage, &sql).await;
        let at = at - 1000 * 86_400 * 14 + 3_600_000;
        let sql = format!("INSERT INTO wallet_orders VALUES ('shop', '{name}', 1, 'W1', {at})");
        execute(&stage, &sql).await;
    }
    let process = Process::start(&stage, "one").await;
    let run = until(&stage, "retention", "its run", |view| ended_by(view, "one")).await.last.unwrap();
    assert_eq!(run.detail.as_deref(), Some("deleted 3 reports, 1 login codes, 1 wallet offers"));
    assert_eq!(stage.count("job_reports WHERE holder = 'old'").await, 4);
    assert_eq!(stage.count("login_codes WHERE code_hash = 'new'").await, 1);
    assert_eq!(stage.count("wallet_orders WHERE openid = 'new'").await, 1);
    process.stop().await;
    stage.finish().await;
}
