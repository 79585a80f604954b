//! Wallet payments: one open order per payer and amount, and no other payer's orders.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use wxpay_worker::ids::{AppKey, MerchantKey, OpenId, OrderNo};
use wxpay_worker::money::Fen;
use wxpay_worker::secret::sha256_hex;

use super::browser::{Browser, data, openid_of, reason, stage, tells_no_secret};
use crate::harness::within_timeout;
use crate::http::client::Reply;
use crate::http::stage::{OTHER_MERCHANT, Stage};

async fn pay_wallet(stage: &Stage, browser: &Browser, money: &str) -> Reply {
    browser.clone().get(stage, &format!("/api/wechat/pay/payWallet?money={money}")).await
}

/// What the page pays with. While the order is being placed, the page asks again.
async fn offered(stage: &Stage, browser: &Browser, money: &str) -> Value {
    within_timeout("an offered order", async {
        loop {
            let reply = pay_wallet(stage, browser, money).await;
            if reply.json()["reason"] != "pending" {
                return data(&reply);
            }
        }
    })
    .await
}

pub async fn order_no(stage: &Stage, browser: &Browser, money: &str) -> String {
    offered(stage, browser, money).await["order_no"].as_str().unwrap().to_owned()
}

async fn status(stage: &Stage, browser: &Browser, order_no: &str) -> Reply {
    browser.clone().get(stage, &format!("/api/wechat/pay/status?order_no={order_no}")).await
}

#[tokio::test]
async fn a_wallet_payment_has_everything_the_sheet_needs_and_the_sessions_payer() {
    let (stage, _platform) = stage().await;
    stage.work();
    let browser = Browser::logged_in(&stage, "good-Alice").await;
    let reply = pay_wallet(&stage, &browser, "100").await;
    tells_no_secret(&reply, &openid_of("good-Alice"));
    let block = data(&reply);
    for name in ["appId", "timeStamp", "timestamp", "nonceStr", "package", "signType", "paySign", "expires_at"] {
        assert!(block[name].is_string(), "{name} in {block}");
    }
    assert_eq!(block["state"], "payable");
    let number = block["order_no"].as_str().unwrap();
    assert!(number.starts_with("W20260301") && number.len() <= 32, "{number}");
    let stored = stage.stored(number).await.unwrap();
    assert_eq!(stored.content.openid.unwrap().as_str(), openid_of("good-Alice"));
    assert_eq!((stored.order.amount.as_i64(), stored.content.client_ip.as_str()), (100, "127.0.0.1"));
    let seen = data(&status(&stage, &browser, number).await);
    assert_eq!((&seen["state"], &seen["paid_at"], &seen["flags"]), (&json!("payable"), &Value::Null, &json!([])));
    stage.pay(number).await;
    let seen = data(&status(&stage, &browser, number).await);
    assert_eq!((&seen["state"], &seen["amount_fen"]), (&json!("paid"), &json!(100)));
    assert_eq!(seen["paid_at"], json!(stage.clock.now()));
    stage.finish().await;
}

#[tokio::test]
async fn the_amount_is_a_whole_number_of_fen_within_the_bounds() {
    let (stage, _platform) = stage().await;
    let browser = Browser::logged_in(&stage, "good-Alice").await;
    for money in [
        "1.5",
        "1e3",
        "%20100",
        "100%20",
        "001",
        "-1",
        "%2B1",
        "0",
        "",
        "500001",
        "9223372036854775808",
        "9223372036854775807",
        "0x10",
        "1_000",
        "1,000",
        "%EF%BC%91",
        "NaN",
        "1&money=2",
    ] {
        let reply = pay_wallet(&stage, &browser, money).await;
        assert_eq!((reply.status, reason(&reply).as_str()), (400, "bad_parameter"), "{money}");
        assert_eq!(reply.json()["data"]["parameter"], "money", "{money}");
    }
    assert_eq!(reason(&browser.clone().get(&stage, "/api/wechat/pay/payWallet").await), "bad_parameter");
    let reply = pay_wallet(&stage, &Browser::default(), "100").await;
    assert_eq!((reply.status, reason(&reply).as_str()), (401, "not_logged_in"));
    // An openid in the query is ignored.
    let reply = Browser::default().get(&stage, "/api/wechat/pay/payWallet?money=100&openid=oUpF8uMuAJO_Alice").await;
    assert_eq!(reply.status, 401);
    stage.finish().await;
}

#[tokio::test]
async fn an_open_order_is_offered_again_freshly_signed_and_an_ended_one_is_not() {
    let (stage, _platform) = stage().await;
    stage.work();
    let browser = Browser::logged_in(&stage, "good-Alice").await;
    let first = offered(&stage, &browser, "100").await;
    let again = offered(&stage, &browser, "100").await;
    assert_eq!((&first["order_no"], &first["package"]), (&again["order_no"], &again["package"]));
    assert_ne!(first["paySign"], again["paySign"]);
    let first = first["order_no"].as_str().unwrap().to_owned();
    assert_ne!(order_no(&stage, &browser, "101").await, first, "another amount is another order");
    let other = Browser::logged_in(&stage, "good-Bob").await;
    assert_ne!(order_no(&stage, &other, "100").await, first, "another payer has another order");
    // Paid or closed: each makes room for a new one.
    stage.pay(&first).await;
    let second = order_no(&stage, &browser, "100").await;
    stage.close(&second).await;
    let third = order_no(&stage, &browser, "100").await;
    let all = BTreeSet::from([&first, &second, &third]);
    assert_eq!(all.len(), 3, "{all:?}");
    // Nearly over it can still be paid, and no second one may be. Its prepay id is fetched anew.
    stage.clock.advance(Duration::from_secs(7200 - 20));
    assert_eq!(order_no(&stage, &browser, "100").await, third);
    // An expired order may still be paid, as far as the service knows: no worker is there to ask WeChat.
    stage.clock.advance(Duration::from_secs(21));
    let reply = pay_wallet(&stage, &browser, "100").await;
    assert_eq!((reply.status, reason(&reply).as_str()), (200, "pending"));
    assert_eq!(reply.json()["data"], json!({"order_no": third, "state": "payable"}));
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_clicks_at_once_are_one_order() {
    let (stage, _platform) = stage().await;
    stage.work();
    let browser = Browser::logged_in(&stage, "good-Alice").await;
    let clicks = (0..20).map(|_| order_no(&stage, &browser, "250"));
    let numbers: BTreeSet<String> = futures_util::future::join_all(clicks).await.into_iter().collect();
    assert_eq!(numbers.len(), 1, "{numbers:?}");
    stage.finish().await;
}

/// What Alice pays in the shop: 100 fen.
fn alices_request() -> (AppKey, OpenId, Fen) {
    (AppKey::parse("shop").unwrap(), OpenId::parse(openid_of("good-Alice")).unwrap(), Fen::from_i64(100))
}

/// A number that is reserved for Alice at a merchant, and whose order is not recorded.
async fn reserved_for_alice(stage: &Stage, merchant: &str) -> OrderNo {
    // Six letters stand for the merchant.
    let tag = &sha256_hex(merchant.as_bytes())[..6];
    let reserved = OrderNo::parse(format!("W20260301{tag}reserved0001")).unwrap();
    let (app, openid, amount) = alices_request();
    stage.store.offer_wallet_order(&app, &openid, amount, None, &reserved, stage.clock.now()).await.unwrap();
    reserved
}

#[tokio::test]
async fn an_order_that_was_reserved_by_a_process_that_died_is_placed_by_the_next_click() {
    let (stage, _platform) = stage().await;
    stage.work();
    let browser = Browser::logged_in(&stage, "good-Alice").await;
    let reserved = reserved_for_alice(&stage, "main").await;
    assert_eq!(order_no(&stage, &browser, "100").await, reserved.as_str());
    stage.finish().await;
}

#[tokio::test]
async fn a_number_belongs_to_the_merchant_it_was_made_for_whichever_is_listed_first() {
    let platform = super::browser::Platform::start().await;
    let more = format!("{OTHER_MERCHANT}{}", super::browser::web(&platform));
    let stage = Stage::with("", &more).await;
    stage.work();
    let browser = Browser::logged_in(&stage, "good-Alice").await;
    // As the configuration was when `other` came first.
    let reserved = reserved_for_alice(&stage, "other").await;
    assert_eq!(order_no(&stage, &browser, "100").await, reserved.as_str());
    let other = MerchantKey::parse("other").unwrap();
    let placed = stage.store.order(&other, &reserved).await.unwrap().unwrap();
    assert_eq!(placed.order.attempts[0].mch_id.as_str(), "1900000110");
    assert!(stage.stored(reserved.as_str()).await.is_none(), "the same number at two merchants");
    // A new number is the first one's.
    let new = order_no(&stage, &browser, "101").await;
    assert!(stage.stored(&new).await.is_some());
    stage.finish().await;
}

#[tokio::test]
async fn a_number_that_was_reserved_at_a_merchant_without_the_app_is_placed_nowhere() {
    let platform = super::browser::Platform::start().await;
    let merchant = OTHER_MERCHANT.replace("[\"shop\"]", "[\"mini\"]");
    let stage = Stage::with("", &format!("{merchant}{}", super::browser::web(&platform))).await;
    stage.work();
    let browser = Browser::logged_in(&stage, "good-Alice").await;
    // A process with an older configuration may be placing it at this moment.
    let reserved = reserved_for_alice(&stage, "other").await;
    let reply = pay_wallet(&stage, &browser, "100").await;
    assert_eq!((reply.status, reason(&reply).as_str()), (503, "busy"));
    let other = MerchantKey::parse("other").unwrap();
    assert!(stage.store.order(&other, &reserved).await.unwrap().is_none());
    assert!(stage.stored(reserved.as_str()).await.is_none());
    let (app, openid, amount) = alices_request();
    assert_eq!(stage.store.wallet_order(&app, &openid, amount).await.unwrap(), Some(reserved), "no second number");
    stage.finish().await;
}

#[tokio::test]
async fn a_mini_programs_payment_comes_from_no_page() {
    let platform = super::browser::Platform::start().await;
    // The mini program's orders go to a merchant of their own.
    let merchant = OTHER_MERCHANT.replace("[\"shop\"]", "[\"mini\"]");
    let stage = Stage::with("", &format!("{merchant}{}", super::browser::web(&platform))).await;
    stage.work();
    let body = br#"{"code":"good-Bob"}"#;
    let login = stage.send("POST", "/api/wechat/mini/login", &[("Content-Type", "application/json")], body).await;
    let bearer = format!("Bearer {}", data(&login)["session"].as_str().unwrap());
    // The address that mini programs name is of no allow-list.
    for foreign in [("Origin", "https://servicewechat.com"), ("Sec-Fetch-Site", "cross-site")] {
        let headers = [("Authorization", bearer.as_str()), foreign];
        let reply = stage.send("GET", "/api/wechat/pay/payWallet?money=100", &headers, b"").await;
        assert_eq!(data(&reply)["state"], "payable", "{foreign:?}");
    }
    stage.finish().await;
}

#[tokio::test]
async fn an_order_without_an_answer_of_wechat_is_pending_and_no_failure() {
    let (stage, _platform) = stage().await;
    // No worker runs.
    let browser = Browser::logged_in(&stage, "good-Alice").await;
    let reply = pay_wallet(&stage, &browser, "100").await;
    assert_eq!((reply.status, reason(&reply).as_str()), (200, "pending"));
    let envelope = reply.json();
    assert_eq!((&envelope["code"], &envelope["data"]["state"]), (&json!(20001), &json!("requested")));
    let number = envelope["data"]["order_no"].as_str().unwrap().to_owned();
    assert_eq!(data(&status(&stage, &browser, &number).await)["state"], "requested");
    stage.work();
    assert_eq!(order_no(&stage, &browser, "100").await, number);
    stage.finish().await;
}

#[tokio::test]
async fn an_order_of_another_payer_does_not_exist() {
    let (stage, _platform) = stage().await;
    stage.work();
    let (alice, bob) = (Browser::logged_in(&stage, "good-Alice").await, Browser::logged_in(&stage, "good-Bob").await);
    let number = order_no(&stage, &alice, "100").await;
    for target in [number.as_str(), "A1"] {
        let reply = status(&stage, &bob, target).await;
        assert_eq!((reply.status, reason(&reply).as_str()), (404, "not_found"), "{target}");
    }
    // An order that the shop's server placed for the payer is the payer's as well.
    let mut order = crate::http::stage::order("SHOP0001");
    order["openid"] = json!(openid_of("good-Alice"));
    assert_eq!(stage.place(&order, &[]).await.status, 200);
    assert_eq!(data(&status(&stage, &alice, "SHOP0001").await)["state"], "payable");
    assert_eq!(status(&stage, &bob, "SHOP0001").await.status, 404);
    assert_eq!(status(&stage, &Browser::default(), &number).await.status, 401);
    assert_eq!(reason(&status(&stage, &alice, "no%20number").await), "bad_parameter");
    stage.finish().await;
}

#[tokio::test]
async fn a_payment_begins_on_one_of_our_pages() {
    let (stage, _platform) = stage().await;
    stage.work();
    let browser = Browser::logged_in(&stage, "good-Alice").await;
    let from = async |headers: &[(&str, &str)]| {
        browser.clone().get_with(&stage, "/api/wechat/pay/payWallet?money=100", headers).await
    };
    for foreign in [
        &[("Sec-Fetch-Site", "cross-site")][..],
        &[("Sec-Fetch-Site", "same-site")],
        &[("Origin", "https://evil.com")],
        &[("Origin", "null")],
        &[("Origin", "https://evil.com"), ("Sec-Fetch-Site", "same-origin")],
    ] {
        let reply = from(foreign).await;
        assert_eq!((reply.status, reason(&reply).as_str()), (403, "bad_origin"), "{foreign:?}");
    }
    for ours in [
        &[][..],
        &[("Sec-Fetch-Site", "same-origin")],
        &[("Sec-Fetch-Site", "none")],
        &[("Origin", "https://m.example.com"), ("Sec-Fetch-Site", "same-site")],
        &[("Origin", "https://pay.example.com")],
    ] {
        assert_eq!(data(&from(ours).await)["state"], "payable", "{ours:?}");
    }
    stage.finish().await;
}

#[tokio::test]
async fn one_payer_cannot_flood_wechat_with_orders() {
    let (stage, _platform) = stage().await;
    stage.work();
    let browser = Browser::logged_in(&stage, "good-Alice").await;
    for fen in 1..=10 {
        order_no(&stage, &browser, &fen.to_string()).await;
    }
    let reply = pay_wallet(&stage, &browser, "11").await;
    assert_eq!((reply.status, reason(&reply).as_str()), (429, "too_many"));
    assert!(reply.header("retry-after").is_some());
    order_no(&stage, &browser, "10").await;
    let other = Browser::logged_in(&stage, "good-Bob").await;
    order_no(&stage, &other, "11").await;
    stage.finish().await;
}

#[tokio::test]
async fn what_wechat_refuses_is_said_with_a_number_and_can_be_tried_again() {
    let platform = super::browser::Platform::start().await;
    let web = super::browser::web(&platform).replace("[web]", "[web]\nwallet_description = \"refuse me\"");
    let stage = Stage::with("", &web).await;
    stage.work();
    let browser = Browser::logged_in(&stage, "good-Alice").await;
    let first = pay_wallet(&stage, &browser, "100").await;
    assert_eq!((first.status, reason(&first).as_str()), (422, "order_failed"));
    let second = pay_wallet(&stage, &browser, "100").await;
    assert_eq!(second.status, 422);
    assert_ne!(first.json()["data"]["order_no"], second.json()["data"]["order_no"]);
    assert!(!first.text().contains("商户无此接口权限"), "WeChat's words are for the shop");
    stage.finish().await;
}

#[tokio::test]
async fn a_payer_has_so_many_open_orders_and_others_are_not_kept_from_paying() {
    let platform = super::browser::Platform::start().await;
    let web = super::browser::web(&platform).replace("[web]", "[web]\nwallet_open_max = 2");
    let stage = Stage::with("", &web).await;
    stage.work();
    let alice = Browser::logged_in(&stage, "good-Alice").await;
    // What requests offered that crashed before they recorded it: of a moment ago, and of longer ago.
    let crashed = async |fen: i64, ago: Duration| {
        let number = OrderNo::parse(format!("W20260301gone{fen}")).unwrap();
        let (app, openid) = (AppKey::parse("shop").unwrap(), OpenId::parse(openid_of("good-Alice")).unwrap());
        let at = stage.clock.now().before(ago);
        stage.store.offer_wallet_order(&app, &openid, Fen::from_i64(fen), None, &number, at).await.unwrap();
    };
    crashed(7, Duration::from_secs(700)).await;
    crashed(8, Duration::from_secs(700)).await;
    let first = order_no(&stage, &alice, "100").await;
    order_no(&stage, &alice, "101").await;
    let reply = pay_wallet(&stage, &alice, "102").await;
    assert_eq!((reply.status, reason(&reply).as_str()), (429, "too_many"));
    // Those that are open can be paid still, and another payer begins his own.
    assert_eq!(order_no(&stage, &alice, "100").await, first);
    let bob = Browser::logged_in(&stage, "good-Bob").await;
    order_no(&stage, &bob, "100").await;
    // A payment makes room.
    stage.pay(&first).await;
    order_no(&stage, &alice, "102").await;
    stage.finish().await;
}
