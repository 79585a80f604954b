//! Metrics: the table of all metrics, and the recorder behind `/metrics`.
//!
//! Labels are bounded: never an order, a payer or a URL. Units are base units (seconds, not milliseconds) and part of
//! the name, as Prometheus recommends.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;

/// Renders the text of `/metrics`.
pub type MetricsText = Arc<dyn Fn() -> String + Send + Sync>;

/// Notifications received, by `merchant` and `result` (`accepted`, or the reason of the refusal).
pub const NOTIFY_RECEIVED_TOTAL: &str = "wxpay_notify_received_total";
/// Refused notifications, by `outcome`: `kept` whole, `sampled`, `not_sampled`, `dropped` because too many waited, or
/// `failed` to be stored.
pub const NOTIFY_REFUSED_TOTAL: &str = "wxpay_notify_refused_total";
/// Connections and requests without room, by `listener` (`api`, `notify`, `admin`, `console`) and `reason`: `network`
/// (its share of connections is busy), `gave_way` (waited longest for a request when another one needed the place),
/// `requests`, `bodies` (too many, too large at once).
pub const CONNECTIONS_REFUSED_TOTAL: &str = "wxpay_connections_refused_total";
/// Requests refused for their API key, by `reason` (`missing`, `unknown`, `scope`, `rate`).
pub const API_KEYS_REFUSED_TOTAL: &str = "wxpay_api_keys_refused_total";
/// Refused API keys that have no row in the audit because there are enough, by `reason` (`unknown`, `scope`).
pub const API_KEYS_NOT_AUDITED_TOTAL: &str = "wxpay_api_keys_not_audited_total";
/// Age of the list of API keys: what was revoked later is accepted by this process.
pub const API_KEYS_AGE_SECONDS: &str = "wxpay_api_keys_age_seconds";
/// Groups of records that this process's intake log took, each with one write and one fsync.
pub const INTAKE_SYNCS_TOTAL: &str = "wxpay_intake_syncs_total";
/// Bytes of notifications in this process's intake log that are not settled.
pub const INTAKE_UNSETTLED_BYTES: &str = "wxpay_intake_unsettled_bytes";
/// Since when the oldest of them waits.
pub const INTAKE_OLDEST_SECONDS: &str = "wxpay_intake_oldest_seconds";
/// Intake logs of other processes that stay in the folder, by `reason` (`blocked`, `not_readable`,
/// `another_database`).
pub const INTAKE_LOGS_LEFT: &str = "wxpay_intake_logs_left";
/// Files of bytes of intake logs that were no record.
pub const INTAKE_DAMAGED_FILES: &str = "wxpay_intake_damaged_files";
/// Logins to the console, by `outcome` (`done`, `wrong`, `slowed`).
pub const CONSOLE_LOGINS_TOTAL: &str = "wxpay_console_logins_total";
/// From a notification's last byte to its answer.
pub const NOTIFY_ACK_SECONDS: &str = "wxpay_notify_ack_seconds";
/// From WeChat's `time_end` to the order being paid here.
pub const ORDER_SETTLE_LAG_SECONDS: &str = "wxpay_order_settle_lag_seconds";
/// Payments, by the `source` that reported them first (`notification`, `query`): the share of queries shows how
/// many notifications were lost.
pub const PAID_FIRST_LEARNT_BY_TOTAL: &str = "wxpay_paid_first_learnt_by_total";
/// See [`METRICS`].
pub const PAYMENTS_HELD_TOTAL: &str = "wxpay_payments_held_total";
/// Verdicts of handlers, by `kind` (consumer) and `outcome` (`done`, `retry`, `unavailable`, `park`).
pub const WORKER_ATTEMPTS_TOTAL: &str = "wxpay_worker_attempts_total";
/// Messages not yet settled, by `consumer`.
pub const BUS_LAG_MESSAGES: &str = "wxpay_bus_lag_messages";
/// Age of the oldest message without an acknowledgement, by `consumer`.
pub const BUS_OLDEST_UNACKED_SECONDS: &str = "wxpay_bus_oldest_unacked_seconds";
/// What a stream holds, by `stream`; [`BUS_STREAM_MAX_BYTES`] is what it may hold.
pub const BUS_STREAM_BYTES: &str = "wxpay_bus_stream_bytes";
/// See [`BUS_STREAM_BYTES`].
pub const BUS_STREAM_MAX_BYTES: &str = "wxpay_bus_stream_max_bytes";
/// Publishes, by `stream` and `outcome` (`stored`, `full`, `timeout` …).
pub const BUS_PUBLISHES_TOTAL: &str = "wxpay_bus_publishes_total";
/// Bundles of notifications on NATS, by `outcome`: where they are sent `stored` or `not_stored`, where they are read
/// `settled`, `taken_apart` (its messages go singly) or `given_back`.
pub const BUS_BUNDLES_TOTAL: &str = "wxpay_bus_bundles_total";
/// The notifications in them, by the same `outcome`.
pub const BUS_BUNDLED_MESSAGES_TOTAL: &str = "wxpay_bus_bundled_messages_total";
/// Deliveries settled at the bus, by `consumer` and `outcome` (`done`, `waiting`, `deferred`, `parked` or
/// `given_back`).
pub const BUS_DELIVERIES_TOTAL: &str = "wxpay_bus_deliveries_total";
/// Acknowledgements that did not reach the bus in time, by `consumer`: each means one more delivery.
pub const BUS_ANSWERS_LOST_TOTAL: &str = "wxpay_bus_answers_lost_total";
/// Handlers that panicked, by `consumer`.
pub const BUS_PANICS_TOTAL: &str = "wxpay_bus_panics_total";
/// Handlers that were stopped because they came to no end, by `consumer`.
pub const BUS_STUCK_TOTAL: &str = "wxpay_bus_stuck_total";
/// Transactions that this process wrote and committed. Writes that wait together share one: notifications by this
/// counter are how large the groups are.
pub const STORE_COMMITS_TOTAL: &str = "wxpay_store_commits_total";
/// Events committed and not yet published.
pub const OUTBOX_PENDING: &str = "wxpay_outbox_pending";
/// Dead letters waiting for a person, by `reason`.
pub const DEAD_LETTERS: &str = "wxpay_dead_letters";
/// What happened to refunds, by `merchant` and `outcome` (`requested`, `delayed`, `succeeded`, `abnormal`, `failed`).
pub const REFUNDS_TOTAL: &str = "wxpay_refunds_total";
/// Payments that do not count and were neither accepted nor given back, by `merchant` and `class` (`held`,
/// `unmatched`).
pub const PAYMENTS_OPEN: &str = "wxpay_payments_open";
/// What does not agree between orders, ledgers, outbox and feed, by `merchant`, of all days that were compared.
pub const BOOK_FINDINGS: &str = "wxpay_book_findings";
/// Open lines of reconciliations, by `class`.
pub const RECONCILE_MISMATCHES: &str = "wxpay_reconcile_mismatches";
/// Days that are red, by `merchant`.
pub const RECONCILE_RED_DAYS: &str = "wxpay_reconcile_red_days";
/// Trade bills that were not there at noon of the next day, by `merchant`.
pub const BILLS_MISSING: &str = "wxpay_bills_missing";
/// Refunds that have not come to their end, by `state`: an `abnormal` one waits for a person.
pub const REFUNDS_OPEN: &str = "wxpay_refunds_open";
/// Calls to WeChat, by `api` and `outcome`.
pub const WECHAT_REQUEST_SECONDS: &str = "wxpay_wechat_request_seconds";
/// How long calls to WeChat waited for a permit, by `api`.
pub const WECHAT_PERMIT_WAIT_SECONDS: &str = "wxpay_wechat_permit_wait_seconds";
/// Calls to WeChat that were not made for want of a permit, by `merchant` and `api`.
pub const WECHAT_CALLS_PUT_OFF_TOTAL: &str = "wxpay_wechat_calls_put_off_total";
/// Answers of WeChat that it is called too often, by `merchant` and `api`.
pub const WECHAT_THROTTLED_TOTAL: &str = "wxpay_wechat_throttled_total";
/// Always 1; `version` and `crash_points` say what is running.
pub const BUILD_INFO: &str = "wxpay_build_info";

/// Genuine notifications signed with another algorithm than their order.
pub const NOTIFY_SIGN_TYPE_DIFFERS_TOTAL: &str = "wxpay_notify_sign_type_differs_total";
/// Time one delivery took a handler.
pub const WORKER_SECONDS: &str = "wxpay_worker_seconds";
/// Whether WeChat refuses a merchant's own setup, by `merchant` and `fault` (`signature`, `certificate` …).
pub const MERCHANT_FAULT: &str = "wxpay_merchant_fault";
/// Whether a part of a merchant does not work, by `merchant` and `what`: the merchant, its refunds, notifications, each
/// app and each trade type.
pub const DEGRADED: &str = "wxpay_degraded";
/// Calls that WeChat refused for the merchant's setup, by `merchant` and `fault`.
pub const SETUP_REFUSALS_TOTAL: &str = "wxpay_setup_refusals_total";
/// Age of the access_token or ticket in use, by `app` and `kind`.
pub const TOKEN_AGE_SECONDS: &str = "wxpay_token_age_seconds";
/// Fetches of access_tokens and tickets, by `app`, `kind` and `outcome` (`renewed`, `same`, `refused` …).
pub const TOKEN_REFRESH_TOTAL: &str = "wxpay_token_refresh_total";
/// Logins of payers that came to an end, by `app` and `outcome` (`logged_in`, or why not).
pub const LOGINS_TOTAL: &str = "wxpay_logins_total";
/// Attempts at webhooks, by `outcome` (`delivered`, `http_status`, `timeout` …).
pub const WEBHOOK_ATTEMPTS_TOTAL: &str = "wxpay_webhook_attempts_total";
/// Deliveries that wait for an enabled endpoint; counted up to 1000.
pub const WEBHOOK_PENDING: &str = "wxpay_webhook_pending";
/// Age of the oldest of them.
pub const WEBHOOK_OLDEST_PENDING_SECONDS: &str = "wxpay_webhook_oldest_pending_seconds";
/// Endpoints that are disabled and that no person disabled.
pub const WEBHOOK_ENDPOINTS_FAILED: &str = "wxpay_webhook_endpoints_failed";
/// Rows removed because their period had passed, by table (`kept`).
pub const RETENTION_REMOVED_TOTAL: &str = "wxpay_retention_removed_total";
/// Time one run of a job took, by `outcome` as in its report; `checked` is a check whether there is something to do.
pub const JOB_SECONDS: &str = "wxpay_job_seconds";
/// Readings of the configuration's file anew, by `result` (`applied`, `refused`).
pub const CONFIG_RELOADS_TOTAL: &str = "wxpay_config_reloads_total";
/// How far this host's clock is ahead of the database's; negative when it is behind.
pub const CLOCK_AHEAD_SECONDS: &str = "wxpay_clock_ahead_seconds";

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations in buckets.
    Histogram,
}

/// One metric of the process.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name, with prefix and unit.
    pub name: &'static str,
    pub kind: Kind,
    /// What its numbers are.
    pub unit: Unit,
    /// Its labels, all of them.
    pub labels: &'static [&'static str],
    /// What it tells, for people.
    pub help: &'static str,
}

/// Every metric: what dashboards and alert rules may use.
pub const METRICS: &[Metric] = &[
    metric(NOTIFY_RECEIVED_TOTAL, Kind::Counter, Unit::Count, &["merchant", "result"], "Notifications received"),
    metric(
        NOTIFY_SIGN_TYPE_DIFFERS_TOTAL,
        Kind::Counter,
        Unit::Count,
        &[],
        "Genuine notifications signed with another algorithm than their order",
    ),
    metric(
        NOTIFY_REFUSED_TOTAL,
        Kind::Counter,
        Unit::Count,
        &["outcome"],
        "Refused notifications, by what was kept of them",
    ),
    metric(
        CONNECTIONS_REFUSED_TOTAL,
        Kind::Counter,
        Unit::Count,
        &["listener", "reason"],
        "Connections and requests for which there was no room",
    ),
    metric(API_KEYS_REFUSED_TOTAL, Kind::Counter, Unit::Count, &["reason"], "Requests refused for their API key"),
    metric(INTAKE_SYNCS_TOTAL, Kind::Counter, Unit::Count, &[], "Groups of records that the intake log took"),
    metric(INTAKE_UNSETTLED_BYTES, Kind::Gauge, Unit::Bytes, &[], "Bytes in the intake log that are not settled"),
    metric(INTAKE_OLDEST_SECONDS, Kind::Gauge, Unit::Seconds, &[], "Age of the oldest record that is not settled"),
    metric(INTAKE_LOGS_LEFT, Kind::Gauge, Unit::Count, &["reason"], "Intake logs of other processes that stay"),
    metric(INTAKE_DAMAGED_FILES, Kind::Gauge, Unit::Count, &[], "Files of damaged bytes of intake logs"),
    metric(API_KEYS_AGE_SECONDS, Kind::Gauge, Unit::Seconds, &[], "Age of the list of API keys"),
    metric(
        API_KEYS_NOT_AUDITED_TOTAL,
        Kind::Counter,
        Unit::Count,
        &["reason"],
        "Refused API keys without a row in the audit",
    ),
    metric(CONSOLE_LOGINS_TOTAL, Kind::Counter, Unit::Count, &["outcome"], "Logins to the console"),
    metric(NOTIFY_ACK_SECONDS, Kind::Histogram, Unit::Seconds, &[], "Time from a notification to its answer"),
    metric(ORDER_SETTLE_LAG_SECONDS, Kind::Histogram, Unit::Seconds, &[], "Time from payment at WeChat to paid here"),
    metric(
        PAID_FIRST_LEARNT_BY_TOTAL,
        Kind::Counter,
        Unit::Count,
        &["source"],
        "Payments by the source that reported them first",
    ),
    metric(
        PAYMENTS_HELD_TOTAL,
        Kind::Counter,
        Unit::Count,
        &["reason"],
        "Payments that do not count until they are accepted or given back",
    ),
    metric(WORKER_ATTEMPTS_TOTAL, Kind::Counter, Unit::Count, &["kind", "outcome"], "Deliveries handled"),
    metric(WORKER_SECONDS, Kind::Histogram, Unit::Seconds, &["kind"], "Time one delivery took a handler"),
    metric(JOB_SECONDS, Kind::Histogram, Unit::Seconds, &["job", "outcome"], "Time one run of a job took"),
    metric(RETENTION_REMOVED_TOTAL, Kind::Counter, Unit::Count, &["kept"], "Rows whose period of retention had passed"),
    metric(CLOCK_AHEAD_SECONDS, Kind::Gauge, Unit::Seconds, &[], "This host's clock minus the database's"),
    metric(BUS_LAG_MESSAGES, Kind::Gauge, Unit::Count, &["consumer"], "Unsettled messages, with the intake log"),
    metric(
        BUS_OLDEST_UNACKED_SECONDS,
        Kind::Gauge,
        Unit::Seconds,
        &["consumer"],
        "Age of the oldest unsettled message, which may be in this process's intake log",
    ),
    metric(BUS_STREAM_BYTES, Kind::Gauge, Unit::Bytes, &["stream"], "What a stream holds"),
    metric(BUS_STREAM_MAX_BYTES, Kind::Gauge, Unit::Bytes, &["stream"], "What a stream may hold"),
    metric(BUS_PUBLISHES_TOTAL, Kind::Counter, Unit::Count, &["stream", "outcome"], "Publishes to the bus"),
    metric(BUS_BUNDLES_TOTAL, Kind::Counter, Unit::Count, &["outcome"], "Bundles of notifications on NATS"),
    metric(BUS_BUNDLED_MESSAGES_TOTAL, Kind::Counter, Unit::Count, &["outcome"], "Notifications in bundles on NATS"),
    metric(BUS_DELIVERIES_TOTAL, Kind::Counter, Unit::Count, &["consumer", "outcome"], "Deliveries settled at the bus"),
    metric(BUS_ANSWERS_LOST_TOTAL, Kind::Counter, Unit::Count, &["consumer"], "Acknowledgements lost on their way"),
    metric(BUS_PANICS_TOTAL, Kind::Counter, Unit::Count, &["consumer"], "Handlers that panicked"),
    metric(BUS_STUCK_TOTAL, Kind::Counter, Unit::Count, &["consumer"], "Handlers stopped because they hung"),
    metric(STORE_COMMITS_TOTAL, Kind::Counter, Unit::Count, &[], "Transactions that wrote and were committed"),
    metric(OUTBOX_PENDING, Kind::Gauge, Unit::Count, &[], "Events committed and not yet published"),
    metric(DEAD_LETTERS, Kind::Gauge, Unit::Count, &["reason"], "Dead letters waiting for a person"),
    metric(REFUNDS_TOTAL, Kind::Counter, Unit::Count, &["merchant", "outcome"], "What happened to refunds"),
    metric(
        PAYMENTS_OPEN,
        Kind::Gauge,
        Unit::Count,
        &["merchant", "class"],
        "Payments that are held or of no order, and neither accepted nor given back",
    ),
    metric(BOOK_FINDINGS, Kind::Gauge, Unit::Count, &["merchant"], "Rows of the books that do not agree with others"),
    metric(RECONCILE_MISMATCHES, Kind::Gauge, Unit::Count, &["class"], "Open differences between bills and books"),
    metric(RECONCILE_RED_DAYS, Kind::Gauge, Unit::Count, &["merchant"], "Days with open differences or a remainder"),
    metric(BILLS_MISSING, Kind::Gauge, Unit::Count, &["merchant"], "Bills that were not there at noon of the next day"),
    metric(REFUNDS_OPEN, Kind::Gauge, Unit::Count, &["state"], "Refunds that are not final"),
    metric(
        MERCHANT_FAULT,
        Kind::Gauge,
        Unit::Count,
        &["merchant", "fault"],
        "1 while WeChat refuses the merchant's own setup",
    ),
    metric(DEGRADED, Kind::Gauge, Unit::Count, &["merchant", "what"], "1 while a part of the merchant does not work"),
    metric(
        SETUP_REFUSALS_TOTAL,
        Kind::Counter,
        Unit::Count,
        &["merchant", "fault"],
        "Calls that WeChat refused for the merchant's setup",
    ),
    metric(WECHAT_REQUEST_SECONDS, Kind::Histogram, Unit::Seconds, &["api", "outcome"], "Calls to WeChat"),
    metric(WECHAT_PERMIT_WAIT_SECONDS, Kind::Histogram, Unit::Seconds, &["api"], "Waits of calls for the rate limit"),
    metric(
        WECHAT_CALLS_PUT_OFF_TOTAL,
        Kind::Counter,
        Unit::Count,
        &["merchant", "api"],
        "Calls put off because of the rate limit, or because WeChat is called too often",
    ),
    metric(
        WECHAT_THROTTLED_TOTAL,
        Kind::Counter,
        Unit::Count,
        &["merchant", "api"],
        "Answers of WeChat that it is called too often",
    ),
    metric(WEBHOOK_ATTEMPTS_TOTAL, Kind::Counter, Unit::Count, &["outcome"], "Attempts at webhooks"),
    metric(WEBHOOK_PENDING, Kind::Gauge, Unit::Count, &[], "Deliveries that wait for an enabled endpoint, up to 1000"),
    metric(WEBHOOK_OLDEST_PENDING_SECONDS, Kind::Gauge, Unit::Seconds, &[], "Age of the oldest waiting delivery"),
    metric(WEBHOOK_ENDPOINTS_FAILED, Kind::Gauge, Unit::Count, &[], "Endpoints that were disabled for their failures"),
    metric(CONFIG_RELOADS_TOTAL, Kind::Counter, Unit::Count, &["result"], "Readings of the configuration anew"),
    metric(TOKEN_AGE_SECONDS, Kind::Gauge, Unit::Seconds, &["app", "kind"], "Age of the token in use"),
    metric(
        TOKEN_REFRESH_TOTAL,
        Kind::Counter,
        Unit::Count,
        &["app", "kind", "outcome"],
        "Fetches of access_tokens and tickets",
    ),
    metric(LOGINS_TOTAL, Kind::Counter, Unit::Count, &["app", "outcome"], "Completed logins of payers"),
    metric(BUILD_INFO, Kind::Gauge, Unit::Count, &["version", "crash_points"], "What is running; always 1"),
];

/// Upper bounds in seconds. 5 s is WeChat's timeout for a notification, so the buckets are finest below it.
const SECONDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// A payment can be learnt hours late: the last notification is sent after a day, queries continue longer.
const LAG_SECONDS: [f64; 12] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1800.0, 21_600.0, 86_400.0];

/// How often observations are folded into buckets; without it they accumulate while no scraper reads them.
const UPKEEP: Duration = Duration::from_secs(5);

/// Why there will be no metrics.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The process has another recorder already.
    #[error("another metrics recorder is set up")]
    AlreadySet,
    /// The bucket bounds above are not usable.
    #[error("bucket bounds must be given and ascend")]
    Buckets,
}

/// The process's metrics. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Starts counting for the whole process. A second call answers the same metrics: `metrics` knows one recorder per
    /// process, and several services may share one.
    pub fn install() -> Result<Metrics, MetricsError> {
        static INSTALLED: Mutex<Option<Metrics>> = Mutex::new(None);
        let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(metrics) = &*installed {
            return Ok(metrics.clone());
        }
        let metrics = Metrics::start()?;
        Ok(installed.insert(metrics).clone())
    }

    fn start() -> Result<Metrics, MetricsError> {
        let recorder = PrometheusBuilder::new()
            .set_buckets(&SECONDS)
            .and_then(|b| b.set_buckets_for_metric(Matcher::Full(ORDER_SETTLE_LAG_SECONDS.to_owned()), &LAG_SECONDS))
            .map_err(|_| MetricsError::Buckets)?
            .build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|_| MetricsError::AlreadySet)?;
        describe();
        let crash_points = if cfg!(debug_assertions) { "yes" } else { "no" };
        gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION"), "crash_points" => crash_points).set(1.0);
        Ok(Metrics(handle))
    }

    /// The text of `/metrics` (Prometheus exposition format 0.0.4).
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Keeps memory bounded while no scraper reads the metrics. Run it beside the service; ends when `cancel` fires.
    pub async fn upkeep(&self, cancel: &CancellationToken) {
        while cancel.run_until_cancelled(tokio::time::sleep(UPKEEP)).await.is_some() {
            self.0.run_upkeep();
        }
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

fn describe() {
    for metric in METRICS {
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, metric.unit, metric.help),
            Kind::Gauge => describe_gauge!(metric.name, metric.unit, metric.help),
            Kind::Histogram => describe_histogram!(metric.name, metric.unit, metric.help),
        }
    }
}

const fn metric(
    name: &'static str,
    kind: Kind,
    unit: Unit,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, kind, unit, labels, help }
}
