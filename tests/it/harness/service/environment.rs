//! What surrounds the service: its database, its bus, WeChat; and requests to each of them.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wxpay_worker::bus::Bus;
use wxpay_worker::sandbox::Running;
use wxpay_worker::store::Db;

use super::accounts::{API_KEY, MCH_ID};
use super::queue::Queue;
use crate::harness::assert::{self, Expected};
use crate::harness::bus::bus_settings;
use crate::harness::certificates::Certificates;
use crate::harness::db::{TestDb, connected};
use crate::harness::requests::answer;
use crate::harness::{TEST_TIMEOUT, within_timeout};

/// Shorter than any server here keeps an idle connection: a request must not meet its close.
const REUSE: Duration = Duration::from_secs(2);

pub struct Environment {
    pub db: TestDb,
    pub queue: Queue,
    pub wechat_url: String,
    pub http: reqwest::Client,
    pub(super) port: u16,
    lease: Duration,
    /// Stops with this value.
    _wechat: Running,
    _certificates: Option<Certificates>,
    expected: Mutex<Expected>,
    finished: AtomicBool,
}

impl Environment {
    pub(super) fn new(
        db: TestDb,
        queue: Queue,
        wechat: Running,
        port: u16,
        lease: Duration,
        certificates: Option<Certificates>,
    ) -> Environment {
        let http = crate::harness::requests::plain_http().timeout(Duration::from_secs(50)).pool_idle_timeout(REUSE);
        Environment {
            db,
            queue,
            wechat_url: wechat.base_url(),
            http: http.build().unwrap(),
            port,
            lease,
            _wechat: wechat,
            _certificates: certificates,
            expected: Mutex::default(),
            finished: AtomicBool::new(false),
        }
    }

    /// Exactly these dead letters are there at the end, by reason.
    pub fn expect_dead_letters(&self, reasons: &[&str]) {
        self.expected.lock().unwrap().dead_letters(reasons);
    }

    /// At the end messages, events or notifications are unfinished.
    pub fn leave_unfinished(&self, why: &'static str) {
        self.expected.lock().unwrap().unfinished = Some(why);
    }

    /// At the end our books and WeChat's differ.
    pub fn leave_books_open(&self, why: &'static str) {
        self.expected.lock().unwrap().open_books = Some(why);
    }

    pub(super) fn is_finished(&self) {
        self.finished.store(true, Ordering::Relaxed);
    }

    pub(super) fn expected(&self) -> Expected {
        self.expected.lock().unwrap().clone()
    }

    pub async fn get(&self, base: &str, path: &str) -> (u16, Value) {
        self.try_get(base, path).await.unwrap()
    }

    pub async fn post(&self, base: &str, path: &str, body: &Value) -> (u16, Value) {
        self.try_post(base, path, body).await.unwrap()
    }

    /// As [`Environment::get`] of a process that may die meanwhile.
    pub async fn try_get(&self, base: &str, path: &str) -> reqwest::Result<(u16, Value)> {
        answer(self.http.get(format!("{base}{path}")).bearer_auth(API_KEY)).await
    }

    /// As [`Environment::post`] to a process that may die meanwhile.
    pub async fn try_post(&self, base: &str, path: &str, body: &Value) -> reqwest::Result<(u16, Value)> {
        let request = self.http.post(format!("{base}{path}")).bearer_auth(API_KEY);
        answer(request.header("content-type", "application/json").body(body.to_string())).await
    }

    /// Operates the simulator.
    pub async fn wechat_control(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.try_post(&self.wechat_url, &format!("/_sandbox/{path}"), &body).await.unwrap();
        assert!(status < 300, "{answer}");
        answer
    }

    /// Adds to the simulator's faults.
    pub async fn faults(&self, faults: Value) {
        self.wechat_control("faults", faults).await;
    }

    /// Ends the simulator's faults.
    pub async fn clear_faults(&self) {
        let cleared = self.http.delete(format!("{}/_sandbox/faults", self.wechat_url)).send().await.unwrap();
        assert!(cleared.status().is_success());
    }

    /// Acts as the payer of an attempt at the first merchant.
    pub async fn pay(&self, out_trade_no: &str) -> Value {
        self.wechat_control("pay", json!({"out_trade_no": out_trade_no, "mch_id": MCH_ID})).await
    }

    /// What WeChat knows: of everything, or what the query selects.
    pub async fn wechat_books(&self, query: &str) -> Value {
        let (status, ledger) = self.try_get(&self.wechat_url, &format!("/_sandbox/ledger?{query}")).await.unwrap();
        assert_eq!(status, 200, "{ledger}");
        ledger
    }

    /// What WeChat knows of an attempt at the first merchant, with its payments and refunds.
    pub async fn wechat_ledger(&self, out_trade_no: &str) -> Value {
        self.wechat_books(&format!("mch_id={MCH_ID}&out_trade_no={out_trade_no}")).await
    }

    /// What WeChat knows of an attempt at the first merchant.
    pub async fn wechat_order(&self, out_trade_no: &str) -> Value {
        self.wechat_ledger(out_trade_no).await["orders"][0].clone()
    }

    /// What WeChat knows of an order's refunds.
    pub async fn wechat_refunds(&self, out_trade_no: &str) -> Vec<Value> {
        self.wechat_ledger(out_trade_no).await["refunds"].as_array().unwrap().clone()
    }

    /// The calls of an API that the simulator saw about an attempt.
    pub async fn wechat_calls(&self, api: &str, out_trade_no: &str) -> Vec<Value> {
        let path = format!("/_sandbox/requests?mch_id={MCH_ID}&out_trade_no={out_trade_no}");
        let (_, seen) = self.try_get(&self.wechat_url, &path).await.unwrap();
        let calls = seen["requests"].as_array().unwrap().iter().find(|request| request["api"] == api).cloned();
        calls.map(|calls| calls["each"].as_array().unwrap().clone()).unwrap_or_default()
    }

    /// Opens the service's database beside it.
    pub async fn open_db(&self) -> Db {
        connected(&self.db.settings()).await
    }

    /// Opens the service's bus beside it.
    pub async fn open_bus(&self, db: &Db) -> Bus {
        let mut settings = bus_settings(self.queue.url(), self.queue.monitoring_urls(), 1 << 30);
        settings.replicas = self.queue.replicas();
        settings.ack_wait = self.lease;
        let started = Instant::now();
        loop {
            match Bus::connect(&settings, Some(db.clone())).await {
                Ok((bus, _)) => return bus,
                // A cluster that has just elected its leader does not answer at first, nor does a busy machine.
                Err(_) if started.elapsed() < TEST_TIMEOUT => {}
                Err(error) => panic!("{error}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Awaits that nothing is left to do and that the books agree. Without a bus what is left to do is not checked.
    pub(super) async fn assert_finished(&self, db: &Db, bus: Option<&Bus>) {
        let (expected, started) = (self.expected(), Instant::now());
        loop {
            let problems = assert::problems(&expected, db, bus, &self.wechat_books("").await).await;
            if problems.is_empty() {
                return;
            }
            assert!(started.elapsed() < TEST_TIMEOUT, "not finished within {TEST_TIMEOUT:?}:\n{}", problems.join("\n"));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Whether nothing is left to do: every event relayed, every message settled, nothing deferred.
    pub async fn is_drained(&self, db: &Db, bus: &Bus) -> bool {
        assert::unfinished(db, bus).await.is_empty()
    }

    /// Awaits [`Environment::is_drained`].
    pub async fn until_drained(&self) {
        let db = self.open_db().await;
        let bus = self.open_bus(&db).await;
        within_timeout("an empty queue", async {
            while !self.is_drained(&db, &bus).await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    }
}

/// Where the service keeps bills.
pub(super) fn bills_dir(port: u16) -> PathBuf {
    std::env::temp_dir().join(format!("wxpay-test-bills-{port}"))
}

impl Drop for Environment {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(bills_dir(self.port));
        assert!(self.finished.load(Ordering::Relaxed) || std::thread::panicking(), "the test did not call finish()");
    }
}
