//! Many browsers behind one address: what WeChat or others do wrong keeps none of them out.

use serde_json::json;

use super::browser::{Browser, PAGE, data, stage};
use super::login::EXCHANGE;
use crate::http::client::Reply;
use crate::http::stage::{Stage, eventually};

async fn mini(stage: &Stage, code: &str) -> Reply {
    let body = json!({ "code": code }).to_string();
    let headers = [("Content-Type", "application/json")];
    stage.send("POST", "/api/wechat/mini/login", &headers, body.as_bytes()).await
}

/// Forty codes at once.
async fn forty<F: Future<Output = Reply>>(try_one: impl Fn(usize) -> F) -> Vec<Reply> {
    futures_util::future::join_all((0..40).map(try_one)).await
}

#[tokio::test]
async fn codes_that_wechat_was_too_busy_for_are_not_counted_as_wrong() {
    let (stage, _platform) = stage().await;
    let mut known = Browser::default();
    known.begin(&stage, "snsapi_base").await;
    let tried = forty(async |i| {
        let mut browser = Browser::default();
        let state = browser.begin(&stage, "snsapi_base").await;
        browser.come_back(&stage, &format!("busy-{i}"), &state).await
    });
    for reply in tried.await {
        assert_eq!(reply.status, 302, "the login begins again: {reply:?}");
    }
    let state = known.begin(&stage, "snsapi_base").await;
    assert_eq!(known.come_back(&stage, "good-Alice", &state).await.header("location"), Some(PAGE));
    for reply in forty(async |i| mini(&stage, &format!("busy-mini-{i}")).await).await {
        assert_eq!(reply.status, 401, "{reply:?}");
    }
    assert!(data(&mini(&stage, "good-Bob").await)["session"].is_string());
    stage.finish().await;
}

#[tokio::test]
async fn bad_codes_of_others_do_not_refuse_a_first_try() {
    let (stage, _platform) = stage().await;
    let tried = forty(async |i| {
        let mut browser = Browser::default();
        let state = browser.begin(&stage, "snsapi_base").await;
        browser.come_back(&stage, &format!("err-40029-{i}"), &state).await
    });
    for reply in tried.await {
        assert_eq!(reply.status, 302, "{reply:?}");
    }
    Browser::logged_in(&stage, "good-Alice").await;
    assert!(data(&mini(&stage, "good-Bob").await)["session"].is_string());
    stage.finish().await;
}

#[tokio::test]
async fn first_tries_from_an_address_of_many_bad_codes_reach_wechat_one_after_the_other() {
    let (stage, platform) = stage().await;
    // A browser without cookies is on its first try each time.
    let first_try = async |code: String| {
        let mut browser = Browser::default();
        let state = browser.begin(&stage, "snsapi_base").await;
        browser.come_back(&stage, &code, &state).await
    };
    for i in 0..30 {
        assert_eq!(first_try(format!("err-40029-{i}")).await.status, 302, "{i}");
    }
    let before = platform.calls(EXCHANGE);
    // No more than are through in the ten seconds that the last one waits.
    let tried = futures_util::future::join_all((1..=3).map(|i| first_try(format!("slow-{i}-Payer{i}"))));
    let one_by_one = async {
        for n in 1..=3 {
            eventually("the next exchange", || async { platform.calls(EXCHANGE) >= before + n }).await;
            // What comes meanwhile is answered, so that the others are at WeChat by then, if anything lets them.
            for _ in 0..4 {
                Browser::default().begin(&stage, "snsapi_base").await;
            }
            assert_eq!(platform.calls(EXCHANGE), before + n);
            platform.let_go(1);
        }
    };
    let (replies, ()) = tokio::join!(tried, one_by_one);
    for reply in replies {
        assert_eq!((reply.status, reply.header("location")), (302, Some(PAGE)), "{reply:?}");
    }
    stage.finish().await;
}
