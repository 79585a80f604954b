//! Sessions: who is logged in, and that none can be forged.

use std::time::Duration;

use serde_json::json;
use wxpay_worker::ids::OpenId;
use wxpay_worker::secret::{Secret, sha256_hex};

use super::browser::{
    Browser, LOGIN, PAGE, Platform, SESSION, SESSION_KEY, data, openid_of, reason, stage, tells_no_secret, web,
};
use crate::harness::sql::texts;
use crate::http::client::send;
use crate::http::stage::{ORDERS_KEY, Stage};

const ME: &str = "/api/wechat/getUserInfo";

#[tokio::test]
async fn no_byte_of_a_session_can_be_changed_taken_away_or_added() {
    let (stage, _platform) = stage().await;
    let browser = Browser::logged_in(&stage, "good-Alice").await;
    let sealed = browser.cookies[SESSION].clone();
    let asked = async |value: &str| {
        let cookie = format!("{SESSION}={value}");
        send(stage.address, "GET", ME, &[("Cookie", &cookie)], b"").await
    };
    assert_eq!(asked(&sealed).await.status, 200);
    for at in 0..sealed.len() {
        let mut bytes = sealed.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let reply = asked(std::str::from_utf8(&bytes).unwrap()).await;
        assert_eq!((reply.status, reason(&reply).as_str()), (401, "not_logged_in"), "byte {at}");
    }
    let longer = [format!("{sealed}A"), format!("A{sealed}"), format!("{sealed}{sealed}"), format!("{sealed}=")];
    let shorter =
        [sealed[1..].to_owned(), sealed[..sealed.len() - 1].to_owned(), sealed[..12].to_owned(), String::new()];
    for other in longer.iter().chain(&shorter) {
        assert_eq!(asked(other).await.status, 401, "{other}");
    }
    stage.finish().await;
}

#[tokio::test]
async fn a_session_ends_with_its_lifetime() {
    let (stage, _platform) = stage().await;
    let mut browser = Browser::logged_in(&stage, "good-Alice").await;
    stage.clock.advance(Duration::from_secs(168 * 3600 - 1));
    data(&browser.get(&stage, ME).await);
    stage.clock.advance(Duration::from_secs(2));
    assert_eq!(reason(&browser.get(&stage, ME).await), "not_logged_in");
    stage.finish().await;
}

#[tokio::test]
async fn a_cookie_is_no_bearer_token_a_bearer_token_is_no_cookie_and_two_cookies_are_none() {
    let (stage, _platform) = stage().await;
    let browser = Browser::logged_in(&stage, "good-Alice").await;
    let cookie = &browser.cookies[SESSION];
    let login = stage
        .send("POST", "/api/wechat/mini/login", &[("Content-Type", "application/json")], br#"{"code":"good-Bob"}"#)
        .await;
    let token = data(&login)["session"].as_str().unwrap().to_owned();
    let asked = async |headers: &[(&str, &str)]| stage.send("GET", ME, headers, b"").await.status;
    assert_eq!(asked(&[("Cookie", &format!("{SESSION}={cookie}"))]).await, 200);
    assert_eq!(asked(&[("Authorization", &format!("Bearer {token}"))]).await, 200);
    assert_eq!(asked(&[("Cookie", &format!("{SESSION}={token}"))]).await, 401);
    assert_eq!(asked(&[("Authorization", &format!("Bearer {cookie}"))]).await, 401);
    // A bad token is not made good by a cookie beside it.
    let both = [("Authorization", "Bearer nonsense"), ("Cookie", &*format!("{SESSION}={cookie}"))];
    assert_eq!(asked(&both).await, 401);
    // A neighbouring sub-domain put its own beside the real one.
    let other = Browser::logged_in(&stage, "good-Mallory").await.cookies[SESSION].clone();
    assert_eq!(asked(&[("Cookie", &format!("{SESSION}={other}; {SESSION}={cookie}"))]).await, 401);
    assert_eq!(
        asked(&[("Cookie", &format!("{SESSION}={cookie}")), ("Cookie", &format!("{SESSION}={other}"))]).await,
        401
    );
    stage.finish().await;
}

#[tokio::test]
async fn the_cookies_are_kept_from_scripts_and_foreign_pages_and_hold_no_openid() {
    let (stage, _platform) = stage().await;
    let browser = Browser::logged_in(&stage, "good-Alice").await;
    let line = |name: &str| browser.lines.iter().find(|line| line.starts_with(name)).unwrap().clone();
    for name in [SESSION, LOGIN, "__Host-wxpay_rounds"] {
        for attribute in ["; HttpOnly", "; SameSite=Lax", "; Secure"] {
            assert!(line(name).contains(attribute), "{attribute} in {}", line(name));
        }
    }
    assert!(line(SESSION).contains("; Path=/; Max-Age=604800;"), "{}", line(SESSION));
    assert!(line(LOGIN).contains("; Path=/; Max-Age=600;"), "{}", line(LOGIN));
    // The tutorial's page checks whether this one is there.
    assert!(line("openId").starts_with("openId=1;") && !line("openId").contains("HttpOnly"), "{}", line("openId"));
    stage.finish().await;
}

#[tokio::test]
async fn a_user_sees_their_profile_and_no_page_their_openid() {
    let (stage, platform) = stage().await;
    let mut browser = Browser::default();
    let state = browser.begin(&stage, "snsapi_userinfo").await;
    let reply = browser.come_back(&stage, "good-Alice", &state).await;
    tells_no_secret(&reply, &openid_of("good-Alice"));
    let reply = browser.get(&stage, ME).await;
    tells_no_secret(&reply, &openid_of("good-Alice"));
    let head = "https://thirdwx.qlogo.cn/x/132";
    let expected =
        json!({"nickname": "小明", "avatar": head, "headimgurl": head, "has_profile": true, "is_snapshot": false});
    assert_eq!(data(&reply), expected);
    assert_eq!(platform.calls("/sns/userinfo"), 1);
    // A silent login later keeps what is known.
    let mut again = Browser::logged_in(&stage, "good-again-Alice").await;
    assert_eq!(data(&again.get(&stage, ME).await), expected);
    assert_eq!(platform.calls("/sns/userinfo"), 1);
    stage.finish().await;
}

#[tokio::test]
async fn a_session_that_counts_no_more_takes_its_marker_along() {
    let (stage, _platform) = stage().await;
    let browser = Browser::logged_in(&stage, "good-Alice").await;
    stage.clock.advance(Duration::from_secs(168 * 3600 + 1));
    // The tutorial's page asks for these only, and logs in when the marker is gone.
    for route in ["getUserInfo", "pay/payWallet?money=1", "pay/status?order_no=W1"] {
        let mut browser = browser.clone();
        let reply = browser.get(&stage, &format!("/api/wechat/{route}")).await;
        assert_eq!((reply.status, reason(&reply).as_str()), (401, "not_logged_in"), "{route}");
        assert!(!browser.cookies.contains_key("openId") && !browser.cookies.contains_key(SESSION), "{reply:?}");
    }
    // A marker whose session is gone is as bad.
    let mut marked = Browser { cookies: [("openId".into(), "1".into())].into(), ..Browser::default() };
    marked.get(&stage, ME).await;
    assert!(marked.cookies.is_empty(), "{:?}", marked.cookies);
    // Who brought nothing is given nothing, and a mini program's token ends no page's session.
    let reply = Browser::default().get(&stage, ME).await;
    assert!(!reply.head.contains("set-cookie"), "{reply:?}");
    let reply = browser.clone().get_with(&stage, ME, &[("Authorization", "Bearer nonsense")]).await;
    assert!(reply.status == 401 && !reply.head.contains("set-cookie"), "{reply:?}");
    stage.finish().await;
}

#[tokio::test]
async fn refusals_come_with_200_where_pages_check_the_code_alone() {
    let platform = Platform::start().await;
    let web = web(&platform).replace("[web]", "[web]\nstatus_always_200 = true");
    let stage = Stage::with("", &web).await;
    let reply = Browser::default().get(&stage, ME).await;
    assert_eq!((reply.status, &reply.json()["code"]), (200, &json!(40101)));
    assert_eq!(reason(&reply), "not_logged_in");
    let reply = stage.send("POST", "/api/wechat/mini/login", &[], b"").await;
    assert_eq!((reply.status, reason(&reply).as_str()), (200, "media_type"));
    // What a browser follows or shows by itself stays what it is.
    let html = [("Accept", "text/html")];
    assert_eq!(Browser::default().get_with(&stage, "/api/wechat/getOpenId?state=x", &html).await.status, 403);
    let state = Browser::default().begin(&stage, "snsapi_base").await;
    assert!(!state.is_empty());
    stage.finish().await;
}

#[tokio::test]
async fn a_nickname_that_no_database_takes_does_not_prevent_the_login() {
    let (stage, _platform) = stage().await;
    let mut browser = Browser::default();
    let state = browser.begin(&stage, "snsapi_userinfo").await;
    let reply = browser.come_back(&stage, "odd-Alice", &state).await;
    assert_eq!(reply.status, 302, "{reply:?}");
    let me = data(&browser.get(&stage, ME).await);
    let nickname = me["nickname"].as_str().unwrap();
    assert_eq!(nickname, format!("小明{}", "长".repeat(62)), "without controls, and no longer than a name");
    assert_eq!((&me["avatar"], &me["has_profile"]), (&json!(null), &json!(true)));
    stage.finish().await;
}

#[tokio::test]
async fn a_user_whose_profile_the_database_refuses_is_saved_without_it() {
    let (stage, _platform) = stage().await;
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON users WHEN NEW.nickname IS NOT NULL
                  BEGIN SELECT RAISE(ABORT, 'not this name'); END";
    stage.store.db().execute("test", String::from(refuse), []).await.unwrap();
    let mut browser = Browser::default();
    let state = browser.begin(&stage, "snsapi_userinfo").await;
    let reply = browser.come_back(&stage, "good-Alice", &state).await;
    assert_eq!(reply.status, 302, "{reply:?}");
    let me = data(&browser.get(&stage, ME).await);
    assert_eq!((&me["nickname"], &me["has_profile"]), (&json!(null), &json!(false)));
    stage.finish().await;
}

#[tokio::test]
async fn a_session_that_was_copied_before_a_logout_counts_no_more_and_others_do() {
    let (stage, _platform) = stage().await;
    let mut alice = Browser::logged_in(&stage, "good-Alice").await;
    let mut bob = Browser::logged_in(&stage, "good-Bob").await;
    let mut stolen = alice.clone();
    assert_eq!(stolen.get(&stage, ME).await.status, 200);
    stage.clock.advance(Duration::from_secs(60));
    let headers = [("Cookie", &*alice.header())];
    let reply = stage.send("POST", "/api/wechat/logout", &headers, b"").await;
    assert_eq!(data(&reply), json!({"logged_in": false}));
    alice.take(&reply);
    assert!(!alice.cookies.contains_key(SESSION) && !alice.cookies.contains_key("openId"), "{reply:?}");
    for route in ["getUserInfo", "pay/payWallet?money=1", "pay/status?order_no=W1"] {
        let reply = stolen.clone().get(&stage, &format!("/api/wechat/{route}")).await;
        assert_eq!((reply.status, reason(&reply).as_str()), (401, "not_logged_in"), "{route}");
    }
    // Also after a restart; the other payer stays, and a new login counts.
    assert_eq!(bob.get(&stage, ME).await.status, 200);
    stage.clock.advance(Duration::from_secs(1));
    let mut again = Browser::logged_in(&stage, "good-again-Alice").await;
    assert_eq!(again.get(&stage, ME).await.status, 200);
    assert_eq!(stolen.get(&stage, ME).await.status, 401);
    // Without a session there is nothing to end.
    assert_eq!(stage.send("POST", "/api/wechat/logout", &[], b"").await.status, 200);
    assert_eq!(stage.send("GET", "/api/wechat/logout", &[], b"").await.status, 405);
    stage.finish().await;
}

#[tokio::test]
async fn a_login_that_was_copied_is_not_repeated_after_a_logout() {
    let (stage, _platform) = stage().await;
    let mut alice = Browser::default();
    let state = alice.begin(&stage, "snsapi_base").await;
    let copied = alice.clone();
    // WeChat's browser opens the return twice now and then.
    for browser in [&mut alice, &mut copied.clone()] {
        let reply = browser.come_back(&stage, "good-Alice", &state).await;
        assert_eq!(reply.header("location"), Some(PAGE), "{reply:?}");
        assert_eq!(browser.get(&stage, ME).await.status, 200);
    }
    stage.clock.advance(Duration::from_secs(1));
    let headers = [("Cookie", &*alice.header())];
    data(&stage.send("POST", "/api/wechat/logout", &headers, b"").await);
    stage.clock.advance(Duration::from_secs(1));
    let mut copy = copied.clone();
    let reply = copy.come_back(&stage, "good-Alice", &state).await;
    let to = reply.header("location").unwrap();
    assert!(reply.status == 302 && to.starts_with("https://open.wechat.test/"), "a new login: {reply:?}");
    assert_eq!(copy.get(&stage, ME).await.status, 401);
    // A later login of the same user is repeated as before.
    let mut again = Browser::default();
    let state = again.begin(&stage, "snsapi_base").await;
    let mut second = again.clone();
    for browser in [&mut again, &mut second] {
        browser.come_back(&stage, "good-again-Alice", &state).await;
        assert_eq!(browser.get(&stage, ME).await.status, 200);
    }
    stage.finish().await;
}

/// A foreign page can have a browser post here, with its cookies where the browser is an old one.
#[tokio::test]
async fn no_other_page_logs_a_payer_out() {
    let (stage, _platform) = stage().await;
    let mut alice = Browser::logged_in(&stage, "good-Alice").await;
    let cookies = alice.header();
    for foreign in [
        [("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site")],
        [("Origin", "null"), ("Sec-Fetch-Site", "cross-site")],
        [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Site", "cross-site")],
        [("Origin", "https://m.example.com.evil.example"), ("Sec-Fetch-Mode", "cors")],
    ] {
        let headers: Vec<_> = foreign.into_iter().chain([("Cookie", &*cookies)]).collect();
        let reply = stage.send("POST", "/api/wechat/logout", &headers, b"").await;
        assert_eq!((reply.status, reason(&reply).as_str()), (403, "bad_origin"), "{foreign:?}");
        assert!(!reply.head.contains("set-cookie"), "{reply:?}");
        assert_eq!(alice.get(&stage, ME).await.status, 200, "{foreign:?}");
    }
    stage.clock.advance(Duration::from_secs(1));
    let own = [("Origin", "https://m.example.com"), ("Sec-Fetch-Site", "same-origin"), ("Cookie", &*cookies)];
    assert_eq!(stage.send("POST", "/api/wechat/logout", &own, b"").await.status, 200);
    assert_eq!(alice.get(&stage, ME).await.status, 401);
    stage.finish().await;
}

#[tokio::test]
async fn an_operator_ends_the_sessions_of_one_payer_and_of_no_other() {
    const OPS_KEY: &str = "wxk_ops_of_the_sessions_test";
    let platform = Platform::start().await;
    let hash = sha256_hex(OPS_KEY.as_bytes());
    let key =
        format!("[[api_keys]]\nname = \"ops\"\nhash = \"sha256:{hash}\"\nscopes = [\"ops\"]\nmerchants = \"all\"\n");
    let stage = Stage::with("", &format!("{}\n{key}", web(&platform))).await;
    let mut alice = Browser::logged_in(&stage, "good-Alice").await;
    let mut bob = Browser::logged_in(&stage, "good-Bob").await;
    stage.clock.advance(Duration::from_secs(60));
    let openid = openid_of("good-Alice");
    let end = async |key: &str, body: serde_json::Value| {
        let key = format!("Bearer {key}");
        let headers = [("Authorization", &*key), ("Content-Type", "application/json")];
        stage.send("POST", "/v1/ops/sessions/end", &headers, body.to_string().as_bytes()).await
    };
    let wanted = json!({"app": "shop", "openid": openid, "reason": "a phone was lost"});
    // Without a reason, of an app that is not there, and without the scope: nothing ends.
    assert_eq!(end(OPS_KEY, json!({"app": "shop", "openid": openid})).await.status, 400);
    assert_eq!(end(OPS_KEY, json!({"app": "other", "openid": openid, "reason": "x"})).await.status, 404);
    assert_eq!(end(ORDERS_KEY, wanted.clone()).await.status, 403);
    assert_eq!(alice.get(&stage, ME).await.status, 200);

    let reply = end(OPS_KEY, wanted).await;
    assert_eq!((reply.status, &reply.json()["app"]), (200, &json!("shop")), "{reply:?}");
    tells_no_secret(&reply, &openid);
    assert_eq!(reason(&alice.get(&stage, ME).await), "not_logged_in");
    assert_eq!(bob.get(&stage, ME).await.status, 200);
    let audit = "SELECT action || ' ' || reason || ' ' || subject FROM audit WHERE action LIKE 'sessions%'";
    let rows = texts(stage.store.db(), audit).await;
    let payer = stage.store.payer_name(&OpenId::parse(openid.clone()).unwrap()).await.unwrap();
    assert!(payer.starts_with("payer-"), "{payer}");
    assert_eq!(rows, [format!("sessions.end a phone was lost payer:shop:{payer}")]);
    // The payer may log in again.
    stage.clock.advance(Duration::from_secs(1));
    let mut again = Browser::logged_in(&stage, "good-again-Alice").await;
    assert_eq!(again.get(&stage, ME).await.status, 200);
    stage.finish().await;
}

#[tokio::test]
async fn sessions_survive_a_change_of_the_key_while_the_key_before_is_given() {
    let (mut stage, _platform) = stage().await;
    let mut browser = Browser::logged_in(&stage, "good-Alice").await;
    let new = Secret::new("another-k3y-0f-the-browser-side-of-the-tests");
    let (key, previous) = (new.clone(), Secret::new(SESSION_KEY));
    stage
        .restart_with(move |config| {
            config.web.session_key = Some(key);
            config.web.session_key_previous = Some(previous);
        })
        .await;
    assert_eq!(browser.get(&stage, ME).await.status, 200);
    let mut fresh = Browser::logged_in(&stage, "good-Bob").await;
    stage.restart_with(|config| config.web.session_key_previous = None).await;
    // What the new key sealed stays; what the old one did is over.
    assert_eq!(fresh.get(&stage, ME).await.status, 200);
    assert_eq!(reason(&browser.get(&stage, ME).await), "not_logged_in");
    stage.finish().await;
}

#[tokio::test]
async fn all_sessions_of_before_a_time_end_at_once() {
    let (mut stage, _platform) = stage().await;
    let mut before = Browser::logged_in(&stage, "good-Alice").await;
    stage.clock.advance(Duration::from_secs(60));
    let from = stage.clock.now();
    stage.put_in_force(|config| config.web.sessions_not_before = Some(from));
    assert_eq!(reason(&before.get(&stage, ME).await), "not_logged_in");
    let mut after = Browser::logged_in(&stage, "good-Bob").await;
    assert_eq!(after.get(&stage, ME).await.status, 200);
    stage.finish().await;
}
