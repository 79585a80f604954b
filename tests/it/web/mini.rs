//! Mini programs: a code for a session, a code for a phone number.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use wxpay_worker::store::TokenKind;

use super::browser::{
    ACCESS_TOKEN, Browser, data, openid_of, reason, repeat_token, stage, store_token, tells_no_secret,
};
use crate::harness::sql::number;
use crate::http::client::Reply;
use crate::http::stage::{Stage, eventually};

const PHONE: &str = "/wxa/business/getuserphonenumber";
/// How long a request waits for what comes after a dead token.
const TOKEN_WAIT: Duration = Duration::from_secs(3);

async fn post(stage: &Stage, path: &str, session: Option<&str>, body: &str) -> Reply {
    let authorization = session.map(|session| format!("Bearer {session}"));
    let mut headers = vec![("Content-Type", "application/json")];
    headers.extend(authorization.as_deref().map(|value| ("Authorization", value)));
    stage.send("POST", path, &headers, body.as_bytes()).await
}

async fn login(stage: &Stage, code: &str) -> Reply {
    post(stage, "/api/wechat/mini/login", None, &json!({"code": code}).to_string()).await
}

async fn session(stage: &Stage, code: &str) -> String {
    data(&login(stage, code).await)["session"].as_str().unwrap().to_owned()
}

async fn phone(stage: &Stage, session: &str, code: &str) -> Reply {
    post(stage, "/api/wechat/mini/phone", Some(session), &json!({"code": code}).to_string()).await
}

/// The answer to a request beside which the token is refreshed. Where a busy machine took longer for that than the
/// request waits, it is made once more.
async fn phone_beside(stage: &Stage, session: &str, code: &str, refresh: impl Future<Output = ()>) -> Reply {
    let begun = Instant::now();
    let first = async { (phone(stage, session, code).await, begun.elapsed()) };
    let ((reply, took), ()) = tokio::join!(first, refresh);
    if reply.status == 503 && took >= TOKEN_WAIT { phone(stage, session, code).await } else { reply }
}

#[tokio::test]
async fn a_mini_programs_code_becomes_a_session_that_pays() {
    let (stage, _platform) = stage().await;
    let reply = login(&stage, "good-Alice").await;
    tells_no_secret(&reply, &openid_of("good-Alice"));
    let session = data(&reply)["session"].as_str().unwrap().to_owned();
    assert!(!reply.head.contains("set-cookie"), "a mini program has no cookies");
    let authorization = format!("Bearer {session}");
    let me = stage.send("GET", "/api/wechat/getUserInfo", &[("Authorization", &authorization)], b"").await;
    assert_eq!(data(&me)["has_profile"], false);
    // No merchant of this configuration takes the mini program's orders.
    let reply = stage.send("GET", "/api/wechat/pay/payWallet?money=1", &[("Authorization", &authorization)], b"").await;
    assert_eq!(reason(&reply), "not_open");
    stage.finish().await;
}

#[tokio::test]
async fn each_refusal_of_a_login_says_what_the_client_can_do() {
    let (stage, _platform) = stage().await;
    for (code, status, word) in [
        ("err-40029", 401, "bad_code"),
        ("err-40163", 401, "bad_code"),
        ("err-45011", 429, "too_many"),
        ("err-40226", 403, "risk_user"),
        ("err-40125", 502, "login_failed"),
        ("err-45009", 502, "login_failed"),
    ] {
        let reply = login(&stage, code).await;
        assert_eq!((reply.status, reason(&reply).as_str()), (status, word), "{code}");
        assert_eq!(reply.header("retry-after").is_some(), status == 429, "{code}");
    }
    stage.finish().await;
}

#[tokio::test]
async fn only_a_small_body_with_one_code_is_taken() {
    let (stage, platform) = stage().await;
    let path = "/api/wechat/mini/login";
    for body in [
        "",
        "[]",
        "null",
        "\"x\"",
        "{}",
        "{\"code\":1}",
        "{\"code\":\"\"}",
        "{\"code\":null}",
        "{\"code\":\"a b\"}",
        "{\"code\":\"a\",\"code\":\"b\"}",
        "{\"code\":\"a\",\"openid\":\"b\"}",
        "{\"code\":\"中\"}",
        "code=a",
    ] {
        let reply = post(&stage, path, None, body).await;
        assert_eq!((reply.status, reason(&reply).as_str()), (400, "bad_parameter"), "{body}");
    }
    let long = json!({"code": "x".repeat(513)}).to_string();
    assert_eq!(reason(&post(&stage, path, None, &long).await), "bad_parameter");
    let large = format!("{{\"code\":\"a\"{}}}", " ".repeat(4096));
    assert_eq!(reason(&post(&stage, path, None, &large).await), "too_large");
    let reply = stage.send("POST", path, &[("Content-Type", "text/plain")], b"{\"code\":\"a\"}").await;
    assert_eq!((reply.status, reason(&reply).as_str()), (415, "media_type"));
    assert_eq!(platform.calls("/sns/jscode2session"), 0);
    stage.finish().await;
}

#[tokio::test]
async fn a_phone_number_comes_through_the_session_and_the_shared_token() {
    let (stage, platform) = stage().await;
    let session = session(&stage, "good-Alice").await;
    let reply = phone(&stage, &session, "good-phone").await;
    assert_eq!((reply.status, reason(&reply).as_str()), (503, "token_unavailable"));
    assert_eq!(platform.calls(PHONE), 0);
    store_token(&stage, "mini", TokenKind::AccessToken, ACCESS_TOKEN).await;
    let reply = phone(&stage, &session, "good-phone").await;
    tells_no_secret(&reply, &openid_of("good-Alice"));
    let expected = json!({"phoneNumber": "+8613800138000", "purePhoneNumber": "13800138000", "countryCode": "86"});
    assert_eq!(data(&reply), expected);
    assert_eq!(reason(&phone(&stage, &session, "good-phone").await), "bad_code");
    assert_eq!(reason(&phone(&stage, "nonsense", "good-other").await), "not_logged_in");
    // A page's session is of another app, which has no phone button.
    let page = Browser::logged_in(&stage, "good-Bob").await;
    let headers = [("Content-Type", "application/json"), ("Cookie", &*page.header())];
    let reply = stage.send("POST", "/api/wechat/mini/phone", &headers, br#"{"code":"good-third"}"#).await;
    assert_eq!(reason(&reply), "not_open");
    stage.finish().await;
}

#[tokio::test]
async fn a_dead_token_is_reported_once_and_its_successor_waited_for() {
    let (stage, platform) = stage().await;
    let session = session(&stage, "good-Alice").await;
    store_token(&stage, "mini", TokenKind::AccessToken, ACCESS_TOKEN).await;
    platform.live_token("95_successor");
    let refresh = async {
        eventually("the report", async || {
            let sql = "SELECT COUNT(*) AS n FROM platform_tokens WHERE report = 'reported'";
            let db = stage.store.db();
            use sea_orm::ConnectionTrait;
            let row = db.read().query_one_raw(db.statement(sql, [])).await.unwrap().unwrap();
            row.try_get::<i64>("", "n").unwrap() == 1
        })
        .await;
        store_token(&stage, "mini", TokenKind::AccessToken, "95_successor").await;
    };
    let reply = phone_beside(&stage, &session, "good-phone", refresh).await;
    assert_eq!(data(&reply)["purePhoneNumber"], "13800138000");
    assert_eq!(platform.calls(PHONE), 2);
    // No other one comes.
    platform.live_token("96_unknown-to-us");
    let reply = phone(&stage, &session, "good-second").await;
    assert_eq!((reply.status, reason(&reply).as_str()), (503, "token_unavailable"));
    assert_eq!(platform.calls(PHONE), 3, "no third call with a token that is known to be dead");
    stage.finish().await;
}

#[tokio::test]
async fn a_token_that_wechat_issues_again_is_tried_once_more() {
    let (stage, platform) = stage().await;
    let session = session(&stage, "good-Alice").await;
    store_token(&stage, "mini", TokenKind::AccessToken, ACCESS_TOKEN).await;
    platform.live_token("95_unknown-to-us");
    let refresh = async {
        eventually("the report", async || {
            number(stage.store.db(), "SELECT COUNT(*) FROM platform_tokens WHERE report = 'reported'").await == 1
        })
        .await;
        platform.live_token(ACCESS_TOKEN);
        repeat_token(&stage, "mini", TokenKind::AccessToken, ACCESS_TOKEN).await;
    };
    let reply = phone_beside(&stage, &session, "good-phone", refresh).await;
    assert_eq!(data(&reply)["purePhoneNumber"], "13800138000");
    assert_eq!(platform.calls(PHONE), 2);
    // Refused once more it is repeated at once, and then WeChat's answer stands.
    platform.live_token("95_unknown-to-us");
    let reply = phone(&stage, &session, "good-second").await;
    assert_eq!((reply.status, reason(&reply).as_str()), (503, "token_unavailable"));
    assert_eq!(platform.calls(PHONE), 4);
    stage.finish().await;
}

#[tokio::test]
async fn one_user_cannot_ask_for_phone_numbers_without_end() {
    let (stage, platform) = stage().await;
    let session = session(&stage, "good-Alice").await;
    store_token(&stage, "mini", TokenKind::AccessToken, ACCESS_TOKEN).await;
    for i in 0..10 {
        data(&phone(&stage, &session, &format!("good-{i}")).await);
    }
    let reply = phone(&stage, &session, "good-x").await;
    assert_eq!((reply.status, reason(&reply).as_str()), (429, "too_many"));
    assert_eq!(platform.calls(PHONE), 10);
    stage.finish().await;
}
