//! Which pages may log in, be signed for and call: the allow-list and everything that tries to get around it.

use serde_json::json;
use wxpay_worker::secret::Secret;
use wxpay_worker::store::TokenKind;
use wxpay_worker::web::Reason;
use wxpay_worker::wechat::jssdk;

use super::browser::{Browser, TICKET, data, encoded, reason, stage, store_token, tells_no_secret};
use crate::http::stage::Stage;

/// Addresses of our own pages.
const OURS: &[&str] = &[
    "https://m.example.com",
    "https://m.example.com/",
    "https://m.example.com/pay?a=1&b=%E4%B8%AD#/index",
    "https://m.example.com?x",
    "https://m.example.com#x",
    "https://m.example.com/a?next=https://evil.com/",
    "https://m.example.com/@evil.com",
    "http://localhost:5173/",
];

/// Addresses that some reader takes for a page of ours, or that some reader repairs.
const FOREIGN: &[&str] = &[
    "//evil.com",
    "///evil.com",
    "//m.example.com",
    "/\\evil.com",
    "\\\\evil.com",
    "/pay",
    "pay",
    "?callback",
    "https://evil.com",
    "https://evil.com/https://m.example.com/",
    "https://evil.com?https://m.example.com",
    "https://evil.com#https://m.example.com",
    "https://m.example.com.evil.com/",
    "https://m.example.comevil.com/",
    "https://m.example.com@evil.com/",
    "https://m.example.com:443@evil.com/",
    "https://m.example.com:pw@evil.com/",
    "https://user@m.example.com/",
    "https://user:pw@m.example.com/",
    "https://@m.example.com/",
    "https://m.example.com:8443/",
    "https://m.example.com:/",
    "https://m.example.com./",
    "https://m.example.com%2eevil.com/",
    "https://m.example.com%00.evil.com/",
    "https://m%2eexample.com/",
    "https://x.m.example.com/",
    "https://example.com/",
    "http://m.example.com/",
    "https:m.example.com",
    "https:/m.example.com/",
    "https:///m.example.com/",
    "https:\\\\m.example.com/",
    "https://m.example.com\\@evil.com/",
    "https://m.example.com/\\evil.com",
    "https://m.example.com\\evil.com",
    " https://m.example.com/",
    "https://m.example.com/ ",
    "https://m.example.com/\r\nSet-Cookie: wxpay_session=x",
    "https://m.example.com/\nx",
    "https://m.example.com/\tx",
    "https://m.exa\tmple.com/",
    "https://m.example.com\0/",
    "https://m.example.com/\u{7f}",
    "https://ｍ.example.com/",
    "https://m.example。com/",
    "https://m.examp1e.com/",
    "javascript:alert(1)//https://m.example.com/",
    "data:text/html,https://m.example.com/",
    "file:///etc/passwd",
    "blob:https://m.example.com/x",
    "weixin://m.example.com/",
    "null",
    "http://localhost/",
    "http://localhost:51730/",
    "http://127.0.0.1:5173/",
    "https://localhost:5173/",
];

#[tokio::test]
async fn only_our_own_pages_are_come_back_to_or_signed_for() {
    let (stage, _platform) = stage().await;
    store_token(&stage, "shop", TokenKind::JsapiTicket, TICKET).await;
    for url in OURS {
        for route in ["redirect?callback=", "redirect?url="] {
            let reply = get(&stage, &format!("/api/wechat/{route}{}", encoded(url))).await;
            assert_eq!(reply.status, 302, "{route}{url}");
            assert!(reply.header("location").unwrap().starts_with("https://open.wechat.test/connect/"), "{reply:?}");
        }
        let reply = get(&stage, &format!("/api/wechat/jssdk?url={}", encoded(url))).await;
        assert_eq!(data(&reply)["url"], json!(url.split('#').next().unwrap()));
    }
    assert!(FOREIGN.len() >= 40);
    for url in FOREIGN {
        for route in ["redirect?callback=", "redirect?url=", "jssdk?url="] {
            let reply = get(&stage, &format!("/api/wechat/{route}{}", encoded(url))).await;
            assert_eq!((reply.status, reason(&reply).as_str()), (403, "bad_origin"), "{route}{url:?}");
            assert_eq!(reply.header("location"), None, "{url:?}");
        }
    }
    let long = format!("https://m.example.com/{}", "x".repeat(1100));
    for (route, name) in [("redirect?callback=", "callback"), ("redirect?url=", "url"), ("jssdk?url=", "url")] {
        let reply = get(&stage, &format!("/api/wechat/{route}{long}")).await;
        assert_eq!((reply.status, reason(&reply).as_str()), (400, "bad_parameter"), "{route}");
        assert_eq!(reply.json()["data"], json!({"parameter": name, "rule": "must be at most 1024 bytes"}), "{route}");
    }
    stage.finish().await;
}

async fn get(stage: &Stage, target: &str) -> crate::http::client::Reply {
    stage.send("GET", target, &[], b"").await
}

#[tokio::test]
async fn a_page_is_signed_for_as_wechat_will_check_it() {
    let (stage, _platform) = stage().await;
    let page = "https://m.example.com/pay?a=%E4%B8%AD&b=1+2";
    let target = format!("/api/wechat/jssdk?url={}", encoded(&format!("{page}#/wallet")));
    let reply = get(&stage, &target).await;
    assert_eq!((reply.status, reason(&reply).as_str()), (503, "token_unavailable"));
    assert!(reply.header("retry-after").is_some());

    store_token(&stage, "shop", TokenKind::JsapiTicket, TICKET).await;
    let reply = get(&stage, &target).await;
    tells_no_secret(&reply, "no openid");
    let answer = data(&reply);
    let names: Vec<&String> = answer.as_object().unwrap().keys().collect();
    assert_eq!(names, ["appId", "jsApiList", "nonceStr", "signature", "timestamp", "url"]);
    assert_eq!((&answer["appId"], &answer["url"]), (&json!("wx8888888888888888"), &json!(page)));
    let (nonce, timestamp) = (answer["nonceStr"].as_str().unwrap(), answer["timestamp"].as_i64().unwrap());
    assert_eq!(timestamp, stage.clock.now().as_seconds());
    assert_eq!(answer["signature"], jssdk::signature(&Secret::new(TICKET), nonce, timestamp, page));
    let other = data(&get(&stage, &target).await);
    assert_ne!(answer["nonceStr"], other["nonceStr"], "never the same answer twice");

    let reply = get(&stage, &format!("{target}&explain=1")).await;
    tells_no_secret(&reply, "no openid");
    let explained = data(&reply);
    let text = explained["explain"]["string_to_sign"].as_str().unwrap();
    let nonce = explained["nonceStr"].as_str().unwrap();
    assert_eq!(text, format!("jsapi_ticket=***&noncestr={nonce}&timestamp={timestamp}&url={page}"));
    stage.finish().await;
}

#[tokio::test]
async fn what_a_page_may_ask_of_wechat_is_configured() {
    let platform = super::browser::Platform::start().await;
    let web =
        super::browser::web(&platform).replace("[web]", "[web]\njs_api_list = [\"getLocation\", \"chooseWXPay\"]");
    let stage = Stage::with("", &web).await;
    store_token(&stage, "shop", TokenKind::JsapiTicket, TICKET).await;
    let answer = data(&get(&stage, "/api/wechat/jssdk?url=https://m.example.com/").await);
    assert_eq!(answer["jsApiList"], json!(["getLocation", "chooseWXPay"]));
    stage.finish().await;
}

#[tokio::test]
async fn pages_of_the_list_may_call_with_cookies_and_no_other_page_reads_anything() {
    let (stage, _platform) = stage().await;
    let preflight = async |origin: &str, method: &str| {
        let headers = [("Origin", origin), ("Access-Control-Request-Method", method)];
        stage.send("OPTIONS", "/api/wechat/mini/login", &headers, b"").await
    };
    let allowed = preflight("https://m.example.com", "POST").await;
    assert_eq!(allowed.status, 204);
    assert_eq!(allowed.header("access-control-allow-origin"), Some("https://m.example.com"));
    assert_eq!(allowed.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(allowed.header("access-control-allow-headers"), Some("Content-Type, Authorization"));
    assert!(allowed.header("vary").is_some_and(|vary| vary.contains("Origin")));
    for origin in ["https://evil.com", "https://m.example.com.evil.com", "null", "https://pay.example.com"] {
        let refused = preflight(origin, "POST").await;
        assert_eq!((refused.status, reason(&refused).as_str()), (403, "bad_origin"), "{origin}");
        assert_eq!(refused.header("access-control-allow-origin"), None, "{origin}");
    }
    let mut browser = Browser::logged_in(&stage, "good-Alice").await;
    let ask = "/api/wechat/getUserInfo";
    let reply = browser.get_with(&stage, ask, &[("Origin", "http://localhost:5173")]).await;
    assert_eq!(reply.header("access-control-allow-origin"), Some("http://localhost:5173"));
    let reply = browser.get_with(&stage, ask, &[("Origin", "https://evil.com")]).await;
    assert_eq!(reply.header("access-control-allow-origin"), None);
    assert_eq!(reply.header("vary"), Some("Origin"));
    stage.finish().await;
}

#[tokio::test]
async fn what_is_not_there_is_said_in_the_envelope_of_the_family() {
    let (stage, _platform) = stage().await;
    assert_eq!(reason(&get(&stage, "/api/wechat/nothing").await), "no_route");
    let reply = stage.send("POST", "/api/wechat/jssdk", &[], b"").await;
    assert_eq!((reply.status, reason(&reply).as_str()), (405, "method_not_allowed"));
    for (target, parameter) in [
        ("/api/wechat/redirect", "callback"),
        ("/api/wechat/redirect?callback=a&callback=b", "callback"),
        ("/api/wechat/redirect?callback=a&url=b", "url"),
        ("/api/wechat/redirect?callback=https://m.example.com&scope=snsapi_login", "scope"),
        ("/api/wechat/jssdk", "url"),
        ("/api/wechat/jssdk?url=https://m.example.com&explain=yes", "explain"),
    ] {
        let reply = get(&stage, target).await;
        assert_eq!((reply.status, reason(&reply).as_str()), (400, "bad_parameter"), "{target}");
        assert_eq!(reply.json()["data"]["parameter"], parameter, "{target}");
    }
    assert_eq!(reason(&get(&stage, "/api/wechat/redirect?callback=https://m.example.com&app=mini").await), "not_open");
    // Cache busters and whatever WeChat adds do no harm.
    let reply =
        get(&stage, "/api/wechat/redirect?callback=https://m.example.com&_=1700000000&from=singlemessage").await;
    assert_eq!(reply.status, 302);
    stage.finish().await;

    let closed = Stage::start().await;
    for target in ["/api/wechat/redirect?callback=https://m.example.com", "/api/wechat/getUserInfo"] {
        let reply = get(&closed, target).await;
        assert_eq!((reply.status, reason(&reply).as_str()), (404, "not_open"), "{target}");
    }
    closed.finish().await;
}

#[test]
fn the_documentation_lists_every_reason_as_it_is() {
    let docs = include_str!("../../../docs/browser.md");
    let mut rows: Vec<&str> = docs.lines().filter(|line| line.starts_with("| `")).collect();
    rows.retain(|line| line.split('|').nth(3).is_some_and(|code| code.trim().parse::<u32>().is_ok()));
    for reason in Reason::ALL {
        let row = format!("| `{}` | {} | {} |", reason.as_str(), reason.status().as_u16(), reason.code());
        assert!(rows.iter().any(|line| line.starts_with(&row)), "docs/browser.md lacks {row}");
    }
    assert_eq!(rows.len(), Reason::ALL.len(), "docs/browser.md lists a reason that is none");
}
