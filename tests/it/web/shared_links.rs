//! The address of a page, in whatever coding a front end gives it: signed and returned to as the browser shows it.

use serde_json::json;
use wxpay_worker::secret::Secret;
use wxpay_worker::store::TokenKind;
use wxpay_worker::wechat::jssdk;

use super::browser::{Browser, Platform, TICKET, data, encoded, reason, state_of, store_token, web};
use crate::http::client::Reply;
use crate::http::stage::Stage;

/// A page that was shared in a chat.
const SHARED: &str = "https://m.example.com/pay?from=singlemessage&isappinstalled=0";

/// Pages and service under one host.
async fn stage() -> (Stage, Platform) {
    let platform = Platform::start().await;
    let stage = Stage::seen_at("https://m.example.com", &web(&platform)).await;
    store_token(&stage, "shop", TokenKind::JsapiTicket, TICKET).await;
    (stage, platform)
}

async fn sign(stage: &Stage, query: &str, referer: Option<&str>) -> Reply {
    let headers: Vec<(&str, &str)> = referer.map(|referer| ("Referer", referer)).into_iter().collect();
    stage.send("GET", &format!("/api/wechat/jssdk?{query}"), &headers, b"").await
}

/// Asserts that `page` is what is signed for `query`.
async fn signs(stage: &Stage, query: &str, page: &str) {
    let answer = data(&sign(stage, query, None).await);
    assert_eq!(answer["url"], json!(page), "{query}");
    let (nonce, timestamp) = (answer["nonceStr"].as_str().unwrap(), answer["timestamp"].as_i64().unwrap());
    assert_eq!(answer["signature"], jssdk::signature(&Secret::new(TICKET), nonce, timestamp, page), "{query}");
}

#[tokio::test]
async fn an_address_is_signed_as_the_browser_shows_it_however_it_was_encoded() {
    let (stage, _platform) = stage().await;
    let once = encoded(SHARED);
    for query in [
        format!("url={once}"),
        format!("url={}", encoded(&once)),
        format!("app=shop&url={}", encoded(&once)),
        format!("url={SHARED}"),
        format!("app=shop&url={SHARED}"),
        format!("_=1700000000&url={SHARED}"),
        // Some clients leave `:` and `/` as they are.
        format!("url={}", once.replace("%3A", ":").replace("%2F", "/")),
        format!("url={}", once.replace("%3A", ":")),
        format!("url={}", encoded(&SHARED.replace("m.example.com", "M.Example.com:443").replace("https", "HTTPS"))),
        format!("url={}", SHARED.replace("m.example.com", "M.Example.com:443")),
        // At the end, what can only be the request's own is.
        format!("url={SHARED}&explain=1"),
        format!("url={SHARED}&app=shop"),
    ] {
        signs(&stage, &query, SHARED).await;
    }
    let chinese = "https://m.example.com/%E8%8C%B6/a%20b?q=%E4%B8%AD&b=1+2";
    signs(&stage, &format!("url={chinese}"), chinese).await;
    signs(&stage, &format!("url={}", encoded(chinese)), chinese).await;
    // A parameter of the page's that has a name of ours, with a value that ours cannot have.
    signs(&stage, &format!("url={SHARED}&app=5"), &format!("{SHARED}&app=5")).await;
    signs(&stage, "url=https://m.example.com/%E8%8C%B6&explain=0", "https://m.example.com/%E8%8C%B6").await;
    stage.finish().await;
}

#[tokio::test]
async fn an_address_without_a_certain_end_is_refused_with_how_to_encode_it() {
    let (stage, _platform) = stage().await;
    let rule = |reply: &Reply| {
        assert_eq!((reply.status, reason(reply).as_str()), (400, "bad_parameter"), "{reply:?}");
        reply.json()["data"]["rule"].as_str().unwrap().to_owned()
    };
    let both = rule(&sign(&stage, &format!("app=shop&url={SHARED}&explain=1"), None).await);
    assert!(both.contains("encode once with encodeURIComponent"), "{both}");
    // The page's own address, cut: a cache buster was put behind it.
    let cut = sign(&stage, &format!("url={SHARED}&_=1700000000"), Some(SHARED)).await;
    assert!(rule(&cut).contains("encode once with encodeURIComponent"));
    for referer in [None, Some(SHARED), Some("https://m.example.com.evil.com/"), Some("https://elsewhere.example/")] {
        assert_eq!(sign(&stage, &format!("url={SHARED}"), referer).await.status, 200, "{referer:?}");
    }
    // Encoded it may be another page of ours: the first one of an application that changes its address.
    let first = format!("url={}", encoded("https://m.example.com/start"));
    assert_eq!(sign(&stage, &first, Some(SHARED)).await.status, 200);
    let target = format!("/api/wechat/redirect?scope=snsapi_base&url={SHARED}&app=shop");
    assert_eq!(stage.send("GET", &target, &[], b"").await.status, 400);
    stage.finish().await;
}

#[tokio::test]
async fn a_login_returns_to_the_whole_address() {
    let (stage, _platform) = stage().await;
    for (n, query) in [
        format!("callback={SHARED}"),
        format!("url={SHARED}"),
        format!("callback={}", encoded(&encoded(SHARED))),
        format!("callback={}", encoded(&SHARED.replace("m.example.com", "M.EXAMPLE.COM:443"))),
        format!("scope=snsapi_base&callback={SHARED}"),
        format!("callback={SHARED}&scope=snsapi_userinfo"),
    ]
    .iter()
    .enumerate()
    {
        let mut browser = Browser::default();
        let begun = browser.get(&stage, &format!("/api/wechat/redirect?{query}")).await;
        assert_eq!(begun.status, 302, "{query}: {begun:?}");
        assert_eq!(begun.header("location").unwrap().contains("snsapi_userinfo"), n == 5, "{query}");
        let reply = browser.come_back(&stage, &format!("good-{n}-Alice"), &state_of(&begun)).await;
        assert_eq!(reply.header("location"), Some(SHARED), "{query}");
    }
    stage.finish().await;
}

#[tokio::test]
async fn what_is_no_page_of_ours_is_none_in_any_coding() {
    let (stage, _platform) = stage().await;
    for foreign in [
        "https://evil.com/?a=1&b=2",
        "https://M.EXAMPLE.COM:443@evil.com/?a=1",
        "https://m.example.com:443:443/?a=1",
        "https://m.example.com:80/?a=1",
        "http://m.example.com:443/?a=1",
        "https://m.example.com.:443/?a=1",
        "https://evil.com?url=https://m.example.com/?a=1",
    ] {
        for query in [foreign.to_owned(), encoded(foreign), encoded(&encoded(foreign))] {
            for route in ["jssdk?url=", "redirect?callback="] {
                let reply = stage.send("GET", &format!("/api/wechat/{route}{query}"), &[], b"").await;
                assert_eq!((reply.status, reason(&reply).as_str()), (403, "bad_origin"), "{route}{query}");
            }
        }
    }
    stage.finish().await;
}
