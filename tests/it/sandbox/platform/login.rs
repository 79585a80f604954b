//! OAuth as a browser and a server see it: the page, the code, the user's tokens.

use std::time::Duration;

use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use serde_json::{Value, json};

use super::session;
use crate::sandbox::parts::{
    APPID, MINI_APPID, OPENID, SECOND_APPID, SECOND_SECRET, SECRET, Shop, address, clock, good, loopback, settings,
};
use wxpay_worker::sandbox::{Options, Sandbox};

const BACK: &str = "http://127.0.0.1:8080/api/wechat/getOpenId";
const MINUTE: Duration = Duration::from_secs(60);

fn visit<'a>(scope: &'a str, redirect_uri: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("appid", APPID),
        ("redirect_uri", redirect_uri),
        ("response_type", "code"),
        ("scope", scope),
        ("state", "a1B2c3"),
    ]
}

fn page(shop: &Shop, query: &[(&str, &str)]) -> String {
    address(&shop.base, "/connect/oauth2/authorize", query)
}

async fn open(shop: &Shop, url: &str) -> reqwest::Response {
    shop.http.get(url).send().await.unwrap()
}

fn target(answer: &reqwest::Response) -> String {
    assert_eq!(answer.status(), 302);
    answer.headers()[LOCATION].to_str().unwrap().to_owned()
}

fn code(target: &str) -> String {
    target.split("code=").nth(1).expect("no code").split('&').next().unwrap().to_owned()
}

/// A code of the silent kind.
pub async fn silent(shop: &Shop) -> String {
    code(&target(&open(shop, &page(shop, &visit("snsapi_base", BACK))).await))
}

async fn submit(shop: &Shop, scope: &str, form: &str) -> reqwest::Response {
    shop.http.post(page(shop, &visit(scope, BACK))).body(form.to_owned()).send().await.unwrap()
}

async fn exchange_for(shop: &Shop, appid: &str, secret: &str, code: &str) -> Value {
    let query = [("appid", appid), ("secret", secret), ("code", code), ("grant_type", "authorization_code")];
    shop.ask("/sns/oauth2/access_token", &query).await
}

async fn exchange(shop: &Shop, code: &str) -> Value {
    exchange_for(shop, APPID, SECRET, code).await
}

#[tokio::test]
async fn the_silent_scope_comes_straight_back_with_a_code_and_the_state() {
    let shop = Shop::open().await;
    let to = target(&open(&shop, &page(&shop, &visit("snsapi_base", BACK))).await);
    let code = code(&to);
    assert_eq!(to, format!("{BACK}?code={code}&state=a1B2c3"));
    let answer = exchange(&shop, &code).await;
    for name in ["access_token", "refresh_token", "openid"] {
        good(&answer, name);
    }
    assert_eq!((answer["scope"].as_str(), answer["expires_in"].as_i64()), (Some("snsapi_base"), Some(7200)));
    for absent in ["errcode", "unionid", "is_snapshotuser"] {
        assert!(answer.get(absent).is_none(), "{absent} in {answer}");
    }
    let again = exchange(&shop, &silent(&shop).await).await;
    assert_eq!(again["openid"], answer["openid"], "the same person");
    assert_ne!(again["access_token"], answer["access_token"]);
}

#[tokio::test]
async fn the_code_joins_a_query_and_stays_in_front_of_a_fragment() {
    let shop = Shop::open().await;
    for (back, start, end) in [
        ("http://127.0.0.1:8080/cb?x=1&y=%2F", "http://127.0.0.1:8080/cb?x=1&y=%2F&code=", "&state=a1B2c3"),
        ("http://localhost/cb#/pay", "http://localhost/cb?code=", "&state=a1B2c3#/pay"),
        ("https://[::1]:8443/确认", "https://[::1]:8443/%E7%A1%AE%E8%AE%A4?code=", "&state=a1B2c3"),
    ] {
        let to = target(&open(&shop, &page(&shop, &visit("snsapi_base", back))).await);
        assert!(to.starts_with(start) && to.ends_with(end), "{back}: {to}");
    }
    let mut query = visit("snsapi_base", BACK);
    query.pop();
    query.push(("forcePopup", "true"));
    let to = target(&open(&shop, &page(&shop, &query)).await);
    assert!(to.starts_with(&format!("{BACK}?code=")) && !to.contains("state"), "{to}");
}

#[tokio::test]
async fn what_wechat_is_particular_about_ends_on_its_error_pages() {
    let shop = Shop::open().await;
    let long = "a".repeat(129);
    let with = |name: &'static str, value: &str| {
        let mut query: Vec<(&str, String)> =
            visit("snsapi_base", BACK).into_iter().map(|(n, v)| (n, v.to_owned())).collect();
        query.iter_mut().find(|(n, _)| *n == name).unwrap().1 = value.to_owned();
        let query: Vec<(&str, &str)> = query.iter().map(|(n, v)| (*n, v.as_str())).collect();
        page(&shop, &query)
    };
    let swapped = |a: usize, b: usize| {
        let mut query = visit("snsapi_base", BACK);
        query.swap(a, b);
        page(&shop, &query)
    };
    let mut repeated = visit("snsapi_base", BACK);
    repeated.push(("scope", "snsapi_userinfo"));
    for (url, text) in [
        (with("scope", ""), "10010"),
        (with("redirect_uri", ""), "10011"),
        (with("appid", ""), "10012"),
        (with("state", ""), "10013"),
        (with("appid", "wx0000000000000000"), "AppID"),
        (with("appid", MINI_APPID), "10005"),
        (with("scope", "snsapi_login"), "10005"),
        (with("response_type", "token"), "response_type"),
        (with("state", "a-b"), "state"),
        (with("state", "a b"), "state"),
        (with("state", "中文"), "state"),
        (with("state", &long), "state"),
        (swapped(0, 1), "顺序"),
        (swapped(1, 2), "顺序"),
        (swapped(3, 4), "顺序"),
        (page(&shop, &repeated), "顺序"),
        (with("redirect_uri", "https://evil.example.com/cb"), "10003"),
        (with("redirect_uri", "http://127.0.0.1@evil.example.com/"), "10003"),
        (with("redirect_uri", "http://evil.example.com\\@127.0.0.1/"), "10003"),
        (with("redirect_uri", "http://127.0.0.1.evil.example.com/"), "10003"),
        (with("redirect_uri", "http://127.0.0.1/\r\nx: y"), "10003"),
        (with("redirect_uri", "//127.0.0.1/"), "10003"),
        (with("redirect_uri", "javascript:alert(1)"), "10003"),
        (with("redirect_uri", "http%3A%2F%2F127.0.0.1%2Fencoded-twice"), "10003"),
        (with("redirect_uri", BACK).replace("%3A%2F%2F", "://"), "10003"),
    ] {
        let answer = open(&shop, &url).await;
        assert_eq!(answer.status(), 200, "{url}");
        assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
        let html = answer.text().await.unwrap();
        assert!(html.contains("无法打开网页") && html.contains(text), "{url}: {html}");
    }
    let best = "a".repeat(128);
    target(&open(&shop, &with("state", &best)).await);
}

#[tokio::test]
async fn a_configured_domain_is_the_only_one() {
    let mut settings = settings(1);
    settings.apps[0].web_domain = Some("m.shop.cn".into());
    let options = Options { clock: clock(), ..Options::default() };
    let shop = Shop::over(Sandbox::start_with(loopback().await, settings, options).await.unwrap(), clock());
    for (back, fits) in [
        ("https://m.shop.cn/cb", true),
        ("https://M.shop.cn:443/cb", true),
        ("http://m.shop.cn?x", true),
        ("https://m.shop.cn:8443/cb", false),
        ("https://pay.m.shop.cn/cb", false),
        ("https://shop.cn/cb", false),
        (BACK, false),
    ] {
        let answer = open(&shop, &page(&shop, &visit("snsapi_base", back))).await;
        assert_eq!(answer.status() == 302, fits, "{back}");
    }
}

#[tokio::test]
async fn the_consent_page_is_a_plain_form_and_the_chosen_user_comes_back() {
    let shop = Shop::open().await;
    let answer = open(&shop, &page(&shop, &visit("snsapi_userinfo", BACK))).await;
    assert_eq!(answer.status(), 200);
    let html = answer.text().await.unwrap();
    for text in ["width=device-width", "lang=\"zh-CN\"", "同意", "拒绝", "小明", "小红", "&lt;测试&gt;"] {
        assert!(html.contains(text), "{text}: {html}");
    }
    assert!(!html.contains("<script") && !html.contains("src=") && !html.contains("url("), "nothing is loaded");
    let action = html.split("action=\"").nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&");
    let url = format!("{}{action}", shop.base);
    let allowed = shop.http.post(url).body("user=1&action=allow").send().await.unwrap();
    let cookie = allowed.headers()[SET_COOKIE].to_str().unwrap().to_owned();
    assert!(cookie.starts_with("sandbox_user=1;") && cookie.contains("HttpOnly"), "{cookie}");
    let answer = exchange(&shop, &code(&target(&allowed))).await;
    assert_eq!(answer["scope"], "snsapi_userinfo");
    let (token, openid) = (good(&answer, "access_token"), good(&answer, "openid"));
    let profile = shop.ask("/sns/userinfo", &[("access_token", token), ("openid", openid), ("lang", "zh_CN")]).await;
    assert_eq!(
        (profile["nickname"].as_str(), profile["openid"].as_str(), &profile["unionid"]),
        (Some("小红"), Some(openid), &answer["unionid"])
    );
    let picture = open(&shop, good(&profile, "headimgurl")).await;
    assert_eq!(
        (picture.status().as_u16(), &picture.headers()["content-type"]),
        (200, &"image/svg+xml".parse().unwrap())
    );
    // The same browser is the same person at a silent visit, too; another browser is not.
    let url = page(&shop, &visit("snsapi_base", BACK));
    let known = shop.http.get(&url).header(COOKIE, "a=b; sandbox_user=1").send().await.unwrap();
    assert_eq!(exchange(&shop, &code(&target(&known))).await["openid"], openid);
    assert_ne!(exchange(&shop, &silent(&shop).await).await["openid"], openid);
}

#[tokio::test]
async fn a_refusal_brings_back_the_state_alone() {
    let shop = Shop::open().await;
    let answer = submit(&shop, "snsapi_userinfo", "user=1&action=deny").await;
    assert_eq!(target(&answer), format!("{BACK}?state=a1B2c3"));
    for form in ["", "user=1", "user=99&action=allow", "user=x&action=allow", "user=1&action=maybe"] {
        assert_eq!(submit(&shop, "snsapi_userinfo", form).await.status(), 200, "{form}: asked again");
    }
}

#[tokio::test]
async fn a_code_works_once_for_five_minutes_and_for_its_own_app() {
    let shop = Shop::open().await;
    let first = silent(&shop).await;
    assert_eq!(exchange_for(&shop, SECOND_APPID, SECOND_SECRET, &first).await["errcode"], 40029);
    good(&exchange(&shop, &first).await, "openid");
    assert_eq!(exchange(&shop, &first).await["errcode"], 40163);
    assert_eq!(exchange(&shop, "never-issued").await["errcode"], 40029);
    let (late, just) = (silent(&shop).await, silent(&shop).await);
    shop.clock.advance(5 * MINUTE - Duration::from_millis(1));
    good(&exchange(&shop, &just).await, "openid");
    shop.clock.advance(Duration::from_millis(1));
    assert_eq!(exchange(&shop, &late).await["errcode"], 42003);
    let mini = shop.operate("mini_code", json!({})).await;
    assert_eq!(exchange(&shop, good(&mini, "code")).await["errcode"], 40029, "a mini program's code is none of a page");
}

#[tokio::test]
async fn two_exchanges_of_one_code_at_once_have_one_winner() {
    let shop = Shop::open().await;
    let code = silent(&shop).await;
    let both = futures_util::future::join_all((0..8).map(|_| exchange(&shop, &code))).await;
    assert_eq!(both.iter().filter(|answer| answer.get("openid").is_some()).count(), 1);
    assert_eq!(both.iter().filter(|answer| answer["errcode"] == 40163).count(), 7);
}

#[tokio::test]
async fn the_time_scale_shortens_a_code() {
    let shop = Shop::scaled(60).await;
    let code = silent(&shop).await;
    shop.clock.advance(Duration::from_secs(5));
    assert_eq!(exchange(&shop, &code).await["errcode"], 42003);
}

#[tokio::test]
async fn every_mistake_of_an_exchange_has_its_errcode_and_says_no_secret() {
    let shop = Shop::open().await;
    let code = silent(&shop).await;
    let whole = [("appid", APPID), ("secret", SECRET), ("code", code.as_str()), ("grant_type", "authorization_code")];
    for (name, value, errcode) in [
        ("appid", "", 41002),
        ("appid", "wx0", 40013),
        ("appid", MINI_APPID, 40013),
        ("secret", "", 41004),
        ("secret", SECOND_SECRET, 40125),
        ("code", "", 41008),
        ("grant_type", "", 40002),
        ("grant_type", "client_credential", 40002),
    ] {
        let mut query = whole;
        query.iter_mut().find(|(n, _)| *n == name).unwrap().1 = value;
        let answer = shop.ask("/sns/oauth2/access_token", &query).await;
        assert_eq!(answer["errcode"], errcode, "{name}={value}");
        assert!(!answer.to_string().contains(SECRET) && !answer.to_string().contains(&code));
    }
    assert_eq!(shop.tell("/sns/oauth2/access_token", &whole, json!({})).await["errcode"], 43001);
    let answer = shop.http.get(format!("{}/sns/userinfo", shop.base)).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/plain", "JSON that does not say so");
    good(&exchange(&shop, &code).await, "openid");
}

#[tokio::test]
async fn a_users_tokens_are_their_own_and_live_their_time() {
    let shop = Shop::open().await;
    let allowed = submit(&shop, "snsapi_userinfo", "user=0&action=allow").await;
    let answer = exchange(&shop, &code(&target(&allowed))).await;
    let (token, refresh, openid) =
        (good(&answer, "access_token"), good(&answer, "refresh_token"), good(&answer, "openid"));
    let ask = async |path: &str, token: &str, openid: &str| {
        let answer = shop.ask(path, &[("access_token", token), ("openid", openid)]).await;
        answer.get("errcode").and_then(Value::as_i64).unwrap_or(0)
    };
    assert_eq!(ask("/sns/auth", token, openid).await, 0);
    assert_eq!(ask("/sns/userinfo", token, "oAnotherPerson").await, 40003);
    assert_eq!(ask("/sns/userinfo", "", openid).await, 41001);
    assert_eq!(ask("/sns/userinfo", token, "").await, 41009);
    assert_eq!(ask("/sns/auth", "x", openid).await, 40014);
    let global = good(&shop.stable().await, "access_token").to_owned();
    assert_eq!(ask("/sns/userinfo", &global, openid).await, 40001, "the app's token is not the user's");
    assert_eq!(shop.ticket(token).await["errcode"], 40001, "nor the other way round");
    let base = exchange(&shop, &silent(&shop).await).await;
    let profile = ask("/sns/userinfo", good(&base, "access_token"), good(&base, "openid")).await;
    assert_eq!(profile, 48001, "the silent scope tells no profile");

    let renew = async |appid: &str, grant_type: &str, refresh_token: &str| {
        let query = [("appid", appid), ("grant_type", grant_type), ("refresh_token", refresh_token)];
        shop.ask("/sns/oauth2/refresh_token", &query).await
    };
    shop.clock.advance(60 * MINUTE);
    assert_eq!(renew(APPID, "refresh_token", refresh).await["access_token"], token, "prolonged while it lives");
    shop.clock.advance(119 * MINUTE);
    assert_eq!(ask("/sns/auth", token, openid).await, 0);
    shop.clock.advance(MINUTE);
    assert_eq!(ask("/sns/auth", token, openid).await, 42001);
    let renewed = renew(APPID, "refresh_token", refresh).await;
    assert_ne!(good(&renewed, "access_token"), token);
    assert_eq!(ask("/sns/auth", good(&renewed, "access_token"), openid).await, 0);
    assert_eq!(ask("/sns/auth", token, openid).await, 42001);
    assert_eq!(renew(APPID, "authorization_code", refresh).await["errcode"], 40002);
    assert_eq!(renew(APPID, "refresh_token", "").await["errcode"], 41003);
    assert_eq!(renew("", "refresh_token", refresh).await["errcode"], 41002);
    assert_eq!(renew(SECOND_APPID, "refresh_token", refresh).await["errcode"], 40030);
    shop.clock.advance(30 * 24 * 60 * MINUTE);
    assert_eq!(renew(APPID, "refresh_token", refresh).await["errcode"], 42002);
}

#[tokio::test]
async fn a_snapshot_user_is_virtual_where_a_profile_is_asked_and_real_where_not() {
    let shop = Shop::open().await;
    let seated = shop.operate("user", json!({"openid": OPENID, "snapshot": true})).await;
    assert_eq!(seated["openids"][APPID], OPENID);
    let url = page(&shop, &visit("snsapi_userinfo", BACK));
    let answer = exchange(&shop, &code(&target(&open(&shop, &url).await))).await;
    assert_eq!(answer["is_snapshotuser"], 1);
    let openid = good(&answer, "openid");
    assert_ne!(openid, OPENID);
    let query = [("access_token", good(&answer, "access_token")), ("openid", openid)];
    assert_eq!(shop.ask("/sns/userinfo", &query).await["errcode"], 48001);
    let base = exchange(&shop, &silent(&shop).await).await;
    assert_eq!((base["openid"].as_str(), base.get("is_snapshotuser")), (Some(OPENID), None));
    shop.operate("user", json!({"openid": OPENID, "nickname": "阿明"})).await;
    assert_eq!(open(&shop, &url).await.status(), 200, "a person is asked again");
    let users = shop.get("platform/users").await;
    assert_eq!(users["users"].as_array().unwrap().iter().filter(|u| u["nickname"] == "阿明").count(), 1);
}

#[tokio::test]
async fn logins_meet_faults_and_are_counted_too() {
    let shop = Shop::open().await;
    shop.faults(json!([
        {"on": "oauth_access_token", "kind": "duplicate", "times": 1},
        {"on": "oauth_access_token", "kind": "system_error", "executed": false, "times": 1},
        {"on": "jscode2session", "kind": "errcode", "errcode": 40226, "times": 1},
        {"on": "userinfo", "kind": "http_500", "times": 1},
        {"on": "getuserphonenumber", "kind": "drop", "times": 1},
    ]))
    .await;
    let first = silent(&shop).await;
    assert_eq!(exchange(&shop, &first).await["errcode"], 40163, "a repeated request hears the second answer");
    let second = silent(&shop).await;
    assert_eq!(exchange(&shop, &second).await["errcode"], -1);
    good(&exchange(&shop, &second).await, "openid");
    assert_eq!(session(&shop, "c").await["errcode"], 40226);
    let broken = shop.http.get(format!("{}/sns/userinfo", shop.base)).send().await.unwrap();
    assert_eq!(broken.status(), 500);
    assert!(shop.post("/wxa/business/getuserphonenumber", b"{}".to_vec()).await.is_err());
    let counts = shop.get("platform/calls").await;
    let calls = counts["calls"].as_array().unwrap();
    let of = |api: &str| calls.iter().find(|c| c["api"] == api).unwrap_or_else(|| panic!("no {api} in {counts}"));
    assert_eq!(of("oauth_access_token")["answers"], json!({"-1": 1, "0": 2, "40163": 1}));
    assert_eq!(of("jscode2session")["count"], 1);
    assert_eq!(of("getuserphonenumber")["answers"], json!({}), "dropped before it was read");
}
