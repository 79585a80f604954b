//! Logins that go round for ever, and codes by the dozen: where it ends, and who is not kept out by it.

use std::time::Duration;

use super::browser::{Browser, PAGE, Platform, reason, stage, web};
use super::login::{EXCHANGE, entered};
use crate::http::stage::{Stage, eventually};

#[tokio::test]
async fn a_browser_that_logs_in_for_ever_gets_an_error_page_the_third_time() {
    let (stage, platform) = stage().await;
    let mut browser = Browser::default();
    for code in ["good-1-Alice", "good-2-Alice"] {
        assert_eq!(entered(&stage, &mut browser, code).await.header("location"), Some(PAGE), "{code}");
    }
    // A return that WeChat opens once more is no round.
    let state = browser.begin(&stage, "snsapi_base").await;
    let mut repeated = browser.clone();
    stage.clock.advance(Duration::from_secs(30));
    let reply = entered(&stage, &mut browser, "good-3-Alice").await;
    assert_eq!((reply.status, reply.header("location")), (508, None), "{reply:?}");
    assert!(reply.text().contains("登录状态未能保持") && reply.text().contains("重新进入"), "{reply:?}");
    assert_eq!(super::browser::data(&browser.get(&stage, "/api/wechat/getUserInfo").await)["has_profile"], true);
    // A code that comes to nothing goes round as well, where the page insists.
    let reply = browser.get(&stage, &format!("/api/wechat/getOpenId?code=err-40163-1&state={state}")).await;
    assert_eq!((reply.status, reason(&reply).as_str()), (508, "login_loop"));
    // A minute later it is a login like any other.
    repeated.cookies.clone_from(&browser.cookies);
    stage.clock.advance(Duration::from_secs(61));
    assert_eq!(entered(&stage, &mut repeated, "good-4-Alice").await.header("location"), Some(PAGE));
    assert_eq!(platform.calls("/sns/userinfo"), 4);
    stage.finish().await;
}

#[tokio::test]
async fn a_page_that_insists_on_a_profile_that_wechat_does_not_give_ends_somewhere() {
    let (stage, _platform) = stage().await;
    let mut browser = Browser::default();
    for code in ["bare-1-Alice", "bare-2-Alice"] {
        assert_eq!(entered(&stage, &mut browser, code).await.header("location"), Some(PAGE), "{code}");
    }
    assert_eq!(entered(&stage, &mut browser, "bare-3-Alice").await.status, 508);
    let me = super::browser::data(&browser.get(&stage, "/api/wechat/getUserInfo").await);
    assert_eq!(me["has_profile"], false, "logged in all the same");
    stage.finish().await;
}

#[tokio::test]
async fn a_return_that_is_opened_again_and_again_is_one_login() {
    let (stage, _platform) = stage().await;
    let mut browser = Browser::default();
    let state = browser.begin(&stage, "snsapi_base").await;
    for i in 0..5 {
        let reply = browser.come_back(&stage, "good-Alice", &state).await;
        assert_eq!(reply.header("location"), Some(PAGE), "{i}");
    }
    stage.finish().await;
}

#[tokio::test]
async fn bad_codes_of_one_address_are_refused_before_they_reach_wechat_and_good_ones_do_not_count() {
    let platform = Platform::start().await;
    let stage = Stage::with("trusted_proxies = [\"127.0.0.1/32\"]", &web(&platform)).await;
    let tried_in = async |browser: &mut Browser, code: String, from: &str| {
        let state = browser.begin(&stage, "snsapi_base").await;
        let target = format!("/api/wechat/getOpenId?code={code}&state={state}");
        browser.get_with(&stage, &target, &[("X-Forwarded-For", from)]).await
    };
    let tried = async |code: String, from: &str| tried_in(&mut Browser::default(), code, from).await;
    let mut again = Browser::default();
    for i in 0..40 {
        assert_eq!(tried(format!("good-{i}"), "203.0.113.9").await.header("location"), Some(PAGE), "{i}");
    }
    for i in 0..30 {
        assert_eq!(tried_in(&mut again, format!("err-40029-{i}"), "203.0.113.9").await.status, 302, "{i}");
    }
    let calls = platform.calls(EXCHANGE);
    let reply = tried_in(&mut again, "err-40029-x".into(), "203.0.113.9").await;
    assert_eq!((reply.status, reason(&reply).as_str()), (429, "too_many"));
    assert!(reply.header("retry-after").unwrap().parse::<u32>().unwrap() <= 61);
    assert_eq!(platform.calls(EXCHANGE), calls);
    assert_eq!(tried("good-new".into(), "203.0.113.9").await.header("location"), Some(PAGE), "a new browser's first");
    assert_eq!(tried("good-elsewhere".into(), "203.0.113.10").await.header("location"), Some(PAGE));
    // Of IPv6 a subscriber has a whole network; the next one is another subscriber's.
    for i in 0..30 {
        let from = format!("2001:db8:1:2::{i:x}");
        assert_eq!(tried(format!("err-40029-v6-{i}"), &from).await.status, 302, "{i}");
    }
    assert_eq!(tried_in(&mut again, "err-40029-v6-x".into(), "2001:db8:1:2:ffff::1").await.status, 429);
    assert_eq!(tried("good-v6".into(), "2001:db8:1:3::1").await.header("location"), Some(PAGE));
    stage.finish().await;
}

#[tokio::test]
async fn codes_that_fail_for_another_reason_or_are_still_at_wechat_keep_no_user_out() {
    let platform = Platform::start().await;
    let stage = Stage::with("trusted_proxies = [\"127.0.0.1/32\"]", &web(&platform)).await;
    let tried = async |code: String| {
        let mut browser = Browser::default();
        let state = browser.begin(&stage, "snsapi_base").await;
        let target = format!("/api/wechat/getOpenId?code={code}&state={state}");
        browser.get_with(&stage, &target, &[("X-Forwarded-For", "203.0.113.9")]).await
    };
    // WeChat fails on its own account: with a code of its own, or too busy to say anything of the code.
    for i in 0..31 {
        assert_eq!(tried(format!("err-40125-{i}")).await.status, 502, "{i}");
    }
    // As many codes as one address may have at WeChat at once, and one too many.
    let waiting = futures_util::future::join_all((0..64).map(|i| tried(format!("slow-{i}"))));
    let meanwhile = async {
        eventually("the exchanges", async || platform.calls(EXCHANGE) == 31 + 64).await;
        let reply = tried("good-Alice".into()).await;
        assert_eq!((reply.status, reason(&reply).as_str()), (503, "busy"));
        platform.let_go(64);
    };
    let (replies, ()) = tokio::join!(waiting, meanwhile);
    for reply in replies {
        assert_eq!(reply.header("location"), Some(PAGE), "{reply:?}");
    }
    assert_eq!(tried("good-Alice".into()).await.header("location"), Some(PAGE));
    stage.finish().await;
}
