//! Logging in: to WeChat and back, once, in the browser that began it.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use wxpay_worker::ids::{AppKey, OpenId};

use super::browser::{
    Browser, PAGE, Platform, SESSION, encoded, openid_of, reason, stage, state_of, tells_no_secret, web,
};
use crate::http::stage::{Stage, eventually};

/// Where a code is spent.
pub const EXCHANGE: &str = "/sns/oauth2/access_token";

#[tokio::test]
async fn a_login_goes_to_wechat_and_comes_back_to_its_page() {
    let (stage, platform) = stage().await;
    let mut browser = Browser::default();
    let target = format!("/api/wechat/redirect?callback={}&scope=snsapi_userinfo", encoded(PAGE));
    let reply = browser.get(&stage, &target).await;
    let state = state_of(&reply);
    let back = "https%3A%2F%2Fpay.example.com%2Fapi%2Fwechat%2FgetOpenId";
    let expected = format!(
        "https://open.wechat.test/connect/oauth2/authorize?appid=wx8888888888888888&redirect_uri={back}\
         &response_type=code&scope=snsapi_userinfo&state={state}#wechat_redirect"
    );
    assert_eq!(reply.header("location"), Some(expected.as_str()));
    let reply = browser.come_back(&stage, "good-Alice", &state).await;
    assert_eq!((reply.status, reply.header("location")), (302, Some(PAGE)));
    assert_eq!(reply.header("referrer-policy"), Some("no-referrer"));
    tells_no_secret(&reply, &openid_of("good-Alice"));
    assert_eq!(platform.calls(EXCHANGE), 1);
    stage.finish().await;
}

#[tokio::test]
async fn a_return_that_this_browser_did_not_ask_for_is_refused_and_its_code_left_alone() {
    let (stage, platform) = stage().await;
    let mut victim = Browser::default();
    let mut attacker = Browser::default();
    let theirs = attacker.begin(&stage, "snsapi_base").await;
    let refused = async |browser: &mut Browser, query: &str| {
        let reply = browser.get(&stage, &format!("/api/wechat/getOpenId?{query}")).await;
        assert_eq!((reply.status, reason(&reply).as_str()), (403, "bad_state"), "{query}");
        assert!(!reply.head.contains("wxpay_session"), "{query}");
    };
    // Without a login of its own, with one of another browser, with one that was never begun.
    refused(&mut victim, &format!("code=good-Mallory&state={theirs}")).await;
    let mine = victim.begin(&stage, "snsapi_base").await;
    refused(&mut victim, &format!("code=good-Mallory&state={theirs}")).await;
    refused(&mut victim, "code=good-Mallory").await;
    refused(&mut victim, "code=good-Mallory&state=").await;
    refused(&mut victim, &format!("code=good-Mallory&state={mine}x")).await;
    refused(&mut victim, &format!("code=good-Mallory&state={}", &mine[1..])).await;
    refused(&mut victim, &format!("code=good-Mallory&state={}", mine.to_lowercase())).await;
    // A login that took too long.
    stage.clock.advance(Duration::from_secs(601));
    refused(&mut victim, &format!("code=good-Mallory&state={mine}")).await;
    assert_eq!(platform.calls(EXCHANGE), 0, "no code was spent on any of them");
    stage.finish().await;
}

#[tokio::test]
async fn a_used_code_is_worth_nothing_in_another_browser_and_a_used_state_takes_no_other_code() {
    let (stage, platform) = stage().await;
    let mut victim = Browser::default();
    let state = victim.begin(&stage, "snsapi_base").await;
    assert_eq!(victim.come_back(&stage, "good-Alice", &state).await.status, 302);
    let mut thief = Browser::default();
    let own = thief.begin(&stage, "snsapi_base").await;
    let reply = thief.come_back(&stage, "good-Alice", &own).await;
    assert_eq!((reply.status, reason(&reply).as_str()), (403, "bad_state"));
    assert!(!thief.cookies.contains_key(SESSION));
    let reply = victim.come_back(&stage, "good-Mallory", &state).await;
    assert_eq!((reply.status, reason(&reply).as_str()), (403, "bad_state"));
    assert_eq!(platform.calls(EXCHANGE), 1);
    stage.finish().await;
}

#[tokio::test]
async fn a_return_that_is_opened_twice_spends_its_code_once_and_both_go_on() {
    let (stage, platform) = stage().await;
    let mut first = Browser::default();
    let state = first.begin(&stage, "snsapi_base").await;
    let (mut second, mut late) = (first.clone(), first.clone());
    let both = async {
        tokio::join!(first.come_back(&stage, "slow-Alice", &state), second.come_back(&stage, "slow-Alice", &state))
    };
    let opened = async {
        eventually("the exchange", async || platform.calls(EXCHANGE) == 1).await;
        platform.let_go(5);
    };
    let ((one, other), ()) = tokio::join!(both, opened);
    for reply in [&one, &other] {
        assert_eq!((reply.status, reply.header("location")), (302, Some(PAGE)), "{reply:?}");
        assert!(reply.head.contains("set-cookie: __Host-wxpay_session="), "both have the session");
    }
    // The back button, minutes later.
    stage.clock.advance(Duration::from_secs(240));
    let reply = late.come_back(&stage, "slow-Alice", &state).await;
    assert_eq!((reply.status, reply.header("location")), (302, Some(PAGE)));
    assert_eq!(platform.calls(EXCHANGE), 1);
    stage.finish().await;
}

#[tokio::test]
async fn a_browser_that_hangs_up_during_the_exchange_loses_nothing() {
    let (stage, platform) = stage().await;
    let mut browser = Browser::default();
    let state = browser.begin(&stage, "snsapi_base").await;
    let mut socket = TcpStream::connect(stage.address).await.unwrap();
    let target = format!("/api/wechat/getOpenId?code=slow-Alice&state={state}");
    let head = format!("GET {target} HTTP/1.1\r\nHost: pay.example.com\r\nCookie: {}\r\n\r\n", browser.header());
    socket.write_all(head.as_bytes()).await.unwrap();
    eventually("the exchange", async || platform.calls(EXCHANGE) == 1).await;
    drop(socket);
    let opened_again = browser.get(&stage, &target);
    let answered = async {
        // The server has seen the hang-up once it takes another connection's request.
        assert_eq!(stage.get("/healthz").await.status, 200);
        platform.let_go(1);
    };
    let (reply, ()) = tokio::join!(opened_again, answered);
    assert_eq!((reply.status, reply.header("location")), (302, Some(PAGE)), "{reply:?}");
    assert_eq!(platform.calls(EXCHANGE), 1);
    stage.finish().await;
}

#[tokio::test]
async fn a_dead_code_leads_to_one_new_login_and_then_to_a_page_that_says_so() {
    let (stage, platform) = stage().await;
    for errcode in [40029, 40163, 42003] {
        let mut browser = Browser::default();
        let state = browser.begin(&stage, "snsapi_base").await;
        let reply = browser.come_back(&stage, &format!("err-{errcode}-1"), &state).await;
        let again = state_of(&reply);
        assert_ne!(again, state);
        let reply = browser.come_back(&stage, &format!("err-{errcode}-2"), &again).await;
        assert_eq!((reply.status, reason(&reply).as_str()), (502, "login_failed"), "{errcode}");
        // The new login works as any other.
        let mut lucky = Browser::default();
        let state = lucky.begin(&stage, "snsapi_base").await;
        let again = state_of(&lucky.come_back(&stage, &format!("err-{errcode}-3"), &state).await);
        let reply = lucky.come_back(&stage, &format!("good-{errcode}"), &again).await;
        assert_eq!((reply.status, reply.header("location")), (302, Some(PAGE)), "{errcode}");
    }
    assert_eq!(platform.calls(EXCHANGE), 12);
    // What no new code can mend is not tried again.
    let mut browser = Browser::default();
    let state = browser.begin(&stage, "snsapi_base").await;
    let reply = browser.come_back(&stage, "err-40125-1", &state).await;
    assert_eq!((reply.status, reason(&reply).as_str()), (502, "login_failed"));
    stage.finish().await;
}

#[tokio::test]
async fn who_is_logged_in_already_goes_on_whatever_became_of_the_code() {
    let (stage, _platform) = stage().await;
    let mut browser = Browser::logged_in(&stage, "good-Alice").await;
    let session = browser.cookies[SESSION].clone();
    let state = browser.begin(&stage, "snsapi_base").await;
    let reply = browser.come_back(&stage, "err-40163-1", &state).await;
    assert_eq!((reply.status, reply.header("location")), (302, Some(PAGE)));
    assert_eq!(browser.cookies[SESSION], session);
    stage.finish().await;
}

#[tokio::test]
async fn a_person_gets_a_page_with_a_way_to_begin_again() {
    let (stage, _platform) = stage().await;
    let mut browser = Browser::default();
    let state = browser.begin(&stage, "snsapi_userinfo").await;
    // Refused at WeChat: no code.
    let html = [("Accept", "text/html,application/xhtml+xml")];
    let reply = browser.get_with(&stage, &format!("/api/wechat/getOpenId?state={state}"), &html).await;
    assert_eq!((reply.status, reply.header("content-type")), (403, Some("text/html; charset=utf-8")));
    assert!(reply.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    let page = reply.text();
    assert!(page.contains("您已取消授权") && page.contains(reply.header("x-request-id").unwrap()), "{page}");
    let link = page.split("href=\"").nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&");
    let begun = browser.get_with(&stage, &link, &html).await;
    let location = begun.header("location").unwrap();
    assert!(begun.status == 302 && location.contains("scope=snsapi_userinfo"), "{begun:?}");
    let reply = browser.come_back(&stage, "good-Alice", &state_of(&begun)).await;
    assert_eq!(reply.header("location"), Some(PAGE));
    // A program gets the envelope.
    let reply = browser.get(&stage, &format!("/api/wechat/getOpenId?state={state}")).await;
    assert_eq!(reason(&reply), "login_refused");
    // Nothing of a hostile request is repeated to a person.
    let reply = browser.get_with(&stage, "/api/wechat/getOpenId?state=%3Cscript%3E&code=%3Cscript%3E", &html).await;
    assert!(reply.status == 403 && !reply.text().contains("script"), "{reply:?}");
    assert!(reply.text().contains("href=\"https://m.example.com\""), "{reply:?}");
    stage.finish().await;
}

#[tokio::test]
async fn a_snapshot_user_is_kept_apart() {
    let (stage, platform) = stage().await;
    let mut browser = Browser::default();
    let state = browser.begin(&stage, "snsapi_userinfo").await;
    assert_eq!(browser.come_back(&stage, "snap-Virtual", &state).await.status, 302);
    let me = super::browser::data(&browser.get(&stage, "/api/wechat/getUserInfo").await);
    assert_eq!((&me["is_snapshot"], &me["has_profile"]), (&true.into(), &false.into()));
    assert_eq!(platform.calls("/sns/userinfo"), 0, "a made-up user's profile is not asked for");
    let openid = OpenId::parse(openid_of("snap-Virtual")).unwrap();
    let user = stage.store.user(&AppKey::parse("shop").unwrap(), &openid).await.unwrap().unwrap();
    assert_eq!((user.is_snapshot, user.unionid), (true, None));
    let reply = browser.get(&stage, "/api/wechat/pay/payWallet?money=1").await;
    assert_eq!((reply.status, reason(&reply).as_str()), (403, "snapshot_user"));
    // A page that checks for the marker has the person log in who comes afterwards.
    assert!(!browser.cookies.contains_key("openId"), "{:?}", browser.cookies);
    stage.clock.advance(Duration::from_secs(601));
    assert_eq!(reason(&browser.get(&stage, "/api/wechat/getUserInfo").await), "not_logged_in");
    stage.finish().await;
}

#[tokio::test]
async fn a_page_that_insists_on_a_person_is_sent_to_the_login_and_takes_them_at_once() {
    let (stage, _platform) = stage().await;
    let mut browser = Browser::logged_in(&stage, "good-Alice").await;
    assert!(browser.cookies.contains_key("openId"));
    for code in ["snap-1-Virtual", "snap-2-Virtual"] {
        assert_eq!(entered(&stage, &mut browser, code).await.header("location"), Some(PAGE), "{code}");
        assert!(!browser.cookies.contains_key("openId"), "the marker of the person before");
    }
    let reply = entered(&stage, &mut browser, "snap-3-Virtual").await;
    assert!(reply.status == 403 && reply.text().contains("使用完整服务"), "{reply:?}");
    assert_eq!(entered(&stage, &mut browser, "good-Bob").await.header("location"), Some(PAGE));
    assert!(browser.cookies.contains_key("openId"));
    stage.finish().await;
}

#[tokio::test]
async fn several_tabs_log_in_at_once_and_the_cookie_stays_small() {
    let (stage, _platform) = stage().await;
    let mut browser = Browser::default();
    let mut states = Vec::new();
    for _ in 0..7 {
        states.push(browser.begin(&stage, "snsapi_base").await);
        // Of logins that begin in the same millisecond, none is the oldest.
        stage.clock.advance(std::time::Duration::from_millis(1));
        assert!(browser.header().len() < 4500, "proxies refuse long cookies");
    }
    assert_eq!(browser.logins().len(), 4);
    let long = format!("https://m.example.com/{}", "x".repeat(1000));
    let reply = browser.get(&stage, &format!("/api/wechat/redirect?callback={long}")).await;
    let last = state_of(&reply);
    assert!(browser.header().len() < 4500);
    for (code, state) in [("good-1", &last), ("good-2", &states[6])] {
        assert_eq!(browser.come_back(&stage, code, state).await.status, 302, "{code}");
    }
    let stranger = browser.clone().cookies.into_iter().filter(|(name, _)| name != SESSION).collect();
    let mut stranger = Browser { cookies: stranger, ..Browser::default() };
    assert_eq!(stranger.come_back(&stage, "good-3", &states[0]).await.status, 403, "the oldest had to go");
    stage.finish().await;
}

#[tokio::test]
async fn tabs_that_begin_at_the_same_moment_both_come_back() {
    let (stage, _platform) = stage().await;
    let (mut one, mut other) = (Browser::default(), Browser::default());
    let states = tokio::join!(one.begin(&stage, "snsapi_base"), other.begin(&stage, "snsapi_base"));
    // One browser, whose answers come in one after the other.
    one.cookies.extend(other.cookies);
    for (code, state) in [("good-1", states.0), ("good-2", states.1)] {
        assert_eq!(one.come_back(&stage, code, &state).await.header("location"), Some(PAGE), "{code}");
    }
    stage.finish().await;
}

#[tokio::test]
async fn no_byte_of_a_login_under_way_can_be_changed() {
    let (stage, platform) = stage().await;
    let mut browser = Browser::default();
    let state = browser.begin(&stage, "snsapi_base").await;
    let [(name, sealed)] = browser.logins()[..] else { panic!("{:?}", browser.lines) };
    let target = format!("/api/wechat/getOpenId?code=good-Alice&state={state}");
    for at in 0..sealed.len() {
        let mut bytes = sealed.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let cookie = format!("{name}={}", std::str::from_utf8(&bytes).unwrap());
        let reply = stage.send("GET", &target, &[("Cookie", &cookie)], b"").await;
        assert_eq!((reply.status, reason(&reply).as_str()), (403, "bad_state"), "byte {at}");
    }
    // Under the name of another login, or as a session, it is nothing either.
    for renamed in [format!("{name}0={sealed}"), format!("{SESSION}={sealed}")] {
        assert_eq!(stage.send("GET", &target, &[("Cookie", &renamed)], b"").await.status, 403, "{renamed}");
    }
    assert_eq!(platform.calls(EXCHANGE), 0);
    assert_eq!(browser.come_back(&stage, "good-Alice", &state).await.header("location"), Some(PAGE));
    stage.finish().await;
}

/// Goes through a login; answers what the return is answered with, as a person's browser asks for it.
pub async fn entered(stage: &Stage, browser: &mut Browser, code: &str) -> crate::http::client::Reply {
    let state = browser.begin(stage, "snsapi_userinfo").await;
    let html = [("Accept", "text/html")];
    browser.get_with(stage, &format!("/api/wechat/getOpenId?code={code}&state={state}"), &html).await
}

#[tokio::test]
async fn a_return_that_is_reloaded_much_later_leads_who_is_logged_in_to_a_page() {
    let (stage, platform) = stage().await;
    let mut browser = Browser::default();
    let state = browser.begin(&stage, "snsapi_base").await;
    assert_eq!(browser.come_back(&stage, "good-Alice", &state).await.header("location"), Some(PAGE));
    stage.clock.advance(Duration::from_secs(601));
    let reply = browser.come_back(&stage, "good-Alice", &state).await;
    assert_eq!((reply.status, reply.header("location")), (302, Some("https://m.example.com")));
    assert_eq!(Browser::default().come_back(&stage, "good-Alice", &state).await.status, 403);
    assert_eq!(platform.calls(EXCHANGE), 1);
    stage.finish().await;
}

#[tokio::test]
async fn a_service_below_a_path_sends_its_cookies_and_links_there() {
    let platform = Platform::start().await;
    for (url, path, cookie_path) in [
        ("https://x.example.com/pay", "/pay", "/"),
        ("http://x.example.com/pay", "/pay", "/pay/api/wechat"),
        ("http://x.example.com", "", "/api/wechat"),
    ] {
        let stage = Stage::seen_at(url, &web(&platform)).await;
        let mut browser = Browser::default();
        let target = format!("/api/wechat/redirect?callback={}", encoded(PAGE));
        let begun = browser.get(&stage, &target).await;
        let back = encoded(&format!("{url}/api/wechat/getOpenId"));
        assert!(begun.header("location").unwrap().contains(&format!("redirect_uri={back}&")), "{begun:?}");
        let line = browser.lines.last().unwrap();
        assert!(line.contains(&format!("; Path={cookie_path};")), "{line}");
        assert_eq!(line.contains("; Secure") && line.starts_with("__Host-"), url.starts_with("https"), "{line}");
        let html = [("Accept", "text/html")];
        let refused = format!("/api/wechat/getOpenId?state={}", state_of(&begun));
        let page = browser.get_with(&stage, &refused, &html).await.text();
        assert!(page.contains(&format!("href=\"{path}/api/wechat/redirect?callback=")), "{page}");
        stage.finish().await;
    }
}
