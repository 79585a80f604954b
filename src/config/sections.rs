//! The typed sections of the configuration. `default.toml` documents every key; this file says what became of it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use super::api_key::ApiKey;
use super::explain::Effective;
use super::layers::Tree;
use super::problem::Problem;
use super::read::intake::Intake;
use super::read::typed::{Limits, Settling, Web};
use super::storage::{Retention, Store};
use crate::clock::Timestamp;
use crate::ids::{AppId, AppKey, MchId, MerchantKey};
use crate::money::Fen;
use crate::order::Policy;
use crate::secret::{Secret, V2Key};
use crate::trade::SignType;

/// The complete configuration of the process, validated.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[store]`
    pub store: Store,
    /// `[bus]`
    pub bus: Bus,
    /// `[wechat]`
    pub wechat: Wechat,
    /// `[orders]`
    pub orders: Orders,
    /// `[retention]`
    pub retention: Retention,
    /// `[reconcile]`
    pub reconcile: Reconcile,
    /// `[web]`
    pub web: Web,
    /// `[console]`
    pub console: Console,
    /// `[webhooks]`
    pub webhooks: Webhooks,
    /// `[limits]`
    pub limits: Limits,
    /// `[log]`
    pub log: Log,
    /// `[[apps]]`
    pub apps: Vec<App>,
    /// `[[merchants]]`
    pub merchants: Vec<Merchant>,
    /// `[[api_keys]]`
    pub api_keys: Vec<ApiKey>,
    /// Problems that do not prevent the start but need attention, such as an open secret file.
    pub warnings: Vec<Problem>,
    pub(super) effective: Effective,
    pub(super) tree: Tree,
}

impl Config {
    /// The merchant with this key.
    pub fn merchant(&self, key: &str) -> Option<&Merchant> {
        self.merchants.iter().find(|m| m.key.as_str() == key)
    }

    /// The amount above which money of this merchant needs a second person to be accepted or refunded.
    pub fn second_person(&self, merchant: &MerchantKey) -> Option<Fen> {
        let own = self.merchant(merchant.as_str()).and_then(|merchant| merchant.second_person);
        Some(own.unwrap_or(self.limits.second_person)).filter(|limit| *limit > Fen::ZERO)
    }

    /// WeChat's numbers of the apps a merchant takes orders through.
    pub fn app_ids(&self, merchant: &Merchant) -> Vec<AppId> {
        merchant.apps.iter().filter_map(|key| self.app(key.as_str()).map(|app| app.app_id.clone())).collect()
    }

    /// The first app of this kind that has its secret: whose users log in where no app is named.
    pub fn browser_app(&self, kind: AppKind) -> Option<&App> {
        self.apps.iter().find(|app| app.kind == kind && app.secret.is_some())
    }

    /// The values in force as TOML, with their sources as comments and secrets as `"***"`.
    pub fn explain(&self) -> String {
        self.effective.to_toml()
    }

    /// Twelve hex digits, the same in all processes that have the same values in force, secrets and files included.
    pub fn hash(&self) -> String {
        self.effective.hash()
    }

    /// The app with this key.
    pub fn app(&self, key: &str) -> Option<&App> {
        self.apps.iter().find(|a| a.key.as_str() == key)
    }
}

/// `[server]`: the HTTP side.
#[derive(Debug, Clone)]
pub struct Server {
    /// Of the API and the notification address.
    pub listen: SocketAddr,
    /// Where health and metrics listen, when not on `listen`.
    pub admin_listen: Option<SocketAddr>,
    /// Where WeChat's notifications are taken, beside `listen`.
    pub notify_listen: Option<SocketAddr>,
    /// Base of the `notify_url` that WeChat is given; no trailing slash, no query.
    pub public_url: String,
    /// Proxies whose `X-Forwarded-For` counts.
    pub trusted_proxies: Vec<IpNet>,
    /// Connections served at once.
    pub max_connections: usize,
    /// Of them, of one address; 0: a quarter.
    pub max_connections_per_address: usize,
    /// A request's head must be complete within this.
    pub header_timeout: Duration,
    /// A request's body must be complete within this.
    pub body_timeout: Duration,
    /// A kept-alive connection without a request is closed after this.
    pub idle_timeout: Duration,
    /// How long in-flight work may go on after SIGTERM.
    pub shutdown_timeout: Duration,
    /// How long `POST /v1/orders` waits for pay parameters before it answers 202.
    pub order_wait: Duration,
    /// How long a notification may wait for its durable acknowledgement; WeChat gives up after 5 s.
    pub notify_ack_timeout: Duration,
    pub intake: Intake,
}

/// `[bus]`: the queue.
#[derive(Debug, Clone)]
pub struct Bus {
    /// `embedded:` or a comma-separated list of NATS addresses; may hold a password, therefore secret.
    pub url: Secret,
    /// Copies of each stream in a cluster: 1, 3 or 5.
    pub replicas: usize,
    /// NATS credentials file.
    pub credentials_file: Option<PathBuf>,
    /// Certificate authority for TLS to NATS.
    pub tls_ca_file: Option<PathBuf>,
    /// Whether a host beyond the private networks may be called without a checked certificate.
    pub allow_unverified_tls: bool,
    /// Refuse a NATS server that acknowledges before fsync.
    pub require_fsync: bool,
    /// Monitoring addresses (`http://host:8222`) of the NATS servers, where their fsync setting is read.
    pub monitoring_urls: Vec<String>,
    /// Upper bound of each stream's size on disk; keep it below the volume's.
    pub max_bytes: i64,
    /// How long a delivery may go without a sign of life before it is delivered again.
    pub ack_wait: Duration,
    /// On NATS: whether notifications that wait together are one message.
    pub bundles: bool,
}

/// `[wechat]`: whom we call.
#[derive(Debug, Clone)]
pub struct Wechat {
    /// A simulator that stands in for every host; the addresses below are its own then.
    pub sandbox_url: Option<String>,
    /// The pay API.
    pub pay_url: String,
    /// The pay API's second site, used when the first cannot be reached.
    pub pay_backup_url: String,
    /// The pay API for calls with the merchant's certificate, when it is not `pay_url`.
    pub refund_url: Option<String>,
    /// Authorities (PEM) that the pay API's certificate may come from, besides the usual ones.
    pub pay_ca_file: Option<PathBuf>,
    /// The platform API.
    pub api_url: String,
    /// The OAuth pages.
    pub open_url: String,
    /// Time to connect.
    pub connect_timeout: Duration,
    /// Time for a whole call.
    pub timeout: Duration,
}

/// `[orders]`: defaults of orders.
#[derive(Debug, Clone)]
pub struct Orders {
    /// How long an order without `expires_at` may be paid.
    pub default_expiry: Duration,
    /// A payment by so much older than its attempt is held, never credited.
    pub paid_before_slack: Duration,
    /// A payment so long after the expiry is in time while the order has not ended here.
    pub late_grace: Duration,
}

/// `[webhooks]`: events posted to the merchants' own addresses.
#[derive(Debug, Clone)]
pub struct Webhooks {
    /// Seals the endpoints' secrets; `web.session_key` where there is none.
    pub key: Option<Secret>,
    /// Whether a plain http address is taken.
    pub allow_http: bool,
    /// Networks that are not on the internet and may be called.
    pub allow_networks: Vec<IpNet>,
    /// How long one attempt may take.
    pub timeout: Duration,
    pub endpoints_per_merchant: u32,
    /// After how long without a success an endpoint is disabled.
    pub disable_after: Duration,
    /// The server for mails, where there is one.
    pub smtp: Option<Smtp>,
}

/// A mail server.
#[derive(Debug, Clone)]
pub struct Smtp {
    pub host: String,
    pub port: u16,
    /// Who the mails are from: `wxpay <wxpay@example.com>`.
    pub from: String,
    /// The user and the password.
    pub login: Option<(String, Secret)>,
    /// Whom to trust instead of the authorities that this host knows.
    pub ca_file: Option<PathBuf>,
    /// The domains that mails may go to.
    pub domains: Vec<String>,
}

/// `[reconcile]`: bills, and comparing them with the books.
#[derive(Debug, Clone)]
pub struct Reconcile {
    /// Whether days are reconciled without being asked for.
    pub schedule: bool,
    /// Whether the account's own bill is fetched too, where there is a certificate.
    pub fund_flow: bool,
    /// Where bills are kept; none: see [`Reconcile::bills_dir`].
    pub dir: Option<PathBuf>,
    /// Where rows are sorted; none: in `dir`.
    pub temp_dir: Option<PathBuf>,
    /// For how long bills are kept; zero removes them after use.
    pub keep: Duration,
    /// What one sorter keeps in memory.
    pub buffer_bytes: usize,
    /// Beginnings of `out_trade_no` of other systems, of every merchant.
    pub foreign: Vec<String>,
}

impl Reconcile {
    /// Where bills are kept: `dir`, or a folder beside the file of SQLite.
    pub fn bills_dir(&self, store: &Store) -> PathBuf {
        let beside = || store.sqlite_file().and_then(|file| file.parent().map(Path::to_path_buf));
        self.dir.clone().unwrap_or_else(|| beside().unwrap_or_else(|| PathBuf::from("data")).join("bills"))
    }

    /// Where rows are sorted.
    pub fn sorting_dir(&self, store: &Store) -> PathBuf {
        self.temp_dir.clone().unwrap_or_else(|| self.bills_dir(store))
    }
}

/// `[console]`: the operators' console.
#[derive(Debug, Clone)]
pub struct Console {
    /// Whether it is served.
    pub enabled: bool,
    /// Where it listens, when not on `server.listen`.
    pub listen: Option<SocketAddr>,
    /// The origin at which browsers reach it, when not `server.public_url`.
    pub public_url: Option<String>,
    /// How long a session lasts after its login.
    pub session_lifetime: Duration,
    /// What one user may ask to be refunded on one day in Beijing.
    pub refund_cap_per_day: Option<Fen>,
}

/// `[log]`: what is written to stderr.
#[derive(Debug, Clone)]
pub struct Log {
    /// One JSON object a line instead of text for people.
    pub json: bool,
    /// A filter like `info,wxpay_worker=debug`.
    pub filter: String,
}

/// One `[[apps]]` entry.
#[derive(Debug, Clone)]
pub struct App {
    /// Our name of it.
    pub key: AppKey,
    /// WeChat's number of it.
    pub app_id: AppId,
    /// What it is.
    pub kind: AppKind,
    /// Its secret; needed for OAuth and tokens.
    pub secret: Option<Secret>,
    /// How its access_token is fetched.
    pub token: TokenApi,
}

/// Which of WeChat's two APIs gives the access_token. Their tokens are independent of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenApi {
    /// `POST /cgi-bin/stable_token`: repeated calls give the same token, so that other programs do no harm.
    Stable,
    /// `GET /cgi-bin/token`: each call invalidates the previous token. Only where no other system fetches one.
    Classic,
}

/// What an app is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppKind {
    /// A service account: pages inside WeChat.
    OfficialAccount,
    /// A mini program.
    MiniProgram,
    /// A native app.
    Mobile,
}

/// One `[[merchants]]` entry.
#[derive(Debug, Clone)]
pub struct Merchant {
    /// Our name of it: part of URLs and subjects.
    pub key: MerchantKey,
    /// WeChat's number of it.
    pub mch_id: MchId,
    /// The apps whose orders it takes.
    pub apps: Vec<AppKey>,
    /// How its requests are signed.
    pub sign_type: SignType,
    /// Its APIv2 key: signs what we send.
    pub v2_key: V2Key,
    /// The key before, while WeChat may still repeat what it signed with it.
    pub v2_key_previous: Option<PreviousKey>,
    /// What happens with money that comes late or twice.
    pub policy: Policy,
    /// Which notifications are believed without a question.
    pub settling: Settling,
    /// Its own amount in place of `limits.second_person`; zero: no second person is needed.
    pub second_person: Option<Fen>,
    /// How many orders are placed in one second over all processes; as many are closed.
    pub orders_per_second: u32,
    /// How many of its orders WeChat is asked about in one second, over all processes, and how many of its refunds;
    /// each ingress process takes as many refreshes.
    pub queries_per_second: u32,
    /// How many refunds are requested in one second, over all processes.
    pub refunds_per_second: u32,
    /// Beginnings of `out_trade_no` of other systems that sell under this merchant number.
    pub foreign: Vec<String>,
    /// Its client certificate (refunds): PEM, or a `.p12` that holds the key too.
    pub client_cert_file: Option<PathBuf>,
    /// The certificate's key; none with a `.p12`.
    pub client_key_file: Option<PathBuf>,
}

/// The files of a merchant's certificate, each of which could be read.
#[derive(Debug, Clone, Copy)]
pub struct CertificateFiles<'a> {
    /// PEM, or a `.p12` that holds the key too.
    pub certificate: &'a Path,
    /// The key's file; none with a `.p12`.
    pub key: Option<&'a Path>,
    /// The merchant it must belong to.
    pub mch_id: &'a MchId,
}

/// Checks a merchant's files. The answer is a warning or a problem of `client_cert_file` or `client_key_file`.
pub type CertificateCheck = fn(&CertificateFiles<'_>) -> Result<Option<Problem>, Problem>;

/// A key that was replaced at WeChat.
#[derive(Debug, Clone)]
pub struct PreviousKey {
    /// The key.
    pub key: V2Key,
    /// What was received until then may be signed with it.
    pub until: Timestamp,
}

impl Merchant {
    /// The keys that may have signed what was received at `at`, the newest first.
    pub fn inbound_keys(&self, at: Timestamp) -> impl Iterator<Item = &V2Key> {
        let previous = self.v2_key_previous.as_ref().filter(|previous| at <= previous.until);
        std::iter::once(&self.v2_key).chain(previous.map(|previous| &previous.key))
    }
}
