//! Logs and metrics as an operator meets them.

use std::io::Write;
use std::sync::{Arc, Mutex};

use sea_orm::DbErr;
use serde_json::{Value, json};
use wxpay_worker::app::AppError;
use wxpay_worker::bus::ConnectError;
use wxpay_worker::config::Log;
use wxpay_worker::http::CannotListen;
use wxpay_worker::store::DbError;
use wxpay_worker::telemetry;
use wxpay_worker::telemetry::{Kind, METRICS, Metrics, error_text};
use wxpay_worker::wechat::transport::ClientError;

use crate::harness::service::{MCH_ID, OPENID, TestService};
use crate::harness::within_timeout;

/// What strangers put into fields: new lines, terminal sequences (7 and 8 bit), text that runs backwards.
const HOSTILE: &str = "A1\r\nERROR forged: paid\u{1b}[2J\u{9b}31m\u{7f}\u{2028}\u{202e}fdp.exe\u{0}";

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn logged(json: bool, filter: &str, colours: bool, say: impl FnOnce()) -> String {
    let captured = Captured::default();
    let writer = captured.clone();
    let log = Log { json, filter: filter.to_owned() };
    let subscriber = telemetry::subscriber(&log, colours, move || writer.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, say);
    captured.text()
}

fn hostile_event() {
    let span = tracing::info_span!("request", path = %HOSTILE);
    let _entered = span.enter();
    let error = std::io::Error::other(HOSTILE);
    let as_error: &(dyn std::error::Error + 'static) = &error;
    tracing::warn!(order_no = %HOSTILE, quoted = HOSTILE, debug = ?HOSTILE, error = as_error, "refused {HOSTILE}");
}

fn acts(c: char) -> bool {
    c.is_control() || ['\u{2028}', '\u{202e}'].contains(&c)
}

#[test]
fn a_hostile_field_stays_on_its_line_as_visible_text() {
    let text = logged(false, "info", false, hostile_event);
    let line = text.strip_suffix('\n').unwrap();
    assert!(!line.contains(acts), "{line:?}");
    for seen in
        ["WARN", "request", "order_no=A1\\r\\nERROR forged", "path=A1\\r\\n", "refused A1", "\\u{1b}[2J\\u{9b}31m"]
    {
        assert!(line.contains(seen), "no {seen} in {line}");
    }
}

#[test]
fn a_hostile_field_survives_json_and_stays_on_its_line() {
    let text = logged(true, "info", false, hostile_event);
    let line = text.strip_suffix('\n').unwrap();
    assert!(!line.contains(acts), "{line:?}");
    let event: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(event["order_no"], HOSTILE);
    assert_eq!(event["message"], format!("refused {HOSTILE}"));
    assert_eq!(event["span"]["path"], HOSTILE);
    assert_eq!(event["level"], "WARN");
}

#[test]
fn colours_appear_only_when_asked_for() {
    let say = || tracing::info!(order_no = "A1", "placed");
    assert!(logged(false, "info", true, say).contains("\u{1b}["));
    let plain = logged(false, "info", false, say);
    assert!(!plain.contains('\u{1b}') && plain.contains("order_no=\"A1\"") && plain.ends_with('\n'), "{plain:?}");
}

#[test]
fn libraries_stay_quiet_at_debug_unless_named() {
    let say = || {
        tracing::debug!(target: "hyper_util::client", "GET /sns/oauth2?secret=x");
        tracing::debug!(target: "sqlx::query", "SELECT");
        tracing::info!(target: "sqlx::query", "SELECT");
        tracing::debug!(target: "wxpay_worker::worker", "ours");
    };
    let text = logged(false, "debug", false, say);
    assert!(text.contains("ours") && text.lines().count() == 1, "{text}");
    let text = logged(false, "debug,sqlx=debug", false, say);
    assert_eq!(text.lines().count(), 3, "{text}");
}

#[test]
fn a_job_that_ends_after_its_schedule_is_no_error() {
    let text = logged(false, "info", false, || {
        tracing::error!(target: "tokio_cron_scheduler::job::cron_job", "Error notifying done true");
        tracing::error!(target: "tokio_cron_scheduler::job::runner", "Error receiving");
    });
    assert!(text.contains("Error receiving") && text.lines().count() == 1, "{text}");
}

/// One series of a rendering; 0 while nothing was counted into it.
fn series(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or(0)
}

#[test]
fn metrics_render_with_their_descriptions_and_what_is_running() {
    let metrics = Metrics::install().unwrap();
    // Other tests of this process count as well: what is held is what these three add, at least.
    let before = metrics.render();
    metrics::counter!(telemetry::NOTIFY_RECEIVED_TOTAL, "merchant" => "telemetry", "result" => "accepted").increment(2);
    metrics::histogram!(telemetry::NOTIFY_ACK_SECONDS).record(0.2);
    metrics::histogram!(telemetry::ORDER_SETTLE_LAG_SECONDS).record(20_000.0);
    let text = metrics.render();
    for line in [
        "# TYPE wxpay_notify_received_total counter",
        "# HELP wxpay_notify_received_total Notifications received",
        "wxpay_notify_received_total{merchant=\"telemetry\",result=\"accepted\"} 2",
    ] {
        assert!(text.lines().any(|l| l.starts_with(line)), "no {line} in:\n{text}");
    }
    for (bucket, others) in [
        ("wxpay_notify_ack_seconds_bucket{le=\"0.25\"}", "wxpay_notify_ack_seconds_bucket{le=\"0.1\"}"),
        ("wxpay_order_settle_lag_seconds_bucket{le=\"21600\"}", "wxpay_order_settle_lag_seconds_bucket{le=\"1800\"}"),
    ] {
        let in_bucket = |text: &str| series(text, bucket) - series(text, others);
        assert!(in_bucket(&text) > in_bucket(&before), "no new {bucket} in:\n{text}");
    }
    let build = text.lines().find(|l| l.starts_with("wxpay_build_info{")).unwrap();
    assert!(build.contains(concat!("version=\"", env!("CARGO_PKG_VERSION"), "\"")) && build.ends_with(" 1"), "{build}");
    let again = Metrics::install().unwrap().render();
    assert!(again.contains("wxpay_notify_received_total{"), "a second recorder would count into nowhere");
}

#[test]
fn metric_names_follow_the_rules_of_prometheus() {
    let mut names: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
    for metric in METRICS {
        assert!(metric.name.starts_with("wxpay_"), "{}", metric.name);
        assert!(metric.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{}", metric.name);
        assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"), "{}", metric.name);
        assert_eq!(metric.unit == metrics::Unit::Seconds, metric.name.ends_with("_seconds"), "{}", metric.name);
        assert!(!metric.help.is_empty());
        for label in ["order_no", "openid", "url", "out_trade_no", "transaction_id"] {
            assert!(!metric.labels.contains(&label), "{} has no bound on {label}", metric.name);
        }
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), METRICS.len());
}

#[tokio::test]
async fn upkeep_ends_when_it_is_cancelled() {
    let metrics = Metrics::install().unwrap();
    let cancel = tokio_util::sync::CancellationToken::new();
    let token = cancel.clone();
    let running = tokio::spawn(async move { metrics.upkeep(&token).await });
    assert!(!running.is_finished());
    cancel.cancel();
    tokio::time::timeout(std::time::Duration::from_secs(4), running).await.expect("well before its next run").unwrap();
}

/// The parts of an error's words, none of which is there twice.
fn is_said_once(words: &str) -> bool {
    let parts: Vec<&str> = words.split(": ").collect();
    let mut distinct = parts.clone();
    distinct.sort_unstable();
    distinct.dedup();
    distinct.len() == parts.len()
}

#[test]
fn no_error_says_the_same_twice() {
    let refused = || DbErr::Custom("connection refused".to_owned());
    let errors: [&(dyn std::error::Error + 'static); 8] = [
        &AppError::Store(DbError::Unavailable(refused())),
        &AppError::Store(DbError::Exists(refused())),
        &AppError::Store(DbError::Defect("no such column".into())),
        &AppError::Bus(ConnectError::Shape("the stream has other subjects".into())),
        &AppError::Bus(ConnectError::Database(DbError::Unavailable(refused()))),
        &AppError::Bus(ConnectError::NotDurable("the server syncs every two minutes".into())),
        &AppError::Wechat(ClientError::Tls { why: "no certificate".into() }),
        &AppError::Listen(CannotListen("127.0.0.1:80".parse().unwrap(), std::io::Error::other("permission denied"))),
    ];
    for error in errors {
        let words = error_text(error);
        assert!(is_said_once(&words), "{words}");
    }
    let words = error_text(errors[0]);
    assert!(words.contains("database") && words.contains("connection refused"), "{words}");
    // An error that says its cause and one that does not end alike.
    let [said, unsaid] = [true, false].map(|says| {
        let inner = std::io::Error::other("disk full");
        error_text(&Outer { says, inner })
    });
    assert_eq!((said.as_str(), unsaid.as_str()), ("writing: disk full", "writing: disk full"));
}

#[derive(Debug)]
struct Outer {
    says: bool,
    inner: std::io::Error,
}

impl std::fmt::Display for Outer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.says { write!(f, "writing: {}", self.inner) } else { f.write_str("writing") }
    }
}

impl std::error::Error for Outer {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.inner)
    }
}

fn entries(logs: &str) -> Vec<Value> {
    logs.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[tokio::test]
async fn the_log_says_in_a_line_what_became_of_orders_and_nothing_of_libraries_or_payers() {
    let service = TestService::embedded_sqlite().await.refunds().processes().await;
    let process = service.run_all().await;
    let base = process.base.as_str();
    let placed = service.place(base, "L100001", 100).await;
    let token = placed["order_token"].as_str().unwrap();
    let stream = format!("{base}/v1/orders/L100001/stream?merchant=main&order_token={token}");
    let followed = service.http.get(&stream).send().await.unwrap();
    assert_eq!(followed.status(), 200);
    service.pay("L100001").await;
    // It ends with the order.
    assert!(followed.text().await.unwrap().contains("\"credited\":true"));
    let refund = json!({"refund_no": "L-REFUND-1", "amount_fen": 40});
    let (status, answer) = service.post(base, "/v1/orders/L100001/refunds?merchant=main", &refund).await;
    assert!(status < 300, "{answer}");
    within_timeout("the refund at WeChat", async { while service.wechat_refunds("L100001").await.is_empty() {} }).await;
    let ends = json!({"mch_id": MCH_ID, "out_refund_no": "L-REFUND-1", "outcome": "SUCCESS"});
    service.wechat_control("refunds/outcome", ends).await;
    let lines = ["An order is paid", "A refund succeeded"];
    let count = |logs: &[Value], message: &str| logs.iter().filter(|line| line["message"] == message).count();
    within_timeout("the lines", async {
        while !lines.iter().all(|line| count(&entries(&service.logs()), line) > 0) {
            let (status, _) = service.get(base, "/v1/refunds/L-REFUND-1?merchant=main").await;
            assert_eq!(status, 200);
        }
    })
    .await;
    let logs = entries(&service.logs());
    for line in lines {
        assert_eq!(count(&logs, line), 1, "{line} in {logs:?}");
        let entry = logs.iter().find(|entry| entry["message"] == line).unwrap();
        assert_eq!((&entry["order_no"], &entry["merchant"]), (&json!("L100001"), &json!("main")), "{entry}");
    }
    let text = service.logs();
    assert!(!text.contains(token) && !text.contains(OPENID), "{text}");
    // Everything at this level is of this program.
    let is_of_others = |entry: &&Value| {
        entry["level"] == "INFO" && !entry["target"].as_str().is_some_and(|target| target.starts_with("wxpay"))
    };
    assert_eq!(logs.iter().filter(is_of_others).collect::<Vec<_>>(), [] as [&Value; 0]);
    // The line is written before its event is published.
    service.until_drained().await;
    process.terminate().await;
    service.finish().await;
}
