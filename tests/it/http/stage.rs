//! The ingress on a free port, and a worker that places orders without WeChat: it decides and commits what WeChat's
//! answer would have led to.

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use wxpay_worker::bus::{ConsumerName, Delivery, Lag, Verdict};
use wxpay_worker::clock::{Clock, Timestamp};
use wxpay_worker::config::Config;
use wxpay_worker::event::command::{OrderRequested, PrepayDue};
use wxpay_worker::event::envelope::Envelope;
use wxpay_worker::event::fact::{Fact, Payment, Prepay, WechatError};
use wxpay_worker::ids::{AppId, MchId, MerchantKey, OrderNo, TransactionId};
use wxpay_worker::money::Fen;
use wxpay_worker::new_order::new_order;
use wxpay_worker::order::{Decision, Policy, decide};
use wxpay_worker::secret::sha256_hex;
use wxpay_worker::store::{Evidence, EvidenceSource, OrderCommit, Store, StoredOrder};
use wxpay_worker::worker::StoreParking;

use super::client::{Reply, send};
use crate::harness::assert::contradictions;
use crate::harness::service::{APP_ID, InProcess, MCH_ID, TestService};
use crate::harness::within_timeout;

pub const KEY: &str = "wxk_orders_and_finance";
pub const ORDERS_KEY: &str = "wxk_orders_only";
pub const OTHERS_KEY: &str = "wxk_other_merchant_only";

/// How long a request waits for WeChat's answer to its question.
pub const REFRESH_WAIT: Duration = Duration::from_secs(3);

pub const OTHER_MERCHANT: &str = r#"
[[merchants]]
key = "other"
mch_id = "1900000110"
apps = ["shop"]
v2_key = "Zz7vT2mZ9xB4nR6pL1wD8sF3hJ5gY0cB"
"#;

/// The HTTP side alone, on a fixed day; without more with one merchant and one app.
pub fn http_only(server: &str, more: &str) -> TestService {
    let keys: String = [(KEY, "all"), (ORDERS_KEY, "orders-only"), (OTHERS_KEY, "others")]
        .map(|(key, name)| {
            let hash = sha256_hex(key.as_bytes());
            let rights = match key {
                ORDERS_KEY => "scopes = [\"orders\"]\nmerchants = [\"main\"]",
                OTHERS_KEY if more.contains("\"other\"") => {
                    "scopes = [\"orders\", \"finance\"]\nmerchants = [\"other\"]"
                }
                OTHERS_KEY => "scopes = [\"orders\", \"finance\"]\nmerchants = [\"main\"]",
                _ => "scopes = [\"orders\", \"finance\"]\nmerchants = \"all\"",
            };
            format!("[[api_keys]]\nname = \"{name}\"\nhash = \"sha256:{hash}\"\n{rights}\n")
        })
        .concat();
    TestService::new()
        .roles("ingress")
        .clock(Clock::manual(Timestamp::parse_rfc3339("2026-03-01T02:03:04Z").unwrap()))
        .config(&format!("[server]\npublic_url = \"https://pay.example.com\"\n{server}"))
        .config(&keys)
        .config(more)
}

pub struct Stage {
    pub address: SocketAddr,
    pub config: Arc<Config>,
    service: InProcess,
    /// The consumers for which the test stands in.
    consumers: Mutex<Vec<ConsumerName>>,
}

impl Deref for Stage {
    type Target = InProcess;

    fn deref(&self) -> &InProcess {
        &self.service
    }
}

impl DerefMut for Stage {
    fn deref_mut(&mut self) -> &mut InProcess {
        &mut self.service
    }
}

impl Stage {
    pub async fn start() -> Stage {
        Stage::with("", "").await
    }

    /// `server` goes into `[server]`.
    pub async fn with(server: &str, more: &str) -> Stage {
        Stage::of(http_only(server, more)).await
    }

    /// As browsers and WeChat see it at this address.
    pub async fn seen_at(public_url: &str, more: &str) -> Stage {
        let url = format!("[server]\npublic_url = \"{public_url}\"");
        Stage::of(http_only("", more).config(&url)).await
    }

    pub async fn of(service: TestService) -> Stage {
        let service = service.in_process().await;
        service.leave_unfinished("neither a worker nor a relay runs");
        service.leave_books_open("WeChat is not asked");
        let address = service.base.trim_start_matches("http://").parse().unwrap();
        let config = service.in_force.snapshot();
        Stage { address, config, service, consumers: Mutex::default() }
    }

    /// With a worker at the other end of the bus, which on a busy machine is waited for.
    pub async fn worked() -> Stage {
        let stage = Stage::with("order_wait_ms = 20000", "").await;
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
            mch_id: MchId::parse(MCH_ID).unwrap(),
            appid: AppId::parse(APP_ID).unwrap(),
            out_trade_no: stored.order.current().unwrap().out_trade_no.clone(),
            transaction_id: TransactionId::parse(format!("42000{order_no:.27}")).unwrap(),
            total_fee: stored.order.amount,
            fee_type: "CNY".into(),
            time_end: self.clock.now(),
            openid: None,
            bank_type: None,
            cash_fee: Some(Fen::from_i64(1)),
            settlement_total_fee: None,
            coupons: Vec::new(),
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
        let (bus, shutdown) = (self.bus.clone(), self.stop.clone());
        self.consumers.lock().unwrap().push(consumer.clone());
        let handler = move |delivery| {
            let done = work(store.clone(), Arc::clone(&config), clock.clone(), delivery);
            async move {
                done.await;
                Verdict::Done
            }
        };
        tokio::spawn(async move { bus.consume(consumer, 16, handler, parking, shutdown).await });
    }

    /// Asserts that nothing is unacknowledged, that what the test's worker was given is done, that no message became a
    /// dead letter and that no rows contradict each other; then the service ends.
    pub async fn finish(self) {
        let (db, stopped) = (self.open_db().await, self.stop.is_cancelled());
        let bus = self.open_bus(&db).await;
        let consumers = std::mem::take(&mut *self.consumers.lock().unwrap());
        eventually("the end of every delivery", || async {
            let lag = bus.lag().await.unwrap();
            let open = |l: &Lag| l.in_flight > 0 || l.pending > 0 && !stopped && consumers.contains(&l.consumer);
            !lag.iter().any(open)
        })
        .await;
        assert_eq!(contradictions(&db).await, [] as [String; 0]);
        self.service.finish_by(&db, &bus).await;
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
    let (source, state) = (EvidenceSource::UnifiedOrder, change.next.state);
    let evidence = Evidence { out_trade_no: number, fact, source, received_at: now, took: None, state };
    let commit = OrderCommit {
        before: order.version,
        attempts_before: order.attempts.len(),
        next: change.next,
        new_params: Vec::new(),
        wanted: None,
        evidence: vec![(version, evidence)],
        payments: change.payment.into_iter().map(|entry| (version, entry)).collect(),
        reclassed: None,
        audit: None,
        approved: None,
        events: Vec::new(),
        notifications: Vec::new(),
        calls: Vec::new(),
        finished: Vec::new(),
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
