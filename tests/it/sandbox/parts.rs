//! A shop that calls the simulator and a merchant's address that hears its notifications.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use wxpay_worker::clock::{Clock, Timestamp};
use wxpay_worker::ids::{AppId, MchId};
use wxpay_worker::sandbox::{Account, Options, PlatformApp, PlatformKind, Running, Sandbox, Settings};
use wxpay_worker::secret::{Secret, V2Key, random_text};
use wxpay_worker::trade::SignType;
use wxpay_worker::wechat::v2::sign::{seal, verify};
use wxpay_worker::wechat::v2::xml;
use wxpay_worker::wechat::v2::xml::Fields;

use crate::harness::{TEST_TIMEOUT, within_timeout};

pub const MCH_ID: &str = "10000100";
pub const APPID: &str = "wxd930ea5d5a258f4f";
pub const SECOND_APPID: &str = "wx8888888888888888";
pub const MINI_APPID: &str = "wx6d5a258f4fd930ea";
pub const SECRET: &str = "s1s2s3s4s5s6s7s8s9s0a1a2a3a4a5a6";
pub const SECOND_SECRET: &str = "t1t2t3t4t5t6t7t8t9t0b1b2b3b4b5b6";
pub const MINI_SECRET: &str = "u1u2u3u4u5u6u7u8u9u0c1c2c3c4c5c6";
pub const OTHER_MCH_ID: &str = "1900000109";
pub const OTHER_APPID: &str = "wx2421b1c4370ec43b";
pub const OPENID: &str = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o";
pub const SUCCESS: &str =
    "<xml><return_code><![CDATA[SUCCESS]]></return_code><return_msg><![CDATA[OK]]></return_msg></xml>";

pub fn key() -> V2Key {
    V2Key::parse("192006250b4c09247ec02edce69f6a2d").unwrap()
}

pub fn other_key() -> V2Key {
    V2Key::parse("k7Qm2Zt9Xb4Lw8Rd6Vn1Hs3Jp5Gy0CfA").unwrap()
}

pub fn settings(time_scale: u32) -> Settings {
    let account = |mch_id: &str, v2_key: V2Key, appids: &[&str]| Account {
        mch_id: MchId::parse(mch_id).unwrap(),
        v2_key,
        appids: appids.iter().map(|a| AppId::parse(*a).unwrap()).collect(),
    };
    let app =
        |kind, appid: &str, secret: &str| PlatformApp::new(kind, AppId::parse(appid).unwrap(), Secret::new(secret));
    Settings {
        merchants: vec![
            account(MCH_ID, key(), &[APPID, SECOND_APPID, MINI_APPID]),
            account(OTHER_MCH_ID, other_key(), &[OTHER_APPID]),
        ],
        apps: vec![
            app(PlatformKind::OfficialAccount, APPID, SECRET),
            app(PlatformKind::OfficialAccount, SECOND_APPID, SECOND_SECRET),
            app(PlatformKind::MiniProgram, MINI_APPID, MINI_SECRET),
        ],
        time_scale,
        seed: 7,
        ..Settings::default()
    }
}

pub fn clock() -> Clock {
    Clock::manual(Timestamp::parse_rfc3339("2025-01-02T03:04:05Z").unwrap())
}

pub async fn loopback() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// A simulator and a client of it. In this process its clock stands still until moved.
pub struct Shop<S = Running> {
    pub sandbox: S,
    pub clock: Clock,
    pub http: reqwest::Client,
    pub base: String,
}

impl Shop {
    pub async fn open() -> Shop {
        Shop::scaled(1).await
    }

    pub async fn scaled(time_scale: u32) -> Shop {
        let clock = clock();
        let options = Options { clock: clock.clone(), ..Options::default() };
        Shop::over(Sandbox::start_with(loopback().await, settings(time_scale), options).await.unwrap(), clock)
    }

    pub fn over(sandbox: Running, clock: Clock) -> Shop {
        let base = sandbox.base_url();
        Shop::at(base, sandbox, clock)
    }
}

impl<S> Shop<S> {
    pub fn at(base: String, sandbox: S, clock: Clock) -> Shop<S> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TEST_TIMEOUT)
            .build()
            .unwrap();
        Shop { sandbox, clock, http, base }
    }

    pub async fn post(&self, path: &str, body: Vec<u8>) -> reqwest::Result<reqwest::Response> {
        self.http.post(format!("{}{path}", self.base)).body(body).send().await
    }

    /// Signs, sends, reads the answer, without checking its signature.
    pub async fn raw(&self, api: &str, fields: Fields, sign_type: SignType) -> Fields {
        let fields = sealed(fields, sign_type);
        let answer = self.post(&format!("/pay/{api}"), xml::write(&fields).into_bytes()).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/plain");
        xml::parse(&answer.bytes().await.unwrap()).unwrap()
    }

    /// Like `raw`, and the answer must be signed with the request's algorithm and name our merchant.
    pub async fn call(&self, api: &str, fields: Fields, sign_type: SignType) -> Fields {
        let answer = self.raw(api, fields, sign_type).await;
        assert_eq!(answer["return_code"], "SUCCESS", "{answer:?}");
        assert_eq!(verify(&answer, &key()), Ok(sign_type));
        assert_eq!(answer["mch_id"], MCH_ID);
        assert!(!answer.contains_key("sign_type"));
        answer
    }

    pub async fn place(&self, fields: Fields) -> Fields {
        self.call("unifiedorder", fields, SignType::Md5).await
    }

    pub async fn query(&self, out_trade_no: &str) -> Fields {
        self.call("orderquery", about(out_trade_no), SignType::Md5).await
    }

    pub async fn close(&self, out_trade_no: &str) -> Fields {
        self.call("closeorder", about(out_trade_no), SignType::Md5).await
    }

    /// Places an order that must succeed and returns its `prepay_id`.
    pub async fn prepay(&self, fields: Fields) -> String {
        let answer = self.place(fields).await;
        assert_eq!(answer["result_code"], "SUCCESS", "{answer:?}");
        answer["prepay_id"].clone()
    }

    pub async fn control(&self, path: &str, body: Value) -> (u16, Value) {
        let answer = self.post(&format!("/_sandbox/{path}"), body.to_string().into_bytes()).await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
    }

    pub async fn pay(&self, prepay_id: &str) -> Value {
        let (status, payment) = self.control("pay", json!({"prepay_id": prepay_id})).await;
        assert_eq!(status, 200, "{payment}");
        payment
    }

    pub async fn faults(&self, rules: Value) {
        let (status, answer) = self.control("faults", rules).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// Asks until the rule that was added last has been met.
    pub async fn until_fired(&self) {
        within_timeout("the fault", async {
            while self.get("faults").await["faults"].as_array().unwrap().last().unwrap()["fired"] == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    pub async fn get(&self, path: &str) -> Value {
        let answer = self.http.get(format!("{}/_sandbox/{path}", self.base)).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    pub async fn ledger(&self) -> Value {
        self.get("ledger").await
    }

    pub async fn payments(&self) -> usize {
        self.ledger().await["payments"].as_array().unwrap().len()
    }

    /// Asks the ledger until `n` notifications have ended.
    pub async fn deliveries(&self, n: usize) -> Vec<Value> {
        let deadline = Instant::now() + TEST_TIMEOUT;
        loop {
            let deliveries = self.ledger().await["deliveries"].as_array().unwrap().clone();
            if deliveries.len() >= n {
                return deliveries;
            }
            assert!(Instant::now() < deadline, "only {deliveries:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

pub fn sealed(mut fields: Fields, sign_type: SignType) -> Fields {
    fields.entry("nonce_str".into()).or_insert_with(|| random_text(32));
    if sign_type == SignType::HmacSha256 {
        fields.insert("sign_type".into(), sign_type.as_str().into());
    }
    seal(fields, &key(), sign_type)
}

pub fn with(mut fields: Fields, more: &[(&str, &str)]) -> Fields {
    for (name, value) in more {
        fields.insert((*name).into(), (*value).into());
    }
    fields
}

pub fn about(out_trade_no: &str) -> Fields {
    with(Fields::new(), &[("appid", APPID), ("mch_id", MCH_ID), ("out_trade_no", out_trade_no)])
}

pub fn order(out_trade_no: &str) -> Fields {
    with(
        about(out_trade_no),
        &[
            ("body", "QQ公仔 & <b>"),
            ("attach", "深圳分店"),
            ("total_fee", "88"),
            ("spbill_create_ip", "123.12.12.123"),
            ("notify_url", "http://127.0.0.1:9/notify"),
            ("trade_type", "JSAPI"),
            ("openid", OPENID),
        ],
    )
}

pub fn native(out_trade_no: &str) -> Fields {
    let mut fields = with(order(out_trade_no), &[("trade_type", "NATIVE"), ("product_id", "12235413214070356458058")]);
    fields.remove("openid");
    fields
}

pub fn mweb(out_trade_no: &str) -> Fields {
    let scene = r#"{"h5_info":{"type":"Wap","wap_url":"https://pay.example.com","wap_name":"shop"}}"#;
    let mut fields = with(order(out_trade_no), &[("trade_type", "MWEB"), ("scene_info", scene)]);
    fields.remove("openid");
    fields
}

/// One notification as the merchant heard it.
pub struct Heard {
    pub at: Instant,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Heard {
    pub fn fields(&self) -> Fields {
        xml::parse(&self.body).unwrap()
    }
}

type Answers = Arc<Mutex<VecDeque<(StatusCode, &'static str)>>>;

/// A merchant's notification address: gives the prepared answers in order, then SUCCESS.
pub struct Merchant {
    pub url: String,
    pub heard: mpsc::UnboundedReceiver<Heard>,
    pub answers: Answers,
}

impl Merchant {
    pub async fn open() -> Merchant {
        let (tell, heard) = mpsc::unbounded_channel();
        let answers = Answers::default();
        let hear = |State((tell, answers)): State<(mpsc::UnboundedSender<Heard>, Answers)>,
                    headers: HeaderMap,
                    body: Bytes| async move {
            let answer = answers.lock().unwrap().pop_front();
            // The test may have ended already.
            let _ = tell.send(Heard { at: Instant::now(), headers, body });
            answer.unwrap_or((StatusCode::OK, SUCCESS))
        };
        let router = Router::new().route("/notify", post(hear)).with_state((tell, answers.clone()));
        let listener = loopback().await;
        let url = format!("http://{}/notify", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Merchant { url, heard, answers }
    }

    pub fn answer_with(&self, answers: &[(u16, &'static str)]) {
        let mut queue = self.answers.lock().unwrap();
        queue.extend(answers.iter().map(|(status, body)| (StatusCode::from_u16(*status).unwrap(), *body)));
    }

    pub fn order(&self, out_trade_no: &str) -> Fields {
        with(order(out_trade_no), &[("notify_url", &self.url)])
    }

    pub async fn next(&mut self) -> Heard {
        within_timeout("a notification", self.heard.recv()).await.unwrap()
    }
}

/// The platform side of a shop.
impl<S> Shop<S> {
    /// A GET of the platform API; HTTP is always fine there.
    pub async fn ask(&self, path: &str, query: &[(&str, &str)]) -> Value {
        let answer = self.http.get(address(&self.base, path, query)).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    pub async fn tell(&self, path: &str, query: &[(&str, &str)], body: Value) -> Value {
        let answer = self.http.post(address(&self.base, path, query)).body(body.to_string()).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    pub async fn classic(&self) -> Value {
        let query = [("grant_type", "client_credential"), ("appid", APPID), ("secret", SECRET)];
        self.ask("/cgi-bin/token", &query).await
    }

    pub async fn stable_of(&self, appid: &str, secret: &str, force_refresh: bool) -> Value {
        let body = json!({
            "grant_type": "client_credential", "appid": appid, "secret": secret, "force_refresh": force_refresh,
        });
        self.tell("/cgi-bin/stable_token", &[], body).await
    }

    pub async fn stable(&self) -> Value {
        self.stable_of(APPID, SECRET, false).await
    }

    pub async fn ticket(&self, access_token: &str) -> Value {
        self.ask("/cgi-bin/ticket/getticket", &[("access_token", access_token), ("type", "jsapi")]).await
    }

    /// What the platform control answers to a request that must be right.
    pub async fn operate(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.control(&format!("platform/{path}"), body).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }
}

/// An address with its query percent-encoded.
pub fn address(base: &str, path: &str, query: &[(&str, &str)]) -> String {
    let mut url = format!("{base}{path}");
    for (i, (name, value)) in query.iter().enumerate() {
        url.push(if i == 0 { '?' } else { '&' });
        url.push_str(name);
        url.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                url.push(char::from(byte));
            } else {
                url.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    url
}

/// The token, ticket or whatever text an answer holds; it must be a success.
pub fn good<'v>(answer: &'v Value, name: &str) -> &'v str {
    assert!(answer.get("errcode").is_none_or(|code| code == 0), "{answer}");
    answer[name].as_str().unwrap_or_else(|| panic!("no {name} in {answer}"))
}
