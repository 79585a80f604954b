//! The service under test: with a real database, a real bus and the WeChat simulator, in this process or as processes.

mod accounts;
mod config;
mod environment;
mod in_process;
pub mod logs;
mod processes;
mod queue;

use std::time::Duration;

use wxpay_worker::app::Roles;
use wxpay_worker::clock::Clock;
use wxpay_worker::http::StreamLimits;
use wxpay_worker::sandbox::{Account, Options, PlatformKind, Sandbox, Settings};
use wxpay_worker::secret::sha256_hex;

use super::certificates::Certificates;
use super::db::TestDb;
pub use super::ports::free_port;
pub use super::process::Process;
pub use super::requests::answer;
pub use accounts::{
    API_KEY, APP_ID, APP_SECRET, KEY, MCH_ID, MINI_APP_ID, MINI_SECRET, OPENID, OTHER_KEY, OTHER_MCH_ID,
    SECOND_MERCHANT, app, jsapi, signed_refusal, signed_refusal_through,
};
use accounts::{MINI_PROGRAM, account};
pub use environment::Environment;
use environment::bills_dir;
pub use in_process::InProcess;
use in_process::LEASE_S;
pub use processes::Processes;
pub use queue::Queue;

/// How refunds reach WeChat.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refunds {
    NotConfigured,
    OverTls,
    /// With a certificate that WeChat never sees: refunds go to an address without TLS.
    OverPlainHttp,
}

/// Leases and acknowledgement waits of processes: far less than at a site, and enough for a busy machine.
pub const LEASE: Duration = Duration::from_secs(3);

/// What differs between the service in this process and its processes.
struct More {
    server: &'static str,
    /// How long what a dead process held stays with it.
    lease: Duration,
}

/// Builds the service under test. Without more it has one merchant, `main`, with one app, `shop`.
pub struct TestService {
    db: TestDb,
    queue: Queue,
    settings: Settings,
    accounts: Vec<Account>,
    shop: String,
    merchant: String,
    config: Vec<String>,
    mini_program: bool,
    refunds: Refunds,
    clock: Clock,
    roles: Roles,
    streams: StreamLimits,
}

impl TestService {
    /// On SQLite with the embedded bus, so with an intake log where ingress and workers are in one process.
    pub fn new() -> TestService {
        TestService {
            db: TestDb::sqlite(),
            queue: Queue::Embedded,
            settings: Settings::default(),
            accounts: vec![account(MCH_ID, KEY)],
            shop: String::new(),
            merchant: String::new(),
            config: Vec::new(),
            mini_program: false,
            refunds: Refunds::NotConfigured,
            // Databases measure leases by their own clock; the manual one begins at theirs.
            clock: Clock::manual(Clock::system().now()),
            roles: Roles::ALL,
            streams: StreamLimits::default(),
        }
    }

    pub fn on(self, db: TestDb) -> TestService {
        TestService { db, ..self }
    }

    pub fn with(self, queue: Queue) -> TestService {
        TestService { queue, ..self }
    }

    pub async fn embedded_sqlite() -> TestService {
        TestService::new()
    }

    pub async fn embedded_postgres() -> TestService {
        TestService::new().on(TestDb::postgres().await)
    }

    pub async fn nats_sqlite() -> TestService {
        TestService::new().with(Queue::nats())
    }

    pub async fn nats_postgres() -> TestService {
        TestService::new().on(TestDb::postgres().await).with(Queue::nats())
    }

    /// A simulator with other durations; its merchants and apps stay the builder's.
    pub fn simulator(self, settings: Settings) -> TestService {
        TestService { settings, ..self }
    }

    /// More lines of the app's entry.
    pub fn shop(mut self, lines: &str) -> TestService {
        self.shop.push_str(lines);
        self
    }

    /// More lines of the merchant's entry.
    pub fn merchant(mut self, lines: &str) -> TestService {
        self.merchant.push_str(lines);
        self
    }

    /// More of the configuration: its values replace those of the same name, its entries come after the others.
    pub fn config(mut self, sections: &str) -> TestService {
        self.config.push(sections.to_owned());
        self
    }

    /// Notifications go by the queue, also where a log is the default.
    pub fn direct(self) -> TestService {
        self.config("[server]\nintake = \"direct\"")
    }

    /// A mini program of the merchant, too.
    pub fn mini_program(self) -> TestService {
        TestService { mini_program: true, ..self }.config(MINI_PROGRAM)
    }

    /// In this process no role runs: the test stands in for all of them.
    pub fn without_roles(self) -> TestService {
        TestService { roles: Roles { ingress: false, worker: false, relay: false, scheduler: false }, ..self }
    }

    /// In this process only these roles run; the test stands in for the others.
    pub fn roles(self, roles: &str) -> TestService {
        TestService { roles: Roles::parse(roles).unwrap(), ..self }
    }

    /// WeChat knows [`OTHER_MCH_ID`], too; [`SECOND_MERCHANT`] configures it.
    pub fn second_account(mut self) -> TestService {
        self.accounts.push(account(OTHER_MCH_ID, OTHER_KEY));
        self
    }

    /// With the merchant's certificate, for refunds.
    pub fn refunds(self) -> TestService {
        TestService { refunds: Refunds::OverTls, ..self }
    }

    /// With a certificate that WeChat never sees.
    pub fn refunds_over_plain_http(self) -> TestService {
        TestService { refunds: Refunds::OverPlainHttp, ..self }
    }

    /// In this process by another clock than a manual one.
    pub fn clock(self, clock: Clock) -> TestService {
        TestService { clock, ..self }
    }

    /// In this process with other limits of the streams of orders.
    pub fn streams(self, streams: StreamLimits) -> TestService {
        TestService { streams, ..self }
    }

    /// All roles in this process, by a clock that the test moves; WeChat goes by the same one.
    pub async fn in_process(self) -> InProcess {
        let (clock, roles, streams) = (self.clock.clone(), self.roles, self.streams);
        let more = More { server: "notify_ack_timeout_ms = 4500", lease: Duration::from_secs(LEASE_S) };
        let (environment, config) = self.open(clock.clone(), more).await;
        InProcess::start(environment, &config, clock, (roles, streams)).await
    }

    /// Processes that the test starts and ends, in real time. With a mini program and a second merchant.
    pub async fn processes(self) -> Processes {
        let service = self.second_account().mini_program().config(SECOND_MERCHANT);
        let more = More { server: "", lease: LEASE };
        let (environment, config) = service.open(Clock::system(), more).await;
        Processes::new(environment, &config)
    }

    async fn open(self, clock: Clock, more: More) -> (Environment, String) {
        let settings = Settings {
            merchants: self.accounts.clone(),
            apps: vec![
                app(PlatformKind::OfficialAccount, APP_ID, APP_SECRET),
                app(PlatformKind::MiniProgram, MINI_APP_ID, MINI_SECRET),
            ],
            ..self.settings.clone()
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let options = Options { clock, ..Options::default() };
        let wechat = Sandbox::start_with(listener, settings, options).await.unwrap();
        let port = free_port();
        let certificates = match self.refunds {
            Refunds::NotConfigured => None,
            Refunds::OverTls | Refunds::OverPlainHttp => Some(Certificates::of(&wechat.base_url(), MCH_ID).await),
        };
        let lease = more.lease;
        let config = self.config_text(&wechat.base_url(), port, certificates.as_ref(), more);
        (Environment::new(self.db, self.queue, wechat, port, lease, certificates), config)
    }

    fn config_text(&self, wechat: &str, port: u16, certificates: Option<&Certificates>, more: More) -> String {
        let (bus, monitoring, replicas) = (self.queue.url(), self.queue.monitoring_urls(), self.queue.replicas());
        let (db, hash) = (self.db.url(), sha256_hex(API_KEY.as_bytes()));
        let certificate = certificates.map(Certificates::merchant_toml).unwrap_or_default();
        let over_tls = certificates.filter(|_| self.refunds == Refunds::OverTls);
        let refund_url = over_tls.map(Certificates::wechat_toml).unwrap_or_default();
        let (shop, merchant) = (&self.shop, &self.merchant);
        let apps = if self.mini_program { "\"mini\"" } else { "" };
        let More { server, lease } = more;
        let lease_ms = lease.as_millis();
        let bills = bills_dir(port);
        let bills = bills.display();
        let text = format!(
            r#"
            [server]
            listen = "127.0.0.1:{port}"
            public_url = "http://127.0.0.1:{port}"
            # A busy machine gets more time than a payer: few tests are about how soon parameters come.
            order_wait_ms = 15000
            {server}
            [store]
            url = "{db}"
            max_connections = 8
            lease_ms = {lease_ms}
            [bus]
            url = "{bus}"
            monitoring_urls = {monitoring:?}
            replicas = {replicas}
            ack_wait_ms = {lease_ms}
            [wechat]
            pay_url = "{wechat}"
            pay_backup_url = "{wechat}"
            api_url = "{wechat}"
            open_url = "{wechat}"
            connect_timeout_ms = 8000
            timeout_ms = 8000
            {refund_url}
            # Days are compared by request: tests that pass midnight are about other things.
            [reconcile]
            schedule = false
            dir = "{bills}"
            [log]
            json = true
            [[apps]]
            key = "shop"
            app_id = "{APP_ID}"
            kind = "official_account"
            secret = "{APP_SECRET}"
            {shop}
            [[merchants]]
            key = "main"
            mch_id = "{MCH_ID}"
            apps = ["shop", {apps}]
            api = "v2"
            sign_type = "HMAC-SHA256"
            v2_key = "{KEY}"
            {certificate}
            {merchant}
            [[api_keys]]
            name = "test"
            hash = "sha256:{hash}"
            scopes = ["orders", "refunds", "finance", "ops"]
            merchants = "all"
            "#
        );
        config::merged(std::iter::once(text.as_str()).chain(self.config.iter().map(String::as_str)))
    }
}
