//! The service as real processes over a real database, a real bus and the WeChat simulator, all on free ports.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use sea_orm::ConnectionTrait;
use tempfile::TempDir;
use wxpay_worker::bus::Bus;
use wxpay_worker::ids::{AppId, MchId};
use wxpay_worker::sandbox::{Account, PlatformApp, PlatformKind, Running, Sandbox, Settings};
use wxpay_worker::secret::{Secret, V2Key, sha256_hex};
use wxpay_worker::store::Db;

use super::bus::bus_settings;
use super::certificates::Certificates;
use super::db::TestDb;
use super::nats::{NatsServer, Version};
use super::nats_cluster::{self, NatsCluster};
pub use super::process::Process;
pub use super::requests::{answer, jsapi};
use super::{PATIENCE, soon};

pub const API_KEY: &str = "test-api-key";
pub const KEY: &str = "k7Qm2Zt9Xb4Lw8Rd6Vn1Hs3Jp5Gy0CfA";
pub const OTHER_KEY: &str = "Zq8Wn3Rt6Yb1Mc5Xv9Kd2Lf7Hg4Js0Pa";
pub const MCH_ID: &str = "1900000109";
pub const OTHER_MCH_ID: &str = "1900000110";
pub const APP_ID: &str = "wx8888888888888888";
pub const APP_SECRET: &str = "s3cr3tOfTheShopApp4Flows0123456x";
pub const MINI_APP_ID: &str = "wx7777777777777777";
pub const MINI_SECRET: &str = "s3cr3tOfTheMiniApp4Flows0123456x";
pub const OPENID: &str = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o";
/// A busy machine gets more time than a payer: a test that expects parameters is not about how soon they come.
const ORDER_WAIT_MS: u64 = 8000;
/// Shorter than any server here keeps an idle connection: a request must not meet its close.
const REUSE: Duration = Duration::from_secs(2);

/// How long what a dead process held stays with it: far less than at a site, and enough for a busy machine.
const ACK_WAIT: Duration = Duration::from_millis(3000);
const LEASE_MS: u64 = 3000;

/// What carries the queue.
pub enum Queue {
    Embedded,
    Nats(NatsServer),
    Cluster(NatsCluster),
}

impl Queue {
    /// What `bus.url` would be.
    pub fn url(&self) -> String {
        match self {
            Queue::Embedded => "embedded:".to_owned(),
            Queue::Nats(server) => server.url(),
            Queue::Cluster(cluster) => cluster.url(),
        }
    }

    pub fn monitoring_urls(&self) -> Vec<String> {
        match self {
            Queue::Embedded => Vec::new(),
            Queue::Nats(server) => vec![server.monitoring_url()],
            Queue::Cluster(cluster) => cluster.monitoring_urls(),
        }
    }

    fn replicas(&self) -> usize {
        match self {
            Queue::Embedded | Queue::Nats(_) => 1,
            Queue::Cluster(_) => nats_cluster::NODES,
        }
    }
}

/// Everything around the service, and the means to look at it.
pub struct Rig {
    pub db: TestDb,
    pub queue: Queue,
    /// Stops with the rig.
    _wechat: Running,
    pub wechat_url: String,
    pub http: reqwest::Client,
    folder: TempDir,
    port: u16,
    /// The first merchant's, for refunds.
    certificates: Option<Certificates>,
}

impl Rig {
    pub async fn new(db: TestDb, queue: Queue) -> Rig {
        Rig::with(db, queue, Settings::default()).await
    }

    /// With a simulator of other durations; its merchants and apps are the rig's own.
    pub async fn with(db: TestDb, queue: Queue, settings: Settings) -> Rig {
        let settings = Settings {
            merchants: vec![account(MCH_ID, KEY), account(OTHER_MCH_ID, OTHER_KEY)],
            apps: vec![
                app(PlatformKind::OfficialAccount, APP_ID, APP_SECRET),
                app(PlatformKind::MiniProgram, MINI_APP_ID, MINI_SECRET),
            ],
            ..settings
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let wechat = Sandbox::start(listener, settings).await.unwrap();
        let rig = Rig {
            db,
            queue,
            wechat_url: wechat.base_url(),
            _wechat: wechat,
            http: reqwest::Client::builder()
                .no_proxy()
                .timeout(Duration::from_secs(50))
                .pool_idle_timeout(REUSE)
                .build()
                .unwrap(),
            folder: TempDir::new().unwrap(),
            port: free_port(),
            certificates: None,
        };
        std::fs::write(rig.config_file(), rig.config()).unwrap();
        rig
    }

    /// With the first merchant's certificate, for refunds.
    pub async fn with_refunds(mut self) -> Rig {
        self.certificates = Some(Certificates::of(&self.wechat_url, MCH_ID).await);
        std::fs::write(self.config_file(), self.config()).unwrap();
        self
    }

    pub async fn embedded_sqlite() -> Rig {
        Rig::new(TestDb::sqlite(), Queue::Embedded).await
    }

    pub async fn embedded_postgres() -> Rig {
        Rig::new(TestDb::postgres().await, Queue::Embedded).await
    }

    pub async fn nats_sqlite() -> Rig {
        Rig::new(TestDb::sqlite(), Queue::Nats(NatsServer::start(Version::New))).await
    }

    pub async fn nats_postgres() -> Rig {
        Rig::new(TestDb::postgres().await, Queue::Nats(NatsServer::start(Version::New))).await
    }

    pub fn config_file(&self) -> PathBuf {
        self.folder.path().join("wxpay.toml")
    }

    fn config(&self) -> String {
        let ack_wait_ms = ACK_WAIT.as_millis();
        let (bus, monitoring, replicas) = (self.queue.url(), self.queue.monitoring_urls(), self.queue.replicas());
        let certificate = self.certificates.as_ref().map(Certificates::merchant_toml).unwrap_or_default();
        let refund_url = self.certificates.as_ref().map(Certificates::wechat_toml).unwrap_or_default();
        let (db, port, wechat, hash) = (self.db.url(), self.port, &self.wechat_url, sha256_hex(API_KEY.as_bytes()));
        format!(
            r#"
            [server]
            listen = "127.0.0.1:{port}"
            public_url = "http://127.0.0.1:{port}"
            order_wait_ms = {ORDER_WAIT_MS}
            [store]
            url = "{db}"
            max_connections = 8
            lease_ms = {LEASE_MS}
            [bus]
            url = "{bus}"
            monitoring_urls = {monitoring:?}
            replicas = {replicas}
            ack_wait_ms = {ack_wait_ms}
            [wechat]
            pay_url = "{wechat}"
            pay_backup_url = "{wechat}"
            api_url = "{wechat}"
            open_url = "{wechat}"
            connect_timeout_ms = 1000
            timeout_ms = 8000
            {refund_url}
            [log]
            json = true
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
            [[merchants]]
            key = "main"
            mch_id = "{MCH_ID}"
            apps = ["shop", "mini"]
            api = "v2"
            sign_type = "HMAC-SHA256"
            v2_key = "{KEY}"
            {certificate}
            [[merchants]]
            key = "second"
            mch_id = "{OTHER_MCH_ID}"
            apps = ["shop"]
            api = "v2"
            sign_type = "MD5"
            v2_key = "{OTHER_KEY}"
            [[api_keys]]
            name = "test"
            hash = "sha256:{hash}"
            scopes = ["orders", "finance", "ops"]
            "#
        )
    }

    /// Starts all roles in one process on the address WeChat posts to.
    pub async fn run_all(&self) -> Process {
        self.run("ingress,worker,relay,scheduler", self.port, &[]).await
    }

    /// Starts these roles; an ingress listens on the address WeChat posts to.
    pub async fn run_roles(&self, roles: &str) -> Process {
        self.run(roles, self.port, &[]).await
    }

    /// Starts one more ingress on a port of its own.
    pub async fn run_another_ingress(&self) -> Process {
        self.run("ingress", free_port(), &[]).await
    }

    /// Starts these roles with variables, such as an armed crash point.
    pub async fn run_with(&self, roles: &str, env: &[(&str, &str)]) -> Process {
        self.run(roles, self.port, env).await
    }

    /// Starts all roles with variables on the address WeChat posts to.
    pub async fn run_all_with(&self, env: &[(&str, &str)]) -> Process {
        self.run("ingress,worker,relay,scheduler", self.port, env).await
    }

    /// Starts these roles with variables on a port of their own.
    pub async fn run_beside(&self, roles: &str, env: &[(&str, &str)]) -> Process {
        self.run(roles, free_port(), env).await
    }

    async fn run(&self, roles: &str, port: u16, env: &[(&str, &str)]) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wxpayd"));
        command.args(["run", "--only", roles, "--config"]).arg(self.config_file());
        command.env("WXPAY__SERVER__LISTEN", format!("127.0.0.1:{port}"));
        command.envs(env.iter().copied());
        self.spawn(command, port).await
    }

    /// As [`Process::spawn`], with its log among the rig's.
    pub async fn spawn(&self, command: Command, port: u16) -> Process {
        Process::spawn(command, self.folder.path(), port).await
    }

    /// The address WeChat posts to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where every process's log is.
    pub fn logs(&self) -> String {
        let mut all = String::new();
        for entry in std::fs::read_dir(self.folder.path()).unwrap().flatten() {
            if entry.path().extension().is_some_and(|e| e == "log") {
                all.push_str(&std::fs::read_to_string(entry.path()).unwrap());
            }
        }
        all
    }

    /// Opens the service's database beside it.
    pub async fn open_db(&self) -> Db {
        Db::connect(&self.db.settings()).await.unwrap()
    }

    /// One number from the service's database.
    pub async fn number(&self, db: &Db, sql: &str) -> i64 {
        let row = db.read().query_one_raw(db.statement(format!("SELECT ({sql}) AS n"), [])).await.unwrap().unwrap();
        row.try_get("", "n").unwrap()
    }

    /// Opens the service's bus beside it.
    pub async fn open_bus(&self, db: &Db) -> Bus {
        let mut settings = bus_settings(self.queue.url(), self.queue.monitoring_urls(), 1 << 30);
        settings.replicas = self.queue.replicas();
        settings.ack_wait = ACK_WAIT;
        let started = Instant::now();
        loop {
            match Bus::connect(&settings, Some(db.clone())).await {
                Ok((bus, _)) => return bus,
                // Just after an election a cluster may say for a moment that it cannot tell.
                Err(_) if matches!(self.queue, Queue::Cluster(_)) && started.elapsed() < PATIENCE => {}
                Err(error) => panic!("{error}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Whether nothing is left to do: every event relayed, every message settled, nothing deferred.
    pub async fn is_drained(&self, db: &Db, bus: &Bus) -> bool {
        let waiting =
            "SELECT (SELECT COUNT(*) FROM outbox WHERE relayed_at_ms IS NULL) + (SELECT COUNT(*) FROM deferred)";
        let idle = bus.lag().await.is_ok_and(|lag| lag.iter().all(|l| l.pending == 0 && l.in_flight == 0));
        idle && self.number(db, waiting).await == 0
    }

    /// Awaits [`Rig::is_drained`].
    pub async fn until_drained(&self) {
        let db = self.open_db().await;
        let bus = self.open_bus(&db).await;
        soon("an empty queue", async {
            while !self.is_drained(&db, &bus).await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    }
}

/// A simulator of these merchants in real time.
pub fn settings(merchants: Vec<Account>) -> Settings {
    Settings { merchants, ..Settings::default() }
}

pub fn account(mch_id: &str, key: &str) -> Account {
    Account {
        mch_id: MchId::parse(mch_id).unwrap(),
        v2_key: V2Key::parse(key).unwrap(),
        appids: [APP_ID, MINI_APP_ID].map(|appid| AppId::parse(appid).unwrap()).into(),
    }
}

pub fn app(kind: PlatformKind, appid: &str, secret: &str) -> PlatformApp {
    PlatformApp::new(kind, AppId::parse(appid).unwrap(), Secret::new(secret))
}

/// A port that stays free while its process is down: none that the system hands to outgoing connections.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + (std::process::id() as u16).wrapping_mul(97).wrapping_add(step) % 22_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
