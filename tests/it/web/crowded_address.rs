//! Many browsers behind one address: what WeChat or others do wrong keeps none of them out.

use serde_json::json;

use super::browser::{Browser, PAGE, data, stage};
use crate::http::client::Reply;
use crate::http::stage::Stage;

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
