//! A database, WeChat's platform on the same manual clock, and the refresher between them.

use std::sync::Arc;
use std::time::Duration;

use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use wxpay_worker::clock::{Clock, Timestamp};
use wxpay_worker::config::Config;
use wxpay_worker::ids::{AppId, MchId};
use wxpay_worker::sandbox::{Account, Options, PlatformApp, PlatformKind, Running, Sandbox, Settings};
use wxpay_worker::scheduler::{Done, JobError, Tokens};
use wxpay_worker::sealed_box::SealKey;
use wxpay_worker::secret::{Secret, V2Key};
use wxpay_worker::store::{Lease, Store, StoredToken, TOKEN_SEAL, TokenKind, TokenState};
use wxpay_worker::wechat::platform::PlatformClient;

pub const SHOP: &str = "wxd930ea5d5a258f4f";
pub const MINI: &str = "wx6d5a258f4fd930ea";
pub const SESSION_KEY: &str = "k1m2n3p4q5r6s7t8u9v0w1x2y3z4a5b6";
const SECRET: &str = "s1s2s3s4s5s6s7s8s9s0a1a2a3a4a5a6";
const V2_KEY: &str = "Kq7vT2mZ9xB4nR6pL1wD8sF3hJ5gY0cA";
pub const LEASE: Duration = Duration::from_secs(60);

/// A shop's official account that two merchants list, and a mini program of one of them.
pub fn configuration(folder: &TempDir, api_url: &str, token: &str) -> Config {
    let text = format!(
        r#"
[server]
public_url = "https://pay.example.com"
[store]
url = "sqlite://{}/wxpay.db"
[wechat]
api_url = "{api_url}"
timeout_ms = 8000
[web]
session_key = "{SESSION_KEY}"
[[apps]]
key = "shop"
app_id = "{SHOP}"
kind = "official_account"
secret = "{SECRET}"
token = "{token}"
[[apps]]
key = "mini"
app_id = "{MINI}"
kind = "mini_program"
secret = "{SECRET}"
[[apps]]
key = "native"
app_id = "wx8888888888888888"
kind = "mobile"
secret = "{SECRET}"
[[merchants]]
key = "main"
mch_id = "10000100"
apps = ["shop", "mini"]
v2_key = "{V2_KEY}"
[[merchants]]
key = "second"
mch_id = "10000200"
apps = ["shop"]
v2_key = "{V2_KEY}"
"#,
        folder.path().display()
    );
    Config::from_toml_str(&text).unwrap_or_else(|e| panic!("{e}"))
}

pub struct Stage {
    pub config: Config,
    pub store: Store,
    pub clock: Clock,
    pub wechat: Running,
    pub tokens: Arc<Tokens>,
    pub lease: Lease,
    http: reqwest::Client,
    /// The database lives here.
    _folder: TempDir,
}

impl Stage {
    pub async fn open() -> Stage {
        Stage::with("stable", Settings::default()).await
    }

    pub async fn with(token: &str, settings: Settings) -> Stage {
        // Half past ten in the morning in Beijing.
        let clock = Clock::manual(Timestamp::parse_rfc3339("2026-03-01T02:30:00Z").unwrap());
        Stage::on(clock, token, settings).await
    }

    pub async fn on(clock: Clock, token: &str, settings: Settings) -> Stage {
        let app = |kind, appid| PlatformApp::new(kind, AppId::parse(appid).unwrap(), Secret::new(SECRET));
        let merchant = Account {
            mch_id: MchId::parse("10000100").unwrap(),
            v2_key: V2Key::parse(V2_KEY).unwrap(),
            appids: vec![AppId::parse(SHOP).unwrap()],
        };
        let apps = vec![app(PlatformKind::OfficialAccount, SHOP), app(PlatformKind::MiniProgram, MINI)];
        let settings = Settings { merchants: vec![merchant], apps, ..settings };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let options = Options { clock: clock.clone(), ..Options::default() };
        let wechat = Sandbox::start_with(listener, settings, options).await.unwrap();
        let folder = TempDir::new().unwrap();
        let config = configuration(&folder, &wechat.base_url(), token);
        let store = Store::open(&config.store).await.unwrap();
        let lease = store.lease("platform_tokens", "test", LEASE).await.unwrap().unwrap();
        let tokens = refresher(&config);
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Stage { config, store, clock, wechat, tokens, lease, http, _folder: folder }
    }

    /// One run of the job.
    pub async fn run(&self) -> Result<Done, JobError> {
        self.tokens.refresh_due(&self.store, &self.clock, &self.lease).await
    }

    /// Runs every second for so long.
    pub async fn run_for(&self, seconds: u64) {
        self.run_every(1, seconds).await;
    }

    /// Runs every so many seconds for so long.
    pub async fn run_every(&self, step_s: u64, seconds: u64) {
        for _ in 0..seconds / step_s {
            self.clock.advance(Duration::from_secs(step_s));
            self.run().await.unwrap();
        }
    }

    pub fn seal(&self) -> SealKey {
        SealKey::derive(&Secret::new(SESSION_KEY), TOKEN_SEAL).unwrap()
    }

    /// What a request path would use.
    pub async fn token(&self, app: &str, kind: TokenKind) -> Option<StoredToken> {
        let app = self.config.app(app).unwrap();
        self.store.token(&self.seal(), app, kind, self.clock.now()).await.unwrap()
    }

    pub async fn state(&self, app: &str, kind: TokenKind) -> TokenState {
        let states = self.store.token_states(&self.seal(), self.config.app(app).unwrap()).await.unwrap();
        states.into_iter().find(|state| state.kind == kind).unwrap()
    }

    /// What a request path says that was refused.
    pub async fn report(&self, app: &str, token: &StoredToken) -> bool {
        let key = &self.config.app(app).unwrap().key;
        self.store.report_dead_token(key, TokenKind::AccessToken, &token.hash, self.clock.now()).await.unwrap()
    }

    pub async fn control(&self, path: &str, body: Value) -> Value {
        let url = format!("{}/_sandbox/{path}", self.wechat.base_url());
        let answer = self.http.post(url).header("content-type", "application/json").body(body.to_string()).send();
        let answer = answer.await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or(Value::Null)
    }

    pub async fn faults(&self, rules: Value) {
        self.control("faults", rules).await;
    }

    /// Whether WeChat takes this value.
    pub async fn is_alive(&self, token: &StoredToken) -> bool {
        self.control("platform/check", json!({"value": token.value.expose()})).await["alive"] == true
    }

    /// How often WeChat was called.
    pub async fn calls(&self, api: &str, appid: &str) -> u64 {
        let url = format!("{}/_sandbox/platform/calls", self.wechat.base_url());
        let seen: Value =
            serde_json::from_slice(&self.http.get(url).send().await.unwrap().bytes().await.unwrap()).unwrap();
        let of = |call: &&Value| call["api"] == api && call["appid"] == appid;
        seen["calls"].as_array().unwrap().iter().find(of).map_or(0, |call| call["count"].as_u64().unwrap())
    }

    pub async fn count(&self, table: &str) -> i64 {
        let db = self.store.db();
        let sql = format!("SELECT COUNT(*) AS n FROM {table}");
        let row = db.read().query_one_raw(db.statement(sql, [])).await.unwrap().unwrap();
        row.try_get("", "n").unwrap()
    }

    pub async fn events(&self, entity_fact: &str) -> i64 {
        self.count(&format!("outbox WHERE event_type = 'wxpay.{entity_fact}.v1'")).await
    }
}

/// As each process has one.
pub fn refresher(config: &Config) -> Arc<Tokens> {
    let platform = PlatformClient::new(&config.wechat).unwrap();
    Arc::new(Tokens::new(config, platform).unwrap().unwrap())
}
