//! Real answers to browsers and mini programs by the document: a login, a page, an order and its end.

use serde_json::{Value, json};
use wxpay_worker::store::TokenKind;

use super::support::{Answered, strict};
use crate::harness::within_timeout;
use crate::http::client::Reply;
use crate::http::stage::Stage;
use crate::web::browser::{ACCESS_TOKEN, Browser, PAGE, TICKET, encoded, stage, state_of, store_token};

/// The data of an answer that is as described.
fn checked(document: &Value, method: &str, template: &str, status: u16, reply: &Reply) -> Value {
    let envelope = Answered::of_reply(reply).checked(document, method, template);
    assert_eq!(reply.status, status, "{template} {envelope}");
    envelope["data"].clone()
}

async fn get(document: &Value, stage: &Stage, browser: &mut Browser, template: &str, query: &str) -> Value {
    let reply = browser.get(stage, &format!("{template}{query}")).await;
    checked(document, "GET", template, 200, &reply)
}

#[tokio::test]
async fn answers_to_a_page_from_its_login_to_its_payment_are_as_described() {
    let (document, (stage, _platform)) = (strict(), stage().await);
    stage.work();
    store_token(&stage, "shop", TokenKind::JsapiTicket, TICKET).await;
    let mut browser = Browser::default();
    let begun = browser.get(&stage, &format!("/api/wechat/redirect?callback={}", encoded(PAGE))).await;
    checked(&document, "GET", "/api/wechat/redirect", 302, &begun);
    let state = state_of(&begun);
    let ended = browser.come_back(&stage, "good-Alice", &state).await;
    checked(&document, "GET", "/api/wechat/getOpenId", 302, &ended);
    get(&document, &stage, &mut browser, "/api/wechat/getUserInfo", "").await;
    let page = encoded("https://m.example.com/pay");
    for more in ["", "&explain=1"] {
        let config = get(&document, &stage, &mut browser, "/api/wechat/jssdk", &format!("?url={page}{more}")).await;
        assert!(config["signature"].is_string(), "{config}");
    }
    let template = "/api/wechat/pay/payWallet";
    let block = within_timeout("an offered order", async {
        loop {
            let reply = browser.get(&stage, &format!("{template}?money=100")).await;
            let envelope = Answered::of_reply(&reply).checked(&document, "GET", template);
            if envelope["reason"] != "pending" {
                return envelope["data"].clone();
            }
        }
    })
    .await;
    let order_no = block["order_no"].as_str().unwrap().to_owned();
    let own = format!("?order_no={order_no}");
    get(&document, &stage, &mut browser, "/api/wechat/pay/status", &own).await;
    stage.pay(&order_no).await;
    let status = get(&document, &stage, &mut browser, "/api/wechat/pay/status", &own).await;
    assert_eq!(status["state"], "paid", "{status}");
    let refused = browser.get(&stage, &format!("{template}?money=0")).await;
    checked(&document, "GET", template, 400, &refused);
    stage.finish().await;
}

#[tokio::test]
async fn answers_to_a_mini_program_are_as_described() {
    let (document, (stage, _platform)) = (strict(), stage().await);
    store_token(&stage, "mini", TokenKind::AccessToken, ACCESS_TOKEN).await;
    let post = async |path: &str, session: &str, code: &str, status: u16| {
        let authorization = format!("Bearer {session}");
        let mut headers = vec![("Content-Type", "application/json")];
        headers.extend((!session.is_empty()).then_some(("Authorization", &*authorization)));
        let body = json!({"code": code}).to_string();
        let reply = stage.send("POST", path, &headers, body.as_bytes()).await;
        checked(&document, "POST", path, status, &reply)
    };
    let login = post("/api/wechat/mini/login", "", "good-Alice", 200).await;
    let session = login["session"].as_str().unwrap();
    let phone = post("/api/wechat/mini/phone", session, "good-phone", 200).await;
    assert!(phone["phoneNumber"].is_string(), "{phone}");
    post("/api/wechat/mini/phone", "no-session", "good-other", 401).await;
    post("/api/wechat/mini/login", "", "err-45011", 429).await;
    stage.finish().await;
}
