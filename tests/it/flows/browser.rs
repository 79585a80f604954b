//! The browser side as whole processes: from WeChat's login page to a paid order, and the mini program's way.

use std::collections::BTreeMap;

use reqwest::redirect::Policy;
use serde_json::{Value, json};

use super::on_all_four;
use crate::harness::service::{APP_ID, APP_SECRET, MINI_APP_ID, MINI_SECRET, Process, Processes, TestService};
use crate::harness::within_timeout;

const SESSION_KEY: &str = "k3y-0f-the-browser-side-of-the-flows";
const PAGE: &str = "http://localhost:5173/pay";
const WEB: &[(&str, &str)] = &[
    ("WXPAY__WEB__SESSION_KEY", SESSION_KEY),
    ("WXPAY__WEB__CALLBACK_ORIGINS", "http://localhost:5173"),
    ("WXPAY__LOG__FILTER", "info,wxpay_worker=debug"),
];

/// A browser: it keeps the process's cookies and shows every redirect.
#[derive(Clone)]
pub struct Browser {
    http: reqwest::Client,
    cookies: BTreeMap<String, String>,
}

pub struct Answer {
    pub status: u16,
    pub location: String,
    pub body: Value,
    pub retry_after: Option<u64>,
    /// All of it, to search for what should not be there.
    pub text: String,
}

impl Browser {
    fn new() -> Browser {
        let http = crate::harness::requests::plain_http().redirect(Policy::none()).build().unwrap();
        Browser { http, cookies: BTreeMap::new() }
    }

    pub async fn get(&mut self, url: &str) -> Answer {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let response = self.http.get(url).header("cookie", cookies.join("; ")).send().await.unwrap();
        for line in response.headers().get_all("set-cookie") {
            let (name, rest) = line.to_str().unwrap().split_once('=').unwrap();
            self.cookies.insert(name.into(), rest.split(';').next().unwrap().into());
            if rest.contains("; Max-Age=0;") {
                self.cookies.remove(name);
            }
        }
        let status = response.status().as_u16();
        let retry_after = response.headers().get("retry-after").and_then(|v| v.to_str().ok()?.parse().ok());
        let location = response.headers().get("location").map_or("", |v| v.to_str().unwrap()).to_owned();
        let head = format!("{:?}", response.headers());
        let body = response.text().await.unwrap();
        let text = format!("{head}\n{body}");
        Answer { status, location, retry_after, body: serde_json::from_str(&body).unwrap_or(Value::Null), text }
    }

    /// The `data` of an envelope that says yes.
    pub async fn data(&mut self, url: &str) -> Value {
        let answer = self.get(url).await;
        assert_eq!((answer.status, &answer.body["code"]), (200, &json!(0)), "{}", answer.text);
        answer.body["data"].clone()
    }

    /// To WeChat's login and back as far as the address WeChat returns to, which is not opened.
    pub async fn until_return(&mut self, base: &str) -> String {
        let to_wechat = self.get(&format!("{base}/api/wechat/redirect?callback={PAGE}")).await;
        assert_eq!(to_wechat.status, 302, "{}", to_wechat.text);
        // The browser's cookies are for the process's host; this client would send them to any.
        let back = Browser::new().get(&to_wechat.location).await;
        assert_eq!(back.status, 302, "{}", back.text);
        back.location
    }

    pub async fn logged_in(base: &str) -> Browser {
        let mut browser = Browser::new();
        let back = browser.until_return(base).await;
        let answer = browser.get(&back).await;
        assert_eq!((answer.status, answer.location.as_str()), (302, PAGE), "{}", answer.text);
        browser
    }
}

/// A return address as another process behind the same proxy would get it.
fn at(process: &Process, url: &str) -> String {
    format!("{}{}", process.base, &url[url.find("/api/").unwrap()..])
}

/// Awaits that the scheduler has fetched what a page is signed with.
async fn signed(browser: &mut Browser, base: &str) -> Value {
    within_timeout("a ticket", async {
        loop {
            let answer = browser.get(&format!("{base}/api/wechat/jssdk?url={PAGE}&explain=1")).await;
            if answer.status == 200 {
                return answer.body["data"].clone();
            }
            assert_eq!((answer.status, &answer.body["reason"]), (503, &json!("token_unavailable")), "{}", answer.text);
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    })
    .await
}

/// How often the simulator's platform was called.
async fn calls(service: &Processes, api: &str, appid: &str) -> u64 {
    let (_, seen) = service.get(&service.wechat_url, "/_sandbox/platform/calls").await;
    let found = seen["calls"].as_array().unwrap().iter().find(|c| c["api"] == api && c["appid"] == appid);
    found.map_or(0, |c| c["count"].as_u64().unwrap())
}

async fn until_paid(browser: &mut Browser, base: &str, order_no: &str) -> Value {
    within_timeout("the payment", async {
        loop {
            let state = browser.data(&format!("{base}/api/wechat/pay/status?order_no={order_no}&refresh=1")).await;
            if state["state"] == "paid" {
                return state;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await
}

on_all_four! {
    async fn a_payer_logs_in_and_pays_and_nothing_secret_shows(service) {
        let process = service.run_all_with(WEB).await;
        let base = &process.base;
        let mut browser = Browser::new();
        let back = browser.until_return(base).await;
        let answer = browser.get(&back).await;
        assert_eq!((answer.status, answer.location.as_str()), (302, PAGE), "{}", answer.text);
        let mut said = answer.text;

        let config = signed(&mut browser, base).await;
        assert_eq!((&config["appId"], &config["url"]), (&json!(APP_ID), &json!(PAGE)));
        let block = browser.get(&format!("{base}/api/wechat/pay/payWallet?money=100")).await;
        assert_eq!(block.status, 200, "{}", block.text);
        said.push_str(&block.text);
        let order_no = block.body["data"]["order_no"].as_str().unwrap().to_owned();
        service.pay(&order_no).await;
        let paid = until_paid(&mut browser, base, &order_no).await;
        assert_eq!((&paid["amount_fen"], &paid["flags"]), (&json!(100), &json!([])));
        let me = browser.get(&format!("{base}/api/wechat/getUserInfo")).await;
        said.push_str(&me.text);
        service.until_drained().await;
        let events = service.events(base, "wxpay.order.paid.v1").await;
        assert_eq!((events.len(), &events[0]["subject"]), (1, &json!(order_no)));

        // The payer of WeChat's order is who logged in; their openid was sent to no browser.
        let (_, users) = service.get(&service.wechat_url, "/_sandbox/platform/users").await;
        let current = users["current"].as_u64().unwrap();
        let person = users["users"].as_array().unwrap().iter().find(|u| u["user"] == current).unwrap();
        let openid = person["openids"][APP_ID].as_str().unwrap().to_owned();
        let (_, order) = service.get(base, &format!("/v1/orders/{order_no}?merchant=main")).await;
        assert_eq!((&order["app"], &order["state"]), (&json!("shop"), &json!("paid")));
        let db = service.open_db().await;
        let own = format!("SELECT COUNT(*) FROM orders WHERE order_no = '{order_no}' AND content LIKE '%{openid}%'");
        assert_eq!(service.number(&db, &own).await, 1);
        let code = back.split("code=").nth(1).unwrap().split('&').next().unwrap();
        let state = back.split("state=").nth(1).unwrap().split('&').next().unwrap();
        let secrets = [openid.as_str(), APP_SECRET, MINI_SECRET, SESSION_KEY, code, state];
        for secret in secrets {
            assert!(!said.contains(secret), "an answer holds {secret}");
        }
        let logs = service.logs();
        for secret in secrets.iter().copied().chain([browser.cookies["wxpay_session"].as_str(), "jsapi_ticket="]) {
            assert!(!logs.contains(secret), "a log line holds {secret}");
        }
        service.until_drained().await;
        assert!(process.terminate().await.success(), "a clean end");
        service.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_return_opened_in_two_processes_at_once_spends_its_code_once() {
    let service = TestService::embedded_postgres().await.processes().await;
    let one = service.run_all_with(WEB).await;
    let other = service.run_beside("ingress", WEB).await;
    for round in 1..=5 {
        let mut browser = Browser::new();
        let back = browser.until_return(&one.base).await;
        let mut tabs: Vec<Browser> = (0..6).map(|_| browser.clone()).collect();
        let opened = tabs.iter_mut().enumerate().map(|(i, tab)| {
            let url = at(if i % 2 == 0 { &one } else { &other }, &back);
            async move { tab.get(&url).await }
        });
        for answer in futures_util::future::join_all(opened).await {
            assert_eq!((answer.status, answer.location.as_str()), (302, PAGE), "{}", answer.text);
        }
        assert_eq!(calls(&service, "oauth_access_token", APP_ID).await, round);
        for tab in &mut tabs {
            tab.data(&format!("{}/api/wechat/getUserInfo", other.base)).await;
        }
        // In another browser the return is worth nothing, whichever process it opens.
        for process in [&one, &other] {
            let stolen = Browser::new().get(&at(process, &back)).await;
            assert_eq!((stolen.status, &stolen.body["reason"]), (403, &json!("bad_state")), "{}", stolen.text);
        }
    }
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clicks_in_two_processes_at_once_are_one_order() {
    let service = TestService::embedded_postgres().await.processes().await;
    let one = service.run_all_with(WEB).await;
    let other = service.run_beside("ingress", WEB).await;
    let browser = Browser::logged_in(&one.base).await;
    let clicks = (0..20).map(|i| {
        let (mut browser, base) = (browser.clone(), if i % 2 == 0 { one.base.clone() } else { other.base.clone() });
        async move { browser.data(&format!("{base}/api/wechat/pay/payWallet?money=300")).await }
    });
    let blocks = futures_util::future::join_all(clicks).await;
    for block in &blocks {
        assert_eq!((&block["order_no"], &block["package"]), (&blocks[0]["order_no"], &blocks[0]["package"]));
    }
    let db = service.open_db().await;
    assert_eq!(service.number(&db, "SELECT COUNT(*) FROM orders").await, 1);
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_code_at_wechat_begins_the_login_anew_once() {
    let service = TestService::embedded_sqlite().await.processes().await;
    let process = service.run_all_with(WEB).await;
    service.faults(json!([{"on": "oauth_access_token", "kind": "errcode", "errcode": 40163, "times": 1}])).await;
    let mut browser = Browser::new();
    let back = browser.until_return(&process.base).await;
    let again = browser.get(&back).await;
    assert!(again.location.contains("/connect/oauth2/authorize?"), "{}", again.text);
    let back = Browser::new().get(&again.location).await.location;
    let answer = browser.get(&back).await;
    assert_eq!((answer.status, answer.location.as_str()), (302, PAGE), "{}", answer.text);
    assert_eq!(calls(&service, "oauth_access_token", APP_ID).await, 2);
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mini_program_logs_in_pays_and_gives_its_phone_number_even_when_the_token_dies() {
    let service = TestService::embedded_sqlite().await.processes().await;
    let process = service.run_all_with(WEB).await;
    let post = async |path: &str, session: &str, code: &Value| {
        let request = service.http.post(format!("{}/api/wechat/mini/{path}", process.base)).bearer_auth(session);
        let body = json!({"code": code}).to_string();
        let response = request.header("content-type", "application/json").body(body).send().await.unwrap();
        serde_json::from_slice::<Value>(&response.bytes().await.unwrap()).unwrap()
    };
    let (_, issued) = service.post(&service.wechat_url, "/_sandbox/platform/mini_code", &json!({})).await;
    let login = post("login", "none", &issued["code"]).await;
    let session = login["data"]["session"].as_str().unwrap_or_else(|| panic!("{login}")).to_owned();
    assert_eq!(post("login", "none", &issued["code"]).await["reason"], "bad_code", "a code counts once");
    // A page asks again where no new token came within three seconds.
    let phone = async || {
        let asked = async {
            loop {
                let (_, code) = service.post(&service.wechat_url, "/_sandbox/platform/phone_code", &json!({})).await;
                let answer = post("phone", &session, &code["code"]).await;
                if answer["reason"] != "token_unavailable" {
                    return answer;
                }
                tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            }
        };
        within_timeout("a phone number", asked).await
    };
    within_timeout("a token", async {
        loop {
            let (_, ready) = service.get(&process.base, "/readyz").await;
            let mut checks = ready["checks"].as_array().unwrap().iter();
            if checks.any(|check| check["name"] == "app:mini" && check["ok"] == true) {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    })
    .await;
    let first = phone().await;
    assert_eq!(first["data"]["purePhoneNumber"], "13800000000", "{first}");
    let (_, killed) =
        service.post(&service.wechat_url, "/_sandbox/platform/kill_tokens", &json!({"appid": MINI_APP_ID})).await;
    assert_ne!(killed["killed"], 0, "{killed}");
    let second = phone().await;
    assert_eq!(second["data"]["countryCode"], "86", "{second}");

    let pay = format!("{}/api/wechat/pay/payWallet?money=100", process.base);
    let block = service.http.get(pay).bearer_auth(&session).send().await.unwrap().bytes().await.unwrap();
    let block: Value = serde_json::from_slice(&block).unwrap();
    assert_eq!(block["data"]["appId"], MINI_APP_ID, "{block}");
    let order_no = block["data"]["order_no"].as_str().unwrap();
    // What wx.requestPayment takes, and nothing else; WeChat checks all of it.
    let params: serde_json::Map<String, Value> = ["timeStamp", "nonceStr", "package", "signType", "paySign"]
        .map(|name| (name.to_owned(), block["data"][name].clone()))
        .into_iter()
        .collect();
    let request = json!({"appid": MINI_APP_ID, "openid": issued["openid"], "params": params});
    let (_, said) = service.post(&service.wechat_url, "/_sandbox/bridge/request_payment", &request).await;
    assert_eq!(said["errMsg"], "requestPayment:ok", "{said}");
    service.until_state(&process.base, order_no, "paid").await;
    let said = format!("{login}{first}{second}{block}{}", service.logs());
    for secret in [issued["openid"].as_str().unwrap(), MINI_SECRET, SESSION_KEY, "session_key\":\""] {
        assert!(!said.contains(secret), "{secret} shows");
    }
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nickname_that_postgresql_does_not_take_does_not_prevent_the_login() {
    let service = TestService::embedded_postgres().await.processes().await;
    let process = service.run_all_with(WEB).await;
    let odd = json!({"openid": "oPersonWithAnOddNickname00001", "nickname": "小\u{0}明\u{1b}[1m"});
    service.post(&service.wechat_url, "/_sandbox/platform/user", &odd).await;
    let (_, users) = service.get(&service.wechat_url, "/_sandbox/platform/users").await;
    let mut browser = Browser::new();
    let begun = browser.get(&format!("{}/api/wechat/redirect?url={PAGE}&scope=snsapi_userinfo", process.base)).await;
    let agreed = browser.http.post(&begun.location).body(format!("user={}&action=allow", users["current"]));
    let back = agreed.send().await.unwrap().headers()["location"].to_str().unwrap().to_owned();
    let answer = browser.get(&back).await;
    assert_eq!((answer.status, answer.location.as_str()), (302, PAGE), "{}", answer.text);
    let me = browser.data(&format!("{}/api/wechat/getUserInfo", process.base)).await;
    assert_eq!((&me["nickname"], &me["has_profile"]), (&json!("小明[1m"), &json!(true)));
    service.finish().await;
}
