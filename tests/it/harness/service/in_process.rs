//! The service and the WeChat simulator in this process, both by one clock that the test moves.

use std::net::SocketAddr;
use std::ops::Deref;
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wxpay_worker::app::{App, AppError, Roles};
use wxpay_worker::bus::Bus;
use wxpay_worker::clock::{Clock, Timestamp};
use wxpay_worker::config::{Config, ConfigHandle};
use wxpay_worker::http::{Listeners, StreamLimits};
use wxpay_worker::ids::{MerchantKey, OrderNo};
use wxpay_worker::scheduler::When;
use wxpay_worker::store::{Db, Store, StoredOrder};

use super::accounts::{API_KEY, jsapi};
use super::environment::Environment;
use super::logs::unsettled;
use crate::harness::cable::Cable;
use crate::harness::db::opened;
use crate::harness::ports::listen;
use crate::harness::requests::answer;
use crate::harness::sql::{number, texts};
use crate::harness::{TEST_TIMEOUT, within_timeout};

/// The lease of every job in this process.
pub const LEASE_S: u64 = 10;

/// How long the manual clock stands still while a test awaits something.
const TIME_STANDS: Duration = Duration::from_secs(5);
/// So many times longer, in all, for jobs that are due and have not reported a run.
const FOR_JOBS: u32 = 2;
/// The longest step of a clock that goes on.
const STEP_MAX_S: u64 = 3600;
/// Messages of webhooks on their way: they end without a later moment, which would bring the next ones.
const BEING_SENT: &str = "SELECT COUNT(*) FROM webhook_deliveries WHERE state = 'pending' AND claim IS NOT NULL";

pub struct InProcess {
    pub clock: Clock,
    pub store: Store,
    pub base: String,
    /// Of `server.notify_listen`.
    pub notify: Option<SocketAddr>,
    pub bus: Bus,
    pub in_force: ConfigHandle,
    pub stop: CancellationToken,
    config: Config,
    parts: Parts,
    running: JoinHandle<Result<(), AppError>>,
    environment: Environment,
}

impl Deref for InProcess {
    type Target = Environment;

    fn deref(&self) -> &Environment {
        &self.environment
    }
}

/// The roles that run, and the limits of the streams of orders.
type Parts = (Roles, StreamLimits);

struct Running {
    notify: Option<SocketAddr>,
    in_force: ConfigHandle,
    store: Store,
    bus: Bus,
    stop: CancellationToken,
    task: JoinHandle<Result<(), AppError>>,
}

async fn run(config: &Config, clock: &Clock, port: u16, (roles, streams): Parts) -> Running {
    let api = if roles.ingress { Some(listen(SocketAddr::from(([127, 0, 0, 1], port))).await) } else { None };
    let notify = match config.server.notify_listen {
        Some(address) => Some(listen(address).await),
        None => None,
    };
    let address = notify.as_ref().map(|listener| listener.local_addr().unwrap());
    let app = opened(|| App::open(config.clone(), clock.clone())).await.with_streams(streams);
    // Each is due at its times, for which the clock is let stand.
    let app = app.with_jobs(When::every_seconds(1));
    let (store, bus, stop) = (app.store.clone(), app.bus.clone(), CancellationToken::new());
    let in_force = app.config.clone();
    let task = tokio::spawn(app.run(roles, Listeners { api, notify, ..Listeners::default() }, stop.clone()));
    Running { notify: address, in_force, store, bus, stop, task }
}

impl InProcess {
    pub(super) async fn start(environment: Environment, config: &str, clock: Clock, parts: Parts) -> InProcess {
        let config = Config::from_toml_str(config).unwrap();
        let Running { notify, in_force, store, bus, stop, task: running } =
            run(&config, &clock, environment.port, parts).await;
        let base = format!("http://127.0.0.1:{}", environment.port);
        InProcess { clock, store, base, notify, bus, in_force, stop, config, parts, running, environment }
    }

    /// Another configuration is in force, without a restart.
    pub fn put_in_force(&mut self, change: impl FnOnce(&mut Config)) {
        change(&mut self.config);
        self.in_force.replace(self.config.clone());
    }

    /// The service stops and starts again with another configuration.
    pub async fn restart_with(&mut self, change: impl FnOnce(&mut Config)) {
        change(&mut self.config);
        self.move_to_host(self.clock.clone()).await;
    }

    /// The service stops and starts again, at the same address, on a host with this clock. The simulator's stays.
    pub async fn move_to_host(&mut self, clock: Clock) {
        self.stop_service().await;
        let Running { notify, in_force, store, bus, stop, task } =
            run(&self.config, &clock, self.environment.port, self.parts).await;
        (self.store, self.bus, self.stop, self.running, self.clock) = (store, bus, stop, task, clock);
        (self.in_force, self.notify) = (in_force, notify);
    }

    /// From here on the service reaches WeChat's pay API by a cable, and waits for an answer as long as a test does.
    pub async fn reach_wechat_by_cable(&mut self) -> Cable {
        let cable = Cable::to(self.wechat_url.trim_start_matches("http://")).await;
        let url = format!("http://{}", cable.address());
        self.restart_with(|config| {
            (config.wechat.pay_url, config.wechat.pay_backup_url) = (url.clone(), url);
            config.wechat.timeout = TEST_TIMEOUT;
        })
        .await;
        cable
    }

    /// The service stops, as at a signal; its database and the simulator stay. It may start again.
    pub async fn stop_service(&mut self) {
        self.stop.cancel();
        if self.running.is_finished() {
            return;
        }
        within_timeout("the end of the service", &mut self.running).await.unwrap().unwrap();
    }

    /// Asserts that nothing is left to do and that the books agree; then the service ends without an error.
    pub async fn finish(self) {
        let (db, bus) = (self.store.db().clone(), self.bus.clone());
        self.finish_by(&db, &bus).await;
    }

    /// As [`InProcess::finish`] for a test after which the service's own database cannot be asked.
    pub async fn finish_by(mut self, db: &Db, bus: &Bus) {
        self.environment.assert_finished(db, Some(bus)).await;
        self.stop_service().await;
        self.environment.is_finished();
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.environment.get(&self.base, path).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.environment.post(&self.base, path, body).await
    }

    /// As [`InProcess::post`] for a caller who waits for at most so many seconds.
    pub async fn post_waiting(&self, path: &str, body: &Value, seconds: u32) -> (u16, Value) {
        let request = self.http.post(format!("{}{path}", self.base)).bearer_auth(API_KEY);
        let request = request.header("content-type", "application/json").header("prefer", format!("wait={seconds}"));
        answer(request.body(body.to_string())).await.unwrap()
    }

    /// Places an order and awaits its pay parameters.
    pub async fn place(&self, order_no: &str) -> Value {
        self.place_as(&jsapi(order_no, 100)).await
    }

    /// As [`InProcess::place`] by this body.
    pub async fn place_as(&self, body: &Value) -> Value {
        // On a busy machine the first answer may be that it takes longer.
        let what = format!("pay parameters of {}", body["order_no"]);
        let place = || async { Some(self.post("/v1/orders", body).await).filter(|(status, _)| *status != 202) };
        let (status, order) = self.found(&what, place).await;
        assert_eq!(status, 200, "{order}");
        order
    }

    pub async fn stored(&self, order_no: &str) -> StoredOrder {
        let merchant = MerchantKey::parse("main").unwrap();
        self.store.order(&merchant, &OrderNo::parse(order_no).unwrap()).await.unwrap().unwrap()
    }

    /// Polls after every commit until something is found. What a lease, a limit or a backoff of this moment put off
    /// needs a later one: while nothing is left to do, the clock goes on, in growing steps.
    pub async fn found<T, F: Future<Output = Option<T>>>(&self, what: &str, poll: impl Fn() -> F) -> T {
        let found = async {
            let mut commits = self.store.commits();
            loop {
                if let Some(found) = poll().await {
                    return found;
                }
                // Changes of an order are signalled; a due time is written without a signal.
                let _ = tokio::time::timeout(Duration::from_millis(50), commits.changed()).await;
            }
        };
        let time_goes_on = async {
            let (mut step, mut stood) = (LEASE_S, 0);
            loop {
                tokio::time::sleep(TIME_STANDS).await;
                if !self.is_idle().await || self.number(BEING_SENT).await > 0 {
                    continue;
                }
                // On a busy machine what is awaited may be a job that begins late. Not every idle run is reported.
                if stood < FOR_JOBS && self.is_job_due().await {
                    stood += 1;
                    continue;
                }
                self.skip(step);
                step = (step * 2).min(STEP_MAX_S);
            }
        };
        tokio::select! {
            found = found => found,
            () = time_goes_on => unreachable!("time goes on"),
            () = tokio::time::sleep(TEST_TIMEOUT) => {
                panic!("{what} did not happen within {TEST_TIMEOUT:?}:\n{}", self.left_to_do().await)
            }
        }
    }

    /// What a test that hangs may wait for.
    async fn left_to_do(&self) -> String {
        let mut left = vec![format!("now {}, {:?}", self.clock.now().as_ms(), self.bus.lag().await)];
        for sql in [
            "SELECT name || ' due ' || next_due_at_ms FROM jobs",
            "SELECT order_no || ' ' || state || ' next ' || COALESCE(next_query_at_ms, next_look_at_ms, 0) FROM orders",
            "SELECT refund_no || ' ' || state || ' next ' || COALESCE(next_at_ms, 0) FROM refunds",
            "SELECT event_id || ' ' || consumer || ' deferred to ' || next_attempt_at_ms FROM deferred",
        ] {
            left.extend(texts(self.store.db(), sql).await);
        }
        left.join("\n")
    }

    /// Awaits a property of the stored order.
    pub async fn until(&self, what: &str, order_no: &str, is: impl Fn(&StoredOrder) -> bool) -> StoredOrder {
        let is = &is;
        self.found(what, || async move { Some(self.stored(order_no).await).filter(|stored| is(stored)) }).await
    }

    /// Awaits a property of a number from the database.
    pub async fn until_number(&self, what: &str, sql: &str, is: impl Fn(i64) -> bool) {
        let is = &is;
        self.found(what, || async move { is(self.number(sql).await).then_some(()) }).await;
    }

    pub async fn until_state(&self, order_no: &str, state: &str) -> StoredOrder {
        self.until(&format!("{order_no} {state}"), order_no, |s| s.order.state.as_str() == state).await
    }

    /// One number from the database.
    pub async fn number(&self, sql: &str) -> i64 {
        number(self.store.db(), sql).await
    }

    /// Runs a statement past the service.
    pub async fn run_sql(&self, sql: &str) {
        self.store.db().execute("test", sql.to_owned(), []).await.unwrap();
    }

    /// The names of an order's events so far, in the order of their rows.
    pub async fn events(&self, order_no: &str) -> Vec<String> {
        let sql = format!("SELECT event_type FROM outbox WHERE order_no = '{order_no}' ORDER BY id");
        let types = texts(self.store.db(), &sql).await;
        types.iter().map(|t| t.trim_start_matches("wxpay.").trim_end_matches(".v1").to_owned()).collect()
    }

    /// A refresh of an order of which WeChat is asked: it is about one order every two seconds at most.
    pub async fn refreshed_again(&self, order_no: &str) -> Value {
        within_timeout("a refresh", async {
            loop {
                let (status, order) = self.get(&format!("/v1/orders/{order_no}?refresh=1")).await;
                assert_eq!(status, 200, "{order}");
                if order["refreshed"] == true {
                    return order;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await
    }

    /// Moves the clock to just after a moment.
    pub fn skip_to(&self, at: Timestamp) {
        self.clock.advance(at.since(self.clock.now()) + Duration::from_millis(1));
    }

    pub fn skip(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Moves the clock and awaits what is due by then. An idle run of a job is reported once a lease: a shorter time
    /// would show none.
    pub async fn pass(&self, seconds: u64) {
        assert!(seconds >= LEASE_S, "shorter than a lease");
        self.skip(seconds);
        for job in ["pending_queries", "pending_refunds", "deferred_messages"] {
            self.until_job_ran(job).await;
        }
        self.until_idle().await;
    }

    /// Awaits a run of a job that is due, to its end.
    pub async fn until_job_ran(&self, job: &str) {
        let now = self.clock.now().as_ms();
        let due = format!("SELECT COUNT(*) FROM jobs WHERE name = '{job}' AND next_due_at_ms <= {now}");
        let ran = || async { (self.number(&due).await == 0).then_some(()) };
        self.found(&format!("a run of {job}"), ran).await;
    }

    /// Awaits that no message waits for a worker, and no event for its position in the feed. What is deferred to a
    /// later time may be.
    pub async fn until_idle(&self) {
        self.found("an empty queue", || self.is_idle().map(|is| is.then_some(()))).await;
    }

    async fn is_job_due(&self) -> bool {
        let due = format!("SELECT COUNT(*) FROM jobs WHERE next_due_at_ms <= {}", self.clock.now().as_ms());
        self.number(&due).await > 0
    }

    /// Whether no message waits for a worker, and no event for its position. Seen twice: what goes from the database to
    /// the queue while both are read is in neither.
    pub async fn is_idle(&self) -> bool {
        self.seems_idle().await && self.seems_idle().await
    }

    async fn seems_idle(&self) -> bool {
        // Before the queue: what leaves a log goes there.
        if !unsettled(self.store.db()).await.is_empty() {
            return false;
        }
        let due = format!("SELECT COUNT(*) FROM deferred WHERE next_attempt_at_ms <= {}", self.clock.now().as_ms());
        let lag = self.bus.lag().await;
        lag.is_ok_and(|all| all.iter().all(|l| l.pending == 0 && l.in_flight == 0))
            && self.number(&due).await == 0
            && self.number("SELECT COUNT(*) FROM orders WHERE placing_version = version AND placing_until_ms > 0").await
                == 0
            && self.number("SELECT COUNT(*) FROM outbox WHERE position IS NULL").await == 0
    }
}
