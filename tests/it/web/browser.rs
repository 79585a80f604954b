//! A browser with cookies, and a WeChat platform that answers by the names of the codes it is shown and can be held up.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::routing::any;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use url::{Url, form_urlencoded};
use wxpay_worker::scheduler::token_commit::{TokenWrite, commit};
use wxpay_worker::scheduler::token_refresh_policy as policy;
use wxpay_worker::scheduler::token_refresh_policy::IssuedToken;
use wxpay_worker::sealed_box::SealKey;
use wxpay_worker::secret::{Secret, sha256_hex};
use wxpay_worker::store::{Fenced, TOKEN_SEAL, TokenKind};

use crate::harness::service::APP_SECRET;
use crate::harness::within_timeout;
use crate::http::client::Reply;
use crate::http::stage::Stage;

pub const SESSION_KEY: &str = "k3y-0f-the-browser-side-of-the-tests";
pub const MINI_SECRET: &str = "s3cr3tOfTheMiniApp4Tests01234567";
pub const PAGE: &str = "https://m.example.com/pay?from=menu#top";
/// The session cookie of a service under https.
pub const SESSION: &str = "__Host-wxpay_session";
/// What the names of the cookies of logins under way begin with there.
pub const LOGIN: &str = "__Host-wxpay_login_";
pub const TICKET: &str = "kgt8ON7yVITDhtdwci0qecXK4tE9pJ7bR2wYH5mNcVx";
pub const ACCESS_TOKEN: &str = "94_access-token-of-the-mini-program";

/// The stand-in for WeChat's platform.
pub struct Platform {
    pub base: String,
    heard: Arc<Heard>,
}

struct Heard {
    /// Path and query or body of each call.
    calls: Mutex<Vec<(String, String)>>,
    used: Mutex<HashSet<String>>,
    /// What `slow-…` codes wait for.
    gate: Semaphore,
    /// The one access_token that counts.
    live_token: Mutex<String>,
}

impl Platform {
    pub async fn start() -> Platform {
        let heard = Arc::new(Heard {
            calls: Mutex::default(),
            used: Mutex::default(),
            gate: Semaphore::new(0),
            live_token: Mutex::new(ACCESS_TOKEN.into()),
        });
        let routes = Router::new().fallback(any(answer)).with_state(Arc::clone(&heard));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Platform { base, heard }
    }

    /// How often this API was called.
    pub fn calls(&self, path: &str) -> usize {
        self.heard.calls.lock().unwrap().iter().filter(|(p, _)| p == path).count()
    }

    /// Lets `n` calls with slow codes go on.
    pub fn let_go(&self, n: usize) {
        self.heard.gate.add_permits(n);
    }

    /// From now on only this access_token counts.
    pub fn live_token(&self, token: &str) {
        *self.heard.live_token.lock().unwrap() = token.into();
    }
}

async fn answer(State(heard): State<Arc<Heard>>, request: Request) -> String {
    let (parts, body) = request.into_parts();
    let body = String::from_utf8(axum::body::to_bytes(body, 10_000).await.unwrap().to_vec()).unwrap();
    let path = parts.uri.path().to_owned();
    let query: BTreeMap<String, String> =
        form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    heard.calls.lock().unwrap().push((path.clone(), format!("{query:?} {body}")));
    let of = |name: &str| query.get(name).cloned().unwrap_or_default();
    let code = match path.as_str() {
        "/sns/oauth2/access_token" => of("code"),
        "/sns/jscode2session" => of("js_code"),
        "/wxa/business/getuserphonenumber" => {
            let body: Value = serde_json::from_str(&body).unwrap();
            body["code"].as_str().unwrap().to_owned()
        }
        "/sns/userinfo" if of("access_token") == "odd-token" => {
            let nickname = format!("\u{0}小\u{7}明\n{}", "长".repeat(5000));
            let head = format!("https://thirdwx.qlogo.cn/{}", "x".repeat(5000));
            return json!({"openid": of("openid"), "nickname": nickname, "headimgurl": head}).to_string();
        }
        "/sns/userinfo" if of("access_token") == "bare-token" => return error(48001),
        "/sns/userinfo" => {
            let head = "https://thirdwx.qlogo.cn/x/132";
            return json!({"openid": of("openid"), "nickname": "小明", "headimgurl": head}).to_string();
        }
        _ => return error(404),
    };
    if path.starts_with("/wxa") && of("access_token") != *heard.live_token.lock().unwrap() {
        return error(40001);
    }
    if code.starts_with("slow-") {
        heard.gate.acquire().await.unwrap().forget();
    }
    if code.starts_with("busy-") {
        return error(-1);
    }
    if let Some(number) = code.strip_prefix("err-") {
        return error(number.split('-').next().unwrap().parse().unwrap());
    }
    if !heard.used.lock().unwrap().insert(code.clone()) {
        return error(40163);
    }
    let openid = openid_of(&code);
    match path.as_str() {
        "/sns/oauth2/access_token" if code.starts_with("snap-") => json!({
            "access_token": "user-token", "expires_in": 7200, "refresh_token": "r", "openid": openid,
            "scope": "snsapi_userinfo", "is_snapshotuser": 1, "unionid": "oVirtualUnion",
        }),
        "/sns/oauth2/access_token" => json!({
            "access_token": match code.split('-').next() {
                Some("odd") => "odd-token",
                Some("bare") => "bare-token",
                _ => "user-token",
            }, "expires_in": 7200, "refresh_token": "r", "openid": openid, "scope": "snsapi_base",
        }),
        "/sns/jscode2session" => json!({"openid": openid, "session_key": "HyVFkGl5F5OQWJZZaNzBBg=="}),
        _ => json!({"errcode": 0, "errmsg": "ok", "phone_info": {
            "phoneNumber": "+8613800138000", "purePhoneNumber": "13800138000", "countryCode": 86,
            "watermark": {"timestamp": 1, "appid": "wx1111111111111111"},
        }}),
    }
    .to_string()
}

/// Whose code it is: the part after the last dash.
pub fn openid_of(code: &str) -> String {
    format!("oUpF8uMuAJO_{}", code.rsplit('-').next().unwrap())
}

fn error(errcode: i64) -> String {
    json!({"errcode": errcode, "errmsg": "refused, rid: 65f0-1"}).to_string()
}

/// What makes a [`Stage`] a browser's: WeChat's address, the allow-list, a mini program. WeChat is waited for as long
/// as a busy machine may take until a slow code goes on.
pub fn web(platform: &Platform) -> String {
    format!(
        r#"
[wechat]
timeout_ms = 60000
api_url = "{base}"
open_url = "https://open.wechat.test"
[web]
callback_origins = ["https://m.example.com", "http://localhost:5173"]
session_key = "{SESSION_KEY}"
wallet_max_fen = 500000
[[apps]]
key = "mini"
app_id = "wx1111111111111111"
kind = "mini_program"
secret = "{MINI_SECRET}"
"#,
        base = platform.base
    )
}

pub async fn stage() -> (Stage, Platform) {
    let platform = Platform::start().await;
    let stage = Stage::with("", &web(&platform)).await;
    (stage, platform)
}

/// A browser: it keeps cookies and follows nothing by itself.
#[derive(Clone, Default)]
pub struct Browser {
    pub cookies: BTreeMap<String, String>,
    /// Every `Set-Cookie` line it was given.
    pub lines: Vec<String>,
}

impl Browser {
    pub async fn get(&mut self, stage: &Stage, target: &str) -> Reply {
        self.get_with(stage, target, &[]).await
    }

    pub async fn get_with(&mut self, stage: &Stage, target: &str, headers: &[(&str, &str)]) -> Reply {
        let cookie = self.header();
        let mut all = headers.to_vec();
        if !cookie.is_empty() {
            all.push(("Cookie", &cookie));
        }
        let reply = stage.send("GET", target, &all, b"").await;
        self.take(&reply);
        reply
    }

    /// What it sends as `Cookie`.
    pub fn header(&self) -> String {
        let pairs: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("; ")
    }

    pub fn take(&mut self, reply: &Reply) {
        for line in reply.head.lines().filter_map(|l| l.strip_prefix("set-cookie: ")) {
            let (name, rest) = line.split_once('=').unwrap();
            if name.starts_with("__Host-") {
                // Browsers take no other.
                assert!(rest.contains("; Path=/;") && rest.contains("; Secure") && !rest.contains("Domain"), "{line}");
            }
            if rest.contains("; Max-Age=0;") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.into(), rest.split(';').next().unwrap().into());
            }
            self.lines.push(line.into());
        }
    }

    /// The cookies of logins under way.
    pub fn logins(&self) -> Vec<(&String, &String)> {
        self.cookies.iter().filter(|(name, _)| name.starts_with(LOGIN)).collect()
    }

    /// Begins a login for [`PAGE`]; answers the state that WeChat is given.
    pub async fn begin(&mut self, stage: &Stage, scope: &str) -> String {
        let target = format!("/api/wechat/redirect?callback={}&scope={scope}", encoded(PAGE));
        let reply = self.get(stage, &target).await;
        assert_eq!(reply.status, 302, "{reply:?}");
        state_of(&reply)
    }

    /// Comes back from WeChat.
    pub async fn come_back(&mut self, stage: &Stage, code: &str, state: &str) -> Reply {
        self.get(stage, &format!("/api/wechat/getOpenId?code={code}&state={state}")).await
    }

    /// Logs in with this code.
    pub async fn logged_in(stage: &Stage, code: &str) -> Browser {
        let mut browser = Browser::default();
        let state = browser.begin(stage, "snsapi_base").await;
        let reply = browser.come_back(stage, code, &state).await;
        assert_eq!((reply.status, reply.header("location")), (302, Some(PAGE)), "{reply:?}");
        browser
    }
}

/// The state in a redirect to WeChat.
pub fn state_of(reply: &Reply) -> String {
    let to = Url::parse(reply.header("location").unwrap()).unwrap();
    let state = to.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    assert!(state.len() >= 22 && state.bytes().all(|b| b.is_ascii_alphanumeric()), "128 bits: {state}");
    state
}

pub fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// The `reason` of an envelope that says no, after checking what every one has.
pub fn reason(reply: &Reply) -> String {
    let envelope = reply.json();
    assert_ne!(envelope["code"], 0, "{envelope}");
    assert_eq!(envelope["request_id"].as_str(), reply.header("x-request-id"), "{envelope}");
    let message = envelope["message"].as_str().unwrap();
    assert!(!message.is_empty() && !message.contains("失败") || envelope["reason"] == "login_failed", "{envelope}");
    assert_eq!(reply.header("cache-control"), Some("no-store"), "{reply:?}");
    envelope["reason"].as_str().unwrap().to_owned()
}

/// The `data` of an envelope that says yes.
pub fn data(reply: &Reply) -> Value {
    let envelope = reply.json();
    assert_eq!((reply.status, &envelope["code"], &envelope["message"]), (200, &json!(0), &json!("")), "{envelope}");
    assert_eq!(reply.header("cache-control"), Some("no-store"), "{reply:?}");
    envelope["data"].clone()
}

/// Writes a token as the scheduler would.
pub async fn store_token(stage: &Stage, app: &str, kind: TokenKind, value: &str) {
    issue_token(stage, (app, kind), value, None).await;
}

/// The scheduler fetched the same value again, because it had been reported dead.
pub async fn repeat_token(stage: &Stage, app: &str, kind: TokenKind, value: &str) {
    issue_token(stage, (app, kind), value, Some(sha256_hex(value.as_bytes()))).await;
}

async fn issue_token(stage: &Stage, (app, kind): (&str, TokenKind), value: &str, because_of: Option<String>) {
    let lease = stage.store.lease("test_tokens", "test", Duration::from_secs(60)).await.unwrap().unwrap();
    let key = SealKey::derive(&Secret::new(SESSION_KEY), TOKEN_SEAL).unwrap();
    let now = stage.clock.now();
    let issued = IssuedToken {
        value: Secret::new(value),
        fetched_at: now,
        expires_at: now.after(Duration::from_secs(7200)),
        refresh_at: now.after(Duration::from_secs(6000)),
        because_of,
        degraded: None,
    };
    let app = stage.config.app(app).unwrap();
    let write = TokenWrite { lease: &lease, app, kind, merchants: &[], now };
    let stored = commit(&stage.store, &key, write, |before| policy::issued(before, &issued, now));
    let done = within_timeout("a stored token", stored).await;
    assert!(matches!(done.unwrap(), Fenced::Done(_)));
}

/// Whether nothing in an answer would let a person impersonate another, or call WeChat in our name.
pub fn tells_no_secret(reply: &Reply, openid: &str) {
    let all = format!("{}\n{}", reply.head, String::from_utf8_lossy(&reply.body));
    for secret in
        [openid, APP_SECRET, MINI_SECRET, SESSION_KEY, TICKET, ACCESS_TOKEN, "user-token", "HyVFkGl5F5OQWJZZaNzBBg"]
    {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
}
