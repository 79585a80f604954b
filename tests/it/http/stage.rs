//! The ingress on a free port, and a worker that places orders without WeChat: it decides and commits what WeChat's
//! answer would have led to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wxpay_worker::bus::{Bus, ConsumerName, Delivery, Verdict};
use wxpay_worker::clock::{Clock, Timestamp};
use wxpay_worker::config::{Config, ConfigHandle};
use wxpay_worker::event::command::{OrderRequested, PrepayDue};
use wxpay_worker::event::envelope::Envelope;
use wxpay_worker::event::fact::{Fact, Payment, Prepay, WechatError};
use wxpay_worker::http::{HttpShared, Ingress};
use wxpay_worker::ids::{AppId, MchId, MerchantKey, OrderNo, TransactionId};
use wxpay_worker::money::Fen;
use wxpay_worker::new_order::new_order;
use wxpay_worker::order::{Decision, Policy, decide};
use wxpay_worker::secret::sha256_hex;
use wxpay_worker::store::{Evidence, EvidenceSource, OrderCommit, Store, StoredOrder};
use wxpay_worker::wechat::platform::PlatformClient;
use wxpay_worker::worker::StoreParking;
use wxpay_worker::{http, web};

use super::client::{Reply, send};
use crate::harness::within_timeout;

pub const V2_KEY: &str = "Kq7vT2mZ9xB4nR6pL1wD8sF3hJ5gY0cA";
pub const APP_SECRET: &str = "s3cr3tOfTheShopApp4Tests0123456x";
pub const KEY: &str = "wxk_orders_and_finance";
pub const ORDERS_KEY: &str = "wxk_orders_only";
pub const OTHERS_KEY: &str = "wxk_other_merchant_only";

/// One merchant with one app, unless `more` adds to it. `server` goes into `[server]`.
pub fn configuration(folder: &TempDir, server: &str, more: &str) -> Config {
    let (key, orders_key, others_key) =
        (sha256_hex(KEY.as_bytes()), sha256_hex(ORDERS_KEY.as_bytes()), sha256_hex(OTHERS_KEY.as_bytes()));
    let text = format!(
        r#"
[server]
public_url = "https://pay.example.com"
{server}
[store]
url = "sqlite://{}/wxpay.db"
[[apps]]
key = "shop"
app_id = "wxd930ea5d5a258f4f"
kind = "official_account"
secret = "{APP_SECRET}"
[[merchants]]
key = "main"
mch_id = "10000100"
apps = ["shop"]
v2_key = "{V2_KEY}"
{more}
[[api_keys]]
name = "all"
hash = "sha256:{key}"
scopes = ["orders", "refunds", "finance"]
merchants = "all"
[[api_keys]]
name = "orders-only"
hash = "sha256:{orders_key}"
scopes = ["orders"]
merchants = ["main"]
[[api_keys]]
name = "others"
hash = "sha256:{others_key}"
scopes = ["orders", "finance"]
merchants = ["{}"]
"#,
        folder.path().display(),
        if more.contains("\"other\"") { "other" } else { "main" }
    );
    Config::from_toml_str(&text).unwrap_or_else(|e| panic!("{e}"))
}

pub const OTHER_MERCHANT: &str = r#"
[[merchants]]
key = "other"
mch_id = "10000200"
apps = ["shop"]
v2_key = "Zz7vT2mZ9xB4nR6pL1wD8sF3hJ5gY0cB"
"#;

pub struct Stage {
    pub address: SocketAddr,
    pub config: Arc<Config>,
    pub in_force: ConfigHandle,
    pub store: Store,
    pub bus: Bus,
    pub clock: Clock,
    pub shutdown: CancellationToken,
    pub server: JoinHandle<()>,
    /// The database lives here.
    _folder: TempDir,
}

impl Stage {
    pub async fn start() -> Stage {
        Stage::with("", "").await
    }

    pub async fn with(server: &str, more: &str) -> Stage {
        Stage::seen_at("https://pay.example.com", server, more).await
    }

    /// As browsers and WeChat see it at this address.
    pub async fn seen_at(public_url: &str, server: &str, more: &str) -> Stage {
        let folder = TempDir::new().unwrap();
        let mut config = configuration(&folder, server, more);
        config.server.public_url = public_url.to_owned();
        let in_force = ConfigHandle::new(config);
        let config = in_force.snapshot();
        let store = Store::open(&config.store).await.unwrap();
        let (bus, _) = Bus::connect(&config.bus, Some(store.db().clone())).await.unwrap();
        let clock = Clock::manual(Timestamp::parse_rfc3339("2026-03-01T02:03:04Z").unwrap());
        let shutdown = CancellationToken::new();
        let state = Arc::new(HttpShared::new(Ingress {
            config: in_force.clone(),
            store: store.clone(),
            bus: bus.clone(),
            clock: clock.clone(),
            metrics: Arc::new(|| "# a metric\n".to_owned()),
            shutdown: shutdown.clone(),
        }));
        let browser = web::routes(Arc::clone(&state), PlatformClient::new(&config.wechat).unwrap());
        let router = http::router(state, browser);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn({
            let (config, shutdown) = (Arc::clone(&config), shutdown.clone());
            async move { http::serve(listener, router, &config.server, shutdown).await }
        });
        Stage { address, config, in_force, store, bus, clock, shutdown, server, _folder: folder }
    }

    /// With a worker at the other end of the bus.
    pub async fn worked() -> Stage {
        let stage = Stage::start().await;
        stage.work();
        stage
    }

    pub async fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        send(self.address, method, target, headers, body).await
    }

    pub async fn get(&self, target: &str) -> Reply {
        let authorization = format!("Bearer {KEY}");
        self.send("GET", target, &[("Authorization", &authorization)], b"").await
    }

    pub async fn place(&self, body: &Value, headers: &[(&str, &str)]) -> Reply {
        self.place_text(&body.to_string(), headers).await
    }

    pub async fn place_text(&self, body: &str, more: &[(&str, &str)]) -> Reply {
        let authorization = format!("Bearer {KEY}");
        let mut headers = vec![("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
        headers.extend_from_slice(more);
        self.send("POST", "/v1/orders", &headers, body.as_bytes()).await
    }

    pub async fn stored(&self, order_no: &str) -> Option<StoredOrder> {
        self.store.order(&main(), &OrderNo::parse(order_no).unwrap()).await.unwrap()
    }

    /// WeChat says that the order's number is closed.
    pub async fn close(&self, order_no: &str) {
        apply(&self.store, &self.clock, self.stored(order_no).await.unwrap(), Fact::Closed).await;
    }

    pub async fn execute(&self, sql: &str) {
        let rows = self.store.db().execute("test", String::from(sql), []).await.unwrap();
        assert_eq!(rows, 1, "{sql}");
    }

    pub async fn pay(&self, order_no: &str) {
        let stored = self.stored(order_no).await.unwrap();
        let payment = Payment {
            mch_id: MchId::parse("10000100").unwrap(),
            appid: AppId::parse("wxd930ea5d5a258f4f").unwrap(),
            out_trade_no: stored.order.current().unwrap().out_trade_no.clone(),
            transaction_id: TransactionId::parse(format!("42000{order_no:.27}")).unwrap(),
            total_fee: stored.order.amount,
            fee_type: "CNY".into(),
            time_end: self.clock.now(),
            openid: None,
            bank_type: None,
            cash_fee: Some(Fen::from_i64(1)),
            settlement_total_fee: None,
        };
        apply(&self.store, &self.clock, stored, Fact::Paid(payment)).await;
    }

    /// Takes commands from the bus and does what would come of them; `refuse me` is refused by WeChat.
    pub fn work(&self) {
        self.work_on(ConsumerName::PREPARE_ORDER, |store, config, clock, delivery| async move {
            let name = delivery.message.subject.clone();
            let payload = &delivery.message.payload;
            // Of new attempts nothing comes in time.
            if name.ends_with("attempt_requested") {
                return;
            }
            let stored = if name.ends_with("requested") {
                let event = Envelope::<OrderRequested>::parse(payload).unwrap();
                let OrderRequested { order, requested_at, idempotency } = event.data;
                let new = new_order(&config, order, event.id, requested_at, idempotency).unwrap();
                let (merchant, order_no) = (new.content.merchant.clone(), new.content.order_no.clone());
                store.record_orders(&[new]).await.unwrap();
                store.order(&merchant, &order_no).await.unwrap().unwrap()
            } else {
                let due = Envelope::<PrepayDue>::parse(payload).unwrap().data;
                store.order(&main(), &due.order_no).await.unwrap().unwrap()
            };
            let fact = match stored.content.description.as_str() {
                "refuse me" => Fact::PlacementRefused(WechatError {
                    code: "NOAUTH".into(),
                    message: "商户无此接口权限".into(),
                }),
                _ => Fact::PrepayIssued(prepay(clock.now())),
            };
            apply(&store, &clock, stored, fact).await;
        });
    }

    /// The deliveries of a consumer, as they come.
    pub fn deliveries(&self, consumer: ConsumerName) -> mpsc::UnboundedReceiver<Delivery> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.work_on(consumer, move |_, _, _, delivery| {
            let sender = sender.clone();
            async move {
                let _ = sender.send(delivery);
            }
        });
        receiver
    }

    fn work_on<F, W>(&self, consumer: ConsumerName, work: W)
    where
        F: Future<Output = ()> + Send + 'static,
        W: Fn(Store, Arc<Config>, Clock, Delivery) -> F + Send + Sync + 'static,
    {
        let (store, config, clock) = (self.store.clone(), Arc::clone(&self.config), self.clock.clone());
        let parking = Arc::new(StoreParking::new(store.clone(), clock.clone()));
        let (bus, shutdown) = (self.bus.clone(), self.shutdown.clone());
        let handler = move |delivery| {
            let done = work(store.clone(), Arc::clone(&config), clock.clone(), delivery);
            async move {
                done.await;
                Verdict::Done
            }
        };
        tokio::spawn(async move { bus.consume(consumer, 16, handler, parking, shutdown).await });
    }

    /// Ends the server; returns once it has ended.
    pub async fn stop(self) {
        self.shutdown.cancel();
        within_timeout("the server's end", self.server).await.unwrap();
    }

    /// Holds the database's lock, as another process may, until the value is dropped: nothing becomes durable
    /// meanwhile.
    pub async fn blocked(&self) -> impl Sized {
        let url = self.config.store.url.expose();
        let other = rusqlite::Connection::open(url.trim_start_matches("sqlite://")).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        other
    }
}

pub fn main() -> MerchantKey {
    MerchantKey::parse("main").unwrap()
}

fn prepay(issued_at: Timestamp) -> Prepay {
    Prepay {
        prepay_id: format!("wx{}", issued_at.as_ms()),
        code_url: Some("weixin://wxpay/bizpayurl?pr=abc".into()),
        mweb_url: Some(format!("https://wx.tenpay.com/cgi-bin/mmpayweb-bin/checkmweb?t={}", issued_at.as_ms())),
        issued_at,
    }
}

async fn apply(store: &Store, clock: &Clock, stored: StoredOrder, fact: Fact) {
    let now = clock.now();
    let order = stored.order;
    let number = order.current().unwrap().out_trade_no.clone();
    let Decision::Apply(change) = decide(&order, &number, &fact, now, Policy::default()) else { return };
    let version = change.next.version;
    let evidence = Evidence { out_trade_no: number, fact, source: EvidenceSource::UnifiedOrder, received_at: now };
    let commit = OrderCommit {
        before: order.version,
        attempts_before: order.attempts.len(),
        next: change.next,
        new_params: Vec::new(),
        wanted: None,
        evidence: vec![(version, evidence)],
        ledger: change.ledger.into_iter().map(|entry| (version, entry)).collect(),
        events: Vec::new(),
        notifications: Vec::new(),
        refunds: Vec::new(),
    };
    crate::harness::store::commit(store, &[commit], now).await.unwrap();
}

pub fn order(order_no: &str) -> Value {
    json!({
        "order_no": order_no, "amount_fen": 100, "description": "茶", "trade_type": "JSAPI",
        "openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
    })
}

pub fn with(mut body: Value, name: &str, value: Value) -> Value {
    body[name] = value;
    body
}

/// Waits for something that has no signal of its own.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut is: impl FnMut() -> F) {
    within_timeout(what, async {
        while !is().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
