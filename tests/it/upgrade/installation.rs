//! This version of the service and the simulator over a fixture, at the time at which the fixture was written.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::{Method, header};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, Statement, TryGetableMany};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wxpay_worker::app::{App, AppError, Roles};
use wxpay_worker::bus::Bus;
use wxpay_worker::clock::{Clock, Timestamp};
use wxpay_worker::config::Config;
use wxpay_worker::http::Listeners;
use wxpay_worker::ids::{AppId, MchId};
use wxpay_worker::sandbox::{Account, Options, PlatformKind, Running, Sandbox, Settings};
use wxpay_worker::secret::{Secret, V2Key, sha256_hex};

use super::fixture::Fixture;
use crate::harness::service::{
    API_KEY, APP_ID, APP_SECRET, KEY, MCH_ID, MINI_APP_ID, MINI_SECRET, OTHER_KEY, OTHER_MCH_ID, app,
};
use crate::harness::{TEST_TIMEOUT, within_timeout};

pub const PHONE_APP_ID: &str = "wx6666666666666666";
pub const CALLBACK: &str = "http://127.0.0.1:5173/pay";
/// The service's clock moves by steps so long, so many times as fast as time. Orders can be closed within five minutes,
/// what came before its order is given up within four.
const STEP: Duration = Duration::from_secs(10);
const SPEED: u32 = 100;
/// Then it moves only where nothing but time is missing, as what a busy machine began late waits for: the orders must
/// not expire, which they do after two hours.
const LONGEST: Duration = Duration::from_secs(600);
/// Where it stands still.
const MOST: Duration = Duration::from_secs(2400);
/// Many things happen, one after the other.
const TIMEOUT: Duration = Duration::from_secs(3 * TEST_TIMEOUT.as_secs());

pub struct Installation {
    pub fixture: Fixture,
    pub base: String,
    pub wechat_url: String,
    pub http: reqwest::Client,
    clock: Clock,
    db: DatabaseConnection,
    bus: Bus,
    wechat: Running,
    stop: CancellationToken,
    service: JoinHandle<Result<(), AppError>>,
    /// Who held each lease last, and for which term, when the fixture was written.
    pub leases: BTreeMap<String, i64>,
    _certificates: TempDir,
}

fn account(mch_id: &str, key: &str) -> Account {
    Account {
        mch_id: MchId::parse(mch_id).unwrap(),
        v2_key: V2Key::parse(key).unwrap(),
        appids: [APP_ID, MINI_APP_ID, PHONE_APP_ID].map(|appid| AppId::parse(appid).unwrap()).into(),
    }
}

impl Installation {
    pub async fn open(fixture: Fixture) -> Installation {
        let clock = Clock::manual(Timestamp::from_ms(fixture.manifest["written_at_ms"].as_i64().unwrap()));
        let listen = || tokio::net::TcpListener::bind("127.0.0.1:0");
        let listener = listen().await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        fixture.move_to(&base);
        let certificates = TempDir::new().unwrap();
        let options = Options {
            state: Some(fixture.journal.clone()),
            clock: clock.clone(),
            certificates: Some(certificates.path().to_owned()),
            ..Options::default()
        };
        let settings = Settings {
            merchants: vec![account(MCH_ID, KEY), account(OTHER_MCH_ID, OTHER_KEY)],
            apps: vec![
                app(PlatformKind::OfficialAccount, APP_ID, APP_SECRET),
                app(PlatformKind::MiniProgram, MINI_APP_ID, MINI_SECRET),
            ],
            ..Settings::default()
        };
        let wechat = Sandbox::start_with(listen().await.unwrap(), settings, options).await.unwrap();
        let config = config(&fixture, &base, &wechat, certificates.path());
        let db = Database::connect(fixture.db.url()).await.unwrap();
        let leases = leases(&db).await;
        let opened = App::open(config, clock.clone()).await.unwrap();
        let (bus, stop) = (opened.bus.clone(), CancellationToken::new());
        let listeners = Listeners { api: Some(listener), ..Listeners::default() };
        let service = tokio::spawn(opened.run(Roles::ALL, listeners, stop.clone()));
        let redirect = reqwest::redirect::Policy::none();
        let http = crate::harness::requests::plain_http().redirect(redirect).build().unwrap();
        let (wechat_url, _certificates) = (wechat.base_url(), certificates);
        Installation { fixture, base, wechat_url, http, clock, db, bus, wechat, stop, service, leases, _certificates }
    }

    pub async fn stop(self) {
        self.stop.cancel();
        within_timeout("the end of the service", self.service).await.unwrap().unwrap();
        self.wechat.shutdown().await;
    }

    pub async fn call(&self, method: Method, path: &str, key: Option<&str>, body: &Value) -> (u16, Value) {
        let mut request = self.http.request(method, format!("{}{path}", self.base)).bearer_auth(API_KEY);
        request = request.header("prefer", "wait=0");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        if !body.is_null() {
            request = request.header(header::CONTENT_TYPE, "application/json").body(body.to_string());
        }
        answer(request).await
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.call(Method::GET, path, None, &Value::Null).await
    }

    pub async fn order(&self, order_no: &str, merchant: &str) -> Value {
        let (status, order) = self.get(&format!("/v1/orders/{order_no}?merchant={merchant}")).await;
        assert_eq!(status, 200, "{order_no}: {order}");
        order
    }

    pub async fn refund(&self, refund_no: &str) -> Value {
        let (status, refund) = self.get(&format!("/v1/refunds/{refund_no}?merchant=main")).await;
        assert_eq!(status, 200, "{refund_no}: {refund}");
        refund
    }

    /// What WeChat holds true.
    pub async fn truth(&self) -> Value {
        answer(self.http.get(format!("{}/_sandbox/ledger", self.wechat_url))).await.1
    }

    /// How often this version has called an API of WeChat about a number.
    pub async fn calls(&self, api: &str, out_trade_no: &str) -> u64 {
        let url = format!("{}/_sandbox/requests?out_trade_no={out_trade_no}", self.wechat_url);
        let (_, seen) = answer(self.http.get(url)).await;
        let calls = seen["requests"].as_array().unwrap().iter().filter(|call| call["api"] == api);
        calls.map(|call| call["count"].as_u64().unwrap()).sum()
    }

    pub async fn wechat_control(&self, path: &str, body: Value) -> Value {
        let url = format!("{}/_sandbox/{path}", self.wechat_url);
        let request = self.http.post(url).header(header::CONTENT_TYPE, "application/json").body(body.to_string());
        let (status, said) = answer(request).await;
        assert_eq!(status, 200, "{path} {body}: {said}");
        said
    }

    pub async fn pay(&self, out_trade_no: &str, merchant: &str) {
        let mch_id = if merchant == "main" { MCH_ID } else { OTHER_MCH_ID };
        self.wechat_control("pay", json!({"out_trade_no": out_trade_no, "mch_id": mch_id})).await;
    }

    /// WeChat repeats its notification of a payment.
    pub async fn notify_again(&self, out_trade_no: &str, merchant: &str) {
        let mch_id = if merchant == "main" { MCH_ID } else { OTHER_MCH_ID };
        self.wechat_control("notify", json!({"out_trade_no": out_trade_no, "mch_id": mch_id})).await;
    }

    /// The rows of a query.
    pub async fn rows<T: TryGetableMany>(&self, sql: &str) -> Vec<T> {
        rows(&self.db, sql).await
    }

    pub async fn leases(&self) -> BTreeMap<String, i64> {
        leases(&self.db).await
    }

    pub async fn number(&self, sql: &str) -> i64 {
        self.rows::<(i64,)>(&format!("SELECT ({sql})")).await[0].0
    }

    /// Lets time pass, a hundred times as fast, until nothing is missing; `missing` names the first thing that is.
    pub async fn pass_until(&self, what: &str, missing: impl AsyncFn() -> Option<String>) {
        let (mut last, mut passed) = (None, Duration::ZERO);
        let settled = tokio::time::timeout(TIMEOUT, async {
            loop {
                last = missing().await;
                if last.is_none() {
                    break;
                }
                if passed < LONGEST || passed < MOST && self.is_idle().await {
                    self.clock.advance(STEP);
                    passed += STEP;
                }
                tokio::time::sleep(STEP / SPEED).await;
            }
        });
        let settled = settled.await;
        assert!(settled.is_ok(), "{what} did not happen within {TIMEOUT:?}: {last:?}");
    }

    /// Whether every message is settled, or waits for a later time.
    async fn is_idle(&self) -> bool {
        self.bus.lag().await.is_ok_and(|lag| lag.iter().all(|l| l.pending == 0 && l.in_flight == 0))
    }

    /// What is left to do: events to relay, messages to settle, deferred ones.
    pub async fn undone(&self) -> Option<String> {
        let lag = self.bus.lag().await;
        if !lag.as_ref().is_ok_and(|lag| lag.iter().all(|l| l.pending == 0 && l.in_flight == 0)) {
            return Some(format!("messages are open: {lag:?}"));
        }
        let unrelayed = self.number("SELECT COUNT(*) FROM outbox WHERE relayed_at_ms IS NULL").await;
        let deferred = self.number("SELECT COUNT(*) FROM deferred").await;
        (unrelayed + deferred > 0).then(|| format!("{unrelayed} events are not relayed, {deferred} messages deferred"))
    }
}

async fn rows<T: TryGetableMany>(db: &DatabaseConnection, sql: &str) -> Vec<T> {
    let statement = Statement::from_string(db.get_database_backend(), sql);
    let rows = db.query_all_raw(statement).await.unwrap();
    rows.iter().map(|row| T::try_get_many_by_index(row).unwrap()).collect()
}

/// The term of each lease.
async fn leases(db: &DatabaseConnection) -> BTreeMap<String, i64> {
    rows::<(String, i64)>(db, "SELECT name, term FROM leases").await.into_iter().collect()
}

pub async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or(Value::Null))
}

fn config(fixture: &Fixture, base: &str, wechat: &Running, certificates: &std::path::Path) -> Config {
    let (wechat_url, refund_url) = (wechat.base_url(), wechat.refund_base_url());
    let (bus, monitoring) = match &fixture.nats {
        None => ("embedded:".to_owned(), Vec::new()),
        Some(server) => (server.url(), vec![server.monitoring_url()]),
    };
    let certificate = |mch_id: &str| {
        let folder = certificates.join(mch_id);
        let (cert, key) = (folder.join("apiclient_cert.pem"), folder.join("apiclient_key.pem"));
        format!("client_cert_file = {cert:?}\nclient_key_file = {key:?}")
    };
    let (main, second) = (certificate(MCH_ID), certificate(OTHER_MCH_ID));
    let (ca, hash) = (certificates.join("ca.pem"), sha256_hex(API_KEY.as_bytes()));
    let session_key = fixture.manifest["session_key"].as_str().unwrap();
    let mut config = Config::from_toml_str(&format!(
        r#"
        [server]
        public_url = "{base}"
        [bus]
        url = "{bus}"
        monitoring_urls = {monitoring:?}
        [wechat]
        pay_url = "{wechat_url}"
        pay_backup_url = "{wechat_url}"
        api_url = "{wechat_url}"
        open_url = "{wechat_url}"
        refund_url = "{refund_url}"
        pay_ca_file = {ca:?}
        [web]
        session_key = "{session_key}"
        callback_origins = ["http://127.0.0.1:5173"]
        [[apps]]
        key = "shop"
        app_id = "{APP_ID}"
        kind = "official_account"
        secret = "{APP_SECRET}"
        [[apps]]
        key = "mini"
        app_id = "{MINI_APP_ID}"
        kind = "mini_program"
        secret = "{MINI_SECRET}"
        [[apps]]
        key = "phone"
        app_id = "{PHONE_APP_ID}"
        kind = "mobile"
        [[apps]]
        key = "stranger"
        app_id = "wx5555555555555555"
        kind = "mobile"
        [[merchants]]
        key = "main"
        mch_id = "{MCH_ID}"
        apps = ["shop", "mini", "phone", "stranger"]
        v2_key = "{KEY}"
        {main}
        [[merchants]]
        key = "second"
        mch_id = "{OTHER_MCH_ID}"
        apps = ["shop", "mini", "phone", "stranger"]
        sign_type = "MD5"
        v2_key = "{OTHER_KEY}"
        paid_late = "refund"
        paid_twice = "refund"
        {second}
        [[api_keys]]
        name = "test"
        hash = "sha256:{hash}"
        scopes = ["orders", "refunds", "finance", "ops"]
        merchants = "all"
        "#
    ))
    .unwrap();
    config.store.url = Secret::new(fixture.db.url());
    config.store.max_connections = 8;
    config
}
