//! The service and the WeChat simulator in this process, both by one clock that the test moves: five minutes pass at once.

use std::time::Duration;

use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wxpay_worker::app::{App, AppError, Listeners, Roles};
use wxpay_worker::clock::{Clock, Timestamp};
use wxpay_worker::config::Config;
use wxpay_worker::ids::{MerchantKey, OrderNo};
use wxpay_worker::sandbox::{Account, Options, PlatformKind, Running, Sandbox, Settings};
use wxpay_worker::secret::{Secret, sha256_hex};
use wxpay_worker::store::{Store, StoredOrder};

use super::certificates::Certificates;
use super::db::TestDb;
use super::service::{API_KEY, APP_ID, APP_SECRET, KEY, MCH_ID, OTHER_KEY, OTHER_MCH_ID, account, jsapi};
use super::soon;

/// Everything, and the means to look at it.
pub struct Town {
    pub clock: Clock,
    pub store: Store,
    pub base: String,
    pub wechat_url: String,
    pub http: reqwest::Client,
    wechat: Running,
    config: Config,
    stop: CancellationToken,
    service: JoinHandle<Result<(), AppError>>,
    _db: TestDb,
    _files: Option<Certificates>,
}

/// What a town has for refunds.
#[derive(Clone, Copy)]
enum Refunds {
    None,
    OverTls,
    OverPlainHttp,
}

/// Databases measure leases by their own clock; the moved one begins at theirs.
fn moved() -> Clock {
    Clock::manual(Clock::system().now())
}

async fn run(
    config: &Config,
    clock: &Clock,
    listener: tokio::net::TcpListener,
    stop: &CancellationToken,
) -> (Store, JoinHandle<Result<(), AppError>>) {
    let app = App::open(config.clone(), clock.clone()).await.unwrap();
    let store = app.store.clone();
    let listeners = Listeners { api: Some(listener), admin: None };
    (store, tokio::spawn(app.run(Roles::ALL, listeners, stop.clone())))
}

impl Town {
    /// Starts all of it. `merchant` is TOML for the merchant's entry, `more` for sections of their own.
    pub async fn start(db: TestDb, merchant: &str, more: &str) -> Town {
        Town::open(db, vec![account(MCH_ID, KEY)], [merchant, more], Refunds::None, moved()).await
    }

    /// With [`OTHER_MCH_ID`] at WeChat beside the merchant; `more` may configure it.
    pub async fn with_another_merchant(db: TestDb, more: &str) -> Town {
        let accounts = vec![account(MCH_ID, KEY), account(OTHER_MCH_ID, OTHER_KEY)];
        Town::open(db, accounts, ["", more], Refunds::None, moved()).await
    }

    /// With the merchant's certificate, for refunds.
    pub async fn with_refunds(db: TestDb, merchant: &str) -> Town {
        Town::open(db, vec![account(MCH_ID, KEY)], [merchant, ""], Refunds::OverTls, moved()).await
    }

    /// With a certificate that WeChat never sees: refunds go to the address that asks for none.
    pub async fn with_refunds_over_plain_http(db: TestDb) -> Town {
        Town::open(db, vec![account(MCH_ID, KEY)], ["", ""], Refunds::OverPlainHttp, moved()).await
    }

    /// In real time.
    pub async fn in_real_time(db: TestDb) -> Town {
        Town::open(db, vec![account(MCH_ID, KEY)], ["", ""], Refunds::None, Clock::system()).await
    }

    async fn open(
        db: TestDb,
        accounts: Vec<Account>,
        [merchant, more]: [&str; 2],
        refunds: Refunds,
        clock: Clock,
    ) -> Town {
        let bind = |port: u16| tokio::net::TcpListener::bind(("127.0.0.1", port));
        let options = Options { clock: clock.clone(), ..Options::default() };
        let apps = vec![super::service::app(PlatformKind::OfficialAccount, APP_ID, APP_SECRET)];
        let settings = Settings { apps, ..super::service::settings(accounts) };
        let wechat = Sandbox::start_with(bind(0).await.unwrap(), settings, options).await.unwrap();
        let port = super::service::free_port();
        let (listener, wechat_url) = (bind(port).await.unwrap(), wechat.base_url());
        let base = format!("http://{}", listener.local_addr().unwrap());
        let hash = sha256_hex(API_KEY.as_bytes());
        let files = match refunds {
            Refunds::None => None,
            Refunds::OverTls | Refunds::OverPlainHttp => Some(Certificates::of(&wechat_url, MCH_ID).await),
        };
        let certificate = files.as_ref().map(Certificates::merchant_toml).unwrap_or_default();
        let refund_url = match (&files, refunds) {
            (Some(files), Refunds::OverTls) => files.wechat_toml(),
            (Some(_) | None, _) => String::new(),
        };
        let mut config = Config::from_toml_str(&format!(
            r#"
            [server]
            public_url = "{base}"
            order_wait_ms = 8000
            notify_ack_timeout_ms = 4500
            [wechat]
            pay_url = "{wechat_url}"
            pay_backup_url = "{wechat_url}"
            api_url = "{wechat_url}"
            open_url = "{wechat_url}"
            connect_timeout_ms = 1000
            timeout_ms = 8000
            {refund_url}
            [[apps]]
            key = "shop"
            app_id = "{APP_ID}"
            kind = "official_account"
            secret = "{APP_SECRET}"
            [[merchants]]
            key = "main"
            mch_id = "{MCH_ID}"
            apps = ["shop"]
            v2_key = "{KEY}"
            {certificate}
            {merchant}
            [[api_keys]]
            name = "test"
            hash = "sha256:{hash}"
            scopes = ["orders", "finance", "ops"]
            {more}
            "#
        ))
        .unwrap();
        config.store.url = Secret::new(db.url());
        config.store.max_connections = 8;
        let stop = CancellationToken::new();
        let (store, service) = run(&config, &clock, listener, &stop).await;
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(50)).build().unwrap();
        Town { clock, store, base, wechat_url, http, wechat, config, stop, service, _db: db, _files: files }
    }

    /// The service stops and starts again with another configuration.
    pub async fn configured_anew(&mut self, change: impl FnOnce(&mut Config)) {
        change(&mut self.config);
        self.move_to_host(self.clock.clone()).await;
    }

    /// The service stops and starts again, at the same address, on a host with this clock. The simulator's stays.
    pub async fn move_to_host(&mut self, clock: Clock) {
        self.stop.cancel();
        soon("the end of the service", &mut self.service).await.unwrap().unwrap();
        let listener = tokio::net::TcpListener::bind(self.base.trim_start_matches("http://")).await.unwrap();
        self.stop = CancellationToken::new();
        (self.store, self.service) = run(&self.config, &clock, listener, &self.stop).await;
        self.clock = clock;
    }

    /// Lets everything end in order.
    pub async fn stop(self) {
        self.stop.cancel();
        soon("the end of the service", self.service).await.unwrap().unwrap();
        self.wechat.shutdown().await;
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        super::service::answer(self.http.get(format!("{}{path}", self.base)).bearer_auth(API_KEY)).await.unwrap()
    }

    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.post_to(&format!("{}{path}", self.base), body).await
    }

    async fn post_to(&self, url: &str, body: &Value) -> (u16, Value) {
        let request = self.http.post(url).bearer_auth(API_KEY).header("content-type", "application/json");
        super::service::answer(request.body(body.to_string())).await.unwrap()
    }

    /// Tells the simulator something.
    pub async fn tell_wechat(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.post_to(&format!("{}/_sandbox/{path}", self.wechat_url), &body).await;
        assert!(status < 300, "{answer}");
        answer
    }

    /// Acts as the payer of an attempt.
    pub async fn pay(&self, out_trade_no: &str) -> Value {
        self.tell_wechat("pay", json!({"out_trade_no": out_trade_no, "mch_id": MCH_ID})).await
    }

    /// What WeChat knows of an attempt.
    pub async fn wechat_order(&self, out_trade_no: &str) -> Value {
        let url = format!("{}/_sandbox/ledger?mch_id={MCH_ID}&out_trade_no={out_trade_no}", self.wechat_url);
        let (_, ledger) = super::service::answer(self.http.get(url)).await.unwrap();
        ledger["orders"][0].clone()
    }

    /// Places an order and awaits its pay parameters.
    pub async fn place(&self, order_no: &str) -> Value {
        let (status, order) = soon(&format!("pay parameters of {order_no}"), async {
            loop {
                // On a busy machine the first answer may be that it takes longer.
                match self.post("/v1/orders", &jsapi(order_no, 100)).await {
                    (202, _) => {}
                    answered => return answered,
                }
            }
        })
        .await;
        assert_eq!(status, 200, "{order}");
        order
    }

    pub async fn stored(&self, order_no: &str) -> StoredOrder {
        let merchant = MerchantKey::parse("main").unwrap();
        self.store.order(&merchant, &OrderNo::parse(order_no).unwrap()).await.unwrap().unwrap()
    }

    /// Looks after every commit until something is found.
    pub async fn found<T, F: Future<Output = Option<T>>>(&self, what: &str, look: impl Fn() -> F) -> T {
        soon(what, async {
            let mut commits = self.store.commits();
            loop {
                if let Some(found) = look().await {
                    return found;
                }
                // Changes of an order are signalled; a time to look again is written without a signal.
                let _ = tokio::time::timeout(Duration::from_millis(50), commits.changed()).await;
            }
        })
        .await
    }

    /// Awaits what the stored order shall be.
    pub async fn until(&self, what: &str, order_no: &str, is: impl Fn(&StoredOrder) -> bool) -> StoredOrder {
        let is = &is;
        self.found(what, || async move { Some(self.stored(order_no).await).filter(|stored| is(stored)) }).await
    }

    /// Awaits what a number from the database shall be.
    pub async fn until_number(&self, what: &str, sql: &str, is: impl Fn(i64) -> bool) {
        let is = &is;
        self.found(what, || async move { is(self.number(sql).await).then_some(()) }).await;
    }

    pub async fn until_state(&self, order_no: &str, state: &str) -> StoredOrder {
        self.until(&format!("{order_no} {state}"), order_no, |s| s.order.state.as_str() == state).await
    }

    /// One number from the database.
    pub async fn number(&self, sql: &str) -> i64 {
        let db = self.store.db();
        let row = db.read().query_one_raw(db.statement(format!("SELECT ({sql}) AS n"), [])).await.unwrap().unwrap();
        row.try_get("", "n").unwrap()
    }

    /// The names of an order's events so far, in the order of their rows.
    pub async fn news(&self, order_no: &str) -> Vec<String> {
        let db = self.store.db();
        let sql = format!("SELECT event_type FROM outbox WHERE order_no = '{order_no}' ORDER BY id");
        let rows = db.read().query_all_raw(db.statement(sql, [])).await.unwrap();
        let name = |row: sea_orm::QueryResult| row.try_get::<String>("", "event_type").unwrap();
        rows.into_iter().map(name).map(|t| t.trim_start_matches("wxpay.").trim_end_matches(".v1").to_owned()).collect()
    }

    /// Moves the clock to just after a moment.
    pub fn skip_to(&self, at: Timestamp) {
        self.clock.advance(at.since(self.clock.now()) + Duration::from_millis(1));
    }

    pub fn skip(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}
