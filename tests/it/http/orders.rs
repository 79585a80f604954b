//! Placing and reading orders.

use serde_json::{Value, json};
use wxpay_worker::order::OrderState;
use wxpay_worker::secret::V2Key;
use wxpay_worker::wechat::v2::sign;
use wxpay_worker::wechat::v2::xml::Fields;

use super::stage::{KEY, ORDERS_KEY, OTHER_MERCHANT, OTHERS_KEY, Stage, order, with};
use crate::harness::service::KEY as V2_KEY;

#[tokio::test]
async fn an_order_is_answered_with_parameters_that_carry_the_merchants_signature() {
    let stage = Stage::worked().await;
    let body = with(order("A100001"), "metadata", json!({"cart": 7}));
    let reply = stage.place(&body, &[]).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let placed = reply.json();
    assert_eq!((&placed["state"], &placed["amount_fen"]), (&json!("payable"), &json!(100)), "{placed}");
    assert_eq!(placed["attempts"][0], json!({"out_trade_no": "A100001", "trade_type": "JSAPI", "state": "payable"}));
    assert_eq!(placed["metadata"], json!({"cart": 7}));
    assert!(!reply.text().contains("oUpF8u"), "the openid shows");
    let params = placed["pay_params"].as_object().unwrap();
    assert_eq!(params["timeStamp"], params["timestamp"]);
    let signed: Fields = ["appId", "timeStamp", "nonceStr", "package", "signType"]
        .iter()
        .map(|name| ((*name).to_owned(), params[*name].as_str().unwrap().to_owned()))
        .collect();
    let key = V2Key::parse(V2_KEY).unwrap();
    assert_eq!(params["paySign"], sign::sign(&signed, &key, wxpay_worker::trade::SignType::HmacSha256));
    stage.finish().await;
}

#[tokio::test]
async fn the_same_request_again_gets_the_same_order_and_fresh_parameters() {
    let stage = Stage::worked().await;
    let headers = [("Idempotency-Key", "k-1")];
    let first = stage.place(&order("A100001"), &headers).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (200, None));
    let again = stage.place(&order("A100001"), &headers).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (200, Some("true")));
    let (first, again) = (first.json(), again.json());
    assert_eq!(first["order_token"], again["order_token"]);
    assert_eq!(first["created_at"], again["created_at"]);
    assert_ne!(first["pay_params"]["nonceStr"], again["pay_params"]["nonceStr"]);
    stage.finish().await;
}

#[tokio::test]
async fn a_repeat_from_another_machine_of_the_business_is_the_same_request() {
    let stage = Stage::with("trusted_proxies = [\"127.0.0.0/8\"]", "").await;
    stage.work();
    let from = |ip: &'static str| [("X-Forwarded-For", ip)];
    assert_eq!(stage.place(&order("A100001"), &from("203.0.113.7")).await.status, 200);
    assert_eq!(stage.place(&order("A100001"), &from("203.0.113.8")).await.status, 200);
    let stored = stage.stored("A100001").await.unwrap();
    assert_eq!(stored.content.client_ip, "203.0.113.7");
    stage.finish().await;
}

#[tokio::test]
async fn an_invented_forwarded_address_does_not_count() {
    let trusted = Stage::with("trusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]", "").await;
    trusted.work();
    let forwarded = [("X-Forwarded-For", "1.1.1.1, 203.0.113.7, 10.0.0.9")];
    assert_eq!(trusted.place(&order("A100001"), &forwarded).await.status, 200);
    assert_eq!(trusted.stored("A100001").await.unwrap().content.client_ip, "203.0.113.7");
    trusted.finish().await;

    let bare = Stage::worked().await;
    assert_eq!(bare.place(&order("A100001"), &forwarded).await.status, 200);
    assert_eq!(bare.stored("A100001").await.unwrap().content.client_ip, "127.0.0.1");
    bare.finish().await;
}

#[tokio::test]
async fn other_content_under_a_number_or_a_key_is_refused() {
    let stage = Stage::worked().await;
    let key = [("Idempotency-Key", "k-1")];
    assert_eq!(stage.place(&order("A100001"), &key).await.status, 200);
    let dearer = with(order("A100001"), "amount_fen", json!(101));
    let reply = stage.place(&dearer, &[]).await;
    assert_eq!((reply.status, reply.problem().as_str()), (409, "order_differs"));
    let reply = stage.place(&dearer, &key).await;
    assert_eq!((reply.status, reply.problem().as_str()), (422, "key_reused"));
    let reply = stage.place(&order("A100002"), &key).await;
    assert_eq!((reply.status, reply.problem().as_str()), (422, "key_reused"));
    assert!(stage.stored("A100002").await.is_none());
    assert_eq!(stage.stored("A100001").await.unwrap().order.amount.as_i64(), 100);
    stage.finish().await;
}

#[tokio::test]
async fn of_two_requests_at_once_with_other_content_one_wins_and_one_gets_a_conflict() {
    let stage = Stage::worked().await;
    for n in 0..8 {
        let number = format!("RACE{n:04}");
        let (a, b) = (order(&number), with(order(&number), "amount_fen", json!(200)));
        let (a, b) = tokio::join!(stage.place(&a, &[]), stage.place(&b, &[]));
        let mut statuses = [a.status, b.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409], "{} {}", a.text(), b.text());
        let won = if a.status == 200 { &a } else { &b };
        assert_eq!(won.json()["amount_fen"], stage.stored(&number).await.unwrap().order.amount.as_i64());
    }
    stage.finish().await;
}

#[tokio::test]
async fn a_refused_order_tells_wechats_words() {
    let stage = Stage::worked().await;
    let reply = stage.place(&with(order("A100001"), "description", json!("refuse me")), &[]).await;
    assert_eq!((reply.status, reply.problem().as_str()), (422, "order_failed"));
    let problem = reply.json();
    assert_eq!(problem["order_no"], "A100001");
    assert_eq!(problem["wechat"], json!({"err_code": "NOAUTH", "err_code_des": "商户无此接口权限"}));
    let order = stage.get("/v1/orders/A100001").await.json();
    assert_eq!((&order["state"], &order["pay_params"]), (&json!("failed"), &Value::Null));
    stage.finish().await;
}

#[tokio::test]
async fn every_problem_of_a_request_is_reported_at_once() {
    let stage = Stage::start().await;
    let body = json!({
        "order_no": "quote'", "amount_fen": 0, "description": "a\u{1}b", "trade_type": "NATIVE", "openid": "o1",
        "client_ip": "host", "attach": "x".repeat(128), "expires_at": "2026-03-01T02:03:05Z", "metadata": [],
        "app": "foreign", "colour": "red",
    });
    let places = stage.place(&body, &[]).await.invalid();
    let all = [
        "/amount_fen",
        "/app",
        "/attach",
        "/client_ip",
        "/colour",
        "/description",
        "/expires_at",
        "/metadata",
        "/openid",
        "/order_no",
        "/product_id",
    ];
    assert_eq!(places, all);
    let places = stage.place(&json!({}), &[]).await.invalid();
    assert_eq!(places, ["/amount_fen", "/description", "/order_no", "/trade_type"]);
    stage.finish().await;
}

#[tokio::test]
async fn an_amount_that_is_not_a_plain_whole_number_is_refused() {
    let stage = Stage::start().await;
    for amount in
        ["0", "-1", "1.5", "1.0", "1e3", "\"100\"", "\" 100\"", "9223372036854775808", "10000000001", "-0", "true"]
    {
        let body = order("A100001").to_string().replace("\"amount_fen\":100", &format!("\"amount_fen\":{amount}"));
        assert_eq!(stage.place_text(&body, &[]).await.invalid(), ["/amount_fen"], "{amount}");
    }
    let body = order("A100001").to_string().replace("\"amount_fen\":100", "\"amount_fen\":001");
    assert_eq!(stage.place_text(&body, &[]).await.problem(), "malformed");
    assert!(stage.stored("A100001").await.is_none());
    stage.finish().await;
}

#[tokio::test]
async fn an_order_number_that_could_leave_its_place_is_refused() {
    let stage = Stage::start().await;
    for number in ["", "a'b", "a\"b", "a%00", "a\u{0}b", "😀", "a.b", "a*", "a>", "a b", "a/b", &"x".repeat(33)] {
        let reply = stage.place(&with(order("A1"), "order_no", json!(number)), &[]).await;
        assert_eq!(reply.invalid(), ["/order_no"], "{number:?}");
    }
    for path in ["a%27b", "a%00", "%F0%9F%98%80", "a.b", "a*", "%3E", "%ff", &"x".repeat(33)] {
        let reply = stage.get(&format!("/v1/orders/{path}")).await;
        assert_eq!(reply.invalid(), ["order_no"], "{path:?}");
    }
    stage.finish().await;
}

#[tokio::test]
async fn texts_are_measured_in_bytes_and_trade_types_get_what_they_need() {
    let stage = Stage::worked().await;
    let tea = |n: usize| with(order("A100001"), "description", json!("茶".repeat(n)));
    assert_eq!(stage.place(&tea(43), &[]).await.invalid(), ["/description"]);
    assert_eq!(stage.place(&tea(42), &[]).await.status, 200);
    for (trade_type, needs) in [("JSAPI", "/openid"), ("NATIVE", "/product_id"), ("MWEB", "/scene_info")] {
        let mut body = with(order("A100002"), "trade_type", json!(trade_type));
        body["client_ip"] = json!("203.0.113.7");
        body.as_object_mut().unwrap().remove("openid");
        assert_eq!(stage.place(&body, &[]).await.invalid(), [needs]);
    }
    stage.finish().await;
}

#[tokio::test]
async fn bodies_that_are_no_json_object_are_refused() {
    let stage = Stage::start().await;
    let twice = r#"{"order_no":"A1","order_no":"A2"}"#;
    for body in ["", "[]", "null", "{", "\u{feff}{}", twice, "{\"a\":\"\\ud800\"", &"[".repeat(20_000)] {
        let reply = stage.place_text(body, &[]).await;
        assert_eq!((reply.status, reply.problem().as_str()), (400, "malformed"), "{body:.40}");
    }
    for (body, says) in [
        ("{\"order_no\": \"A1\",\n \"amount_fen\": 1 \"x\"}", "line 2, column 18: not JSON"),
        ("{\"order_no\": \"A1\"", "column 17: it ends too early"),
        (twice, "not an object, or a member appears twice"),
        ("[]", "line 1, column 0: not an object"),
    ] {
        let detail = stage.place_text(body, &[]).await.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(says) && !detail.contains("A1"), "{detail}");
    }
    let lone = r#"{"order_no":"\ud800","amount_fen":1,"description":"x","trade_type":"APP"}"#;
    assert_eq!(stage.place_text(lone, &[]).await.invalid(), ["/order_no"]);
    stage.finish().await;
}

#[tokio::test]
async fn an_expiry_is_checked_when_the_order_is_new_and_not_when_it_is_repeated() {
    let stage = Stage::worked().await;
    let until = |at: &str| with(order("A100001"), "expires_at", json!(at));
    for at in ["2026-03-01T02:04:04Z", "2026-03-08T02:03:05Z", "2026-02-01T00:00:00Z", "tomorrow"] {
        assert_eq!(stage.place(&until(at), &[]).await.invalid(), ["/expires_at"], "{at}");
    }
    let good = until("2026-03-01T10:05:04+08:00");
    assert_eq!(stage.place(&good, &[]).await.json()["expires_at"], "2026-03-01T02:05:04.000Z");
    stage.clock.advance(std::time::Duration::from_secs(600));
    let later = stage.place(&good, &[]).await;
    assert_eq!((later.status, &later.json()["pay_params"]), (200, &Value::Null));
    stage.finish().await;
}

#[tokio::test]
async fn a_paid_order_says_so_and_offers_nothing() {
    let stage = Stage::worked().await;
    stage.place(&order("A100001"), &[]).await;
    stage.pay("A100001").await;
    let paid = stage.get("/v1/orders/A100001").await.json();
    assert_eq!((&paid["state"], &paid["transaction_id"]), (&json!("paid"), &json!("42000A100001")));
    assert_eq!((&paid["paid_at"], &paid["pay_params"]), (&json!("2026-03-01T02:03:04.000Z"), &Value::Null));
    let reply = stage.get("/v1/orders/A100001/pay-params").await;
    assert_eq!((reply.status, reply.problem().as_str()), (409, "order_ended"));
    stage.finish().await;
}

#[tokio::test]
async fn another_trade_type_waits_until_wechat_lets_the_old_attempt_be_closed() {
    let stage = Stage::worked().await;
    stage.place(&order("A100001"), &[]).await;
    let same = stage.get("/v1/orders/A100001/pay-params?trade_type=JSAPI").await.json();
    assert_eq!(same["pay_params"]["appId"], "wx8888888888888888");
    let reply = stage.get("/v1/orders/A100001/pay-params?trade_type=NATIVE").await;
    assert_eq!((reply.status, reply.problem().as_str()), (409, "attempt_open"));
    assert_eq!(reply.header("retry-after"), Some("301"), "five minutes after the attempt was made, and not before");
    let without = stage.get("/v1/orders/A100001/pay-params?trade_type=MWEB").await;
    assert_eq!(without.invalid(), ["trade_type"], "a page's address was never given");
    assert_eq!(stage.get("/v1/orders/A100001/pay-params?trade_type=CASH").await.invalid(), ["trade_type"]);
    assert_eq!(stage.get("/v1/orders/NONE01/pay-params").await.problem(), "not_found");
    stage.finish().await;
}

#[tokio::test]
async fn until_a_new_attempt_is_opened_no_request_gets_the_old_ones_parameters_for_it() {
    let stage = Stage::with("order_wait_ms = 200", "").await;
    stage.work();
    stage.place(&order("A100001"), &[("Prefer", "wait=20")]).await;
    stage.clock.advance(std::time::Duration::from_secs(301));
    // No worker comes to it in that time.
    let reply = stage.get("/v1/orders/A100001/pay-params?trade_type=NATIVE").await;
    assert_eq!((reply.status, reply.problem().as_str()), (503, "not_ready"));
    let another = json!({"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS61"}).to_string();
    let authorization = format!("Bearer {KEY}");
    let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
    let reply = stage.send("POST", "/v1/orders/A100001/attempts", &headers, another.as_bytes()).await;
    assert_eq!((reply.status, &reply.json()["pay_params"]), (202, &Value::Null), "{}", reply.text());
    let still = stage.get("/v1/orders/A100001").await.json();
    assert!(still["pay_params"]["package"].is_string(), "the first payer's are there all the time: {still}");
    stage.finish().await;
}

#[tokio::test]
async fn an_old_prepay_id_is_never_offered_and_a_fresh_one_is_fetched() {
    let stage = Stage::with("", "[orders]\ndefault_expiry_minutes = 600\n").await;
    stage.work();
    let first = stage.place(&order("A100001"), &[]).await.json();
    stage.clock.advance(std::time::Duration::from_secs(109 * 60));
    let still = stage.get("/v1/orders/A100001/pay-params").await.json();
    assert_eq!(still["pay_params"]["package"], first["pay_params"]["package"]);
    stage.clock.advance(std::time::Duration::from_secs(2 * 60));
    assert_eq!(stage.get("/v1/orders/A100001").await.json()["pay_params"], Value::Null);
    let fresh = stage.place(&order("A100001"), &[]).await;
    assert_eq!(fresh.status, 200, "{}", fresh.text());
    assert_ne!(fresh.json()["pay_params"]["package"], first["pay_params"]["package"]);
    assert_eq!(stage.stored("A100001").await.unwrap().order.state, OrderState::Payable);
    stage.finish().await;
}

#[tokio::test]
async fn the_address_of_a_browsers_payment_is_renewed_before_it_dies() {
    let stage = Stage::worked().await;
    let wap = json!({"h5_info": {"type": "Wap", "wap_url": "https://m.example.com", "wap_name": "shop"}});
    let mut body = with(with(order("A100001"), "trade_type", json!("MWEB")), "scene_info", wap);
    body["client_ip"] = json!("203.0.113.7");
    body.as_object_mut().unwrap().remove("openid");
    let first = stage.place(&body, &[]).await.json();
    assert!(first["pay_params"]["mweb_url"].is_string(), "{first}");
    stage.clock.advance(std::time::Duration::from_secs(4 * 60 - 1));
    let still = stage.get("/v1/orders/A100001/pay-params").await.json();
    assert_eq!(still["pay_params"]["mweb_url"], first["pay_params"]["mweb_url"]);
    stage.clock.advance(std::time::Duration::from_secs(1));
    assert_eq!(stage.get("/v1/orders/A100001").await.json()["pay_params"], Value::Null);
    let fresh = stage.get("/v1/orders/A100001/pay-params").await;
    assert_eq!(fresh.status, 200, "{}", fresh.text());
    let fresh = fresh.json();
    assert!(fresh["pay_params"]["mweb_url"].is_string(), "{fresh}");
    assert_ne!(fresh["pay_params"]["mweb_url"], first["pay_params"]["mweb_url"]);
    stage.finish().await;
}

#[tokio::test]
async fn with_several_merchants_one_is_named_and_what_a_key_may_not_see_does_not_exist() {
    let stage = Stage::with("", OTHER_MERCHANT).await;
    stage.work();
    assert_eq!(stage.place(&order("A100001"), &[]).await.invalid(), ["/merchant"]);
    let main = with(order("A100001"), "merchant", json!("main"));
    assert_eq!(stage.place(&main, &[]).await.status, 200);
    assert_eq!(stage.get("/v1/orders/A100001").await.invalid(), ["merchant"]);
    assert_eq!(stage.get("/v1/orders/A100001?merchant=main").await.status, 200);
    assert_eq!(stage.get("/v1/orders/A100001?merchant=other").await.problem(), "not_found");
    let others = format!("Bearer {OTHERS_KEY}");
    let auth = [("Authorization", others.as_str()), ("Content-Type", "application/json")];
    let foreign = stage.send("GET", "/v1/orders/A100001?merchant=main", &auth, b"").await;
    assert_eq!((foreign.status, foreign.problem().as_str()), (404, "not_found"));
    let own = stage.send("GET", "/v1/orders/A100001", &auth, b"").await;
    assert_eq!((own.status, own.problem().as_str()), (404, "not_found"));
    let foreign = stage.send("POST", "/v1/orders", &auth, main.to_string().as_bytes()).await;
    assert_eq!((foreign.status, foreign.problem().as_str()), (404, "not_found"));
    stage.finish().await;
}

#[tokio::test]
async fn keys_open_what_their_scopes_say() {
    let stage = Stage::start().await;
    let (missing, unknown) = ("an API key is needed", "the API key is not one of this service");
    for (header, says) in
        [("", missing), ("Bearer", missing), ("Bearer nonsense", unknown), ("Basic d3hrOng=", missing), (KEY, missing)]
    {
        let reply = stage.send("GET", "/v1/orders/A1", &[("Authorization", header)], b"").await;
        assert_eq!((reply.status, reply.problem().as_str()), (401, "unauthorized"), "{header}");
        assert!(reply.json()["detail"].as_str().unwrap().starts_with(says), "{}", reply.text());
        assert!(reply.header("www-authenticate").unwrap().starts_with("Bearer"));
    }
    let orders_only = format!("bearer {ORDERS_KEY}");
    let auth = [("Authorization", orders_only.as_str())];
    assert_eq!(stage.send("GET", "/v1/orders/A1", &auth, b"").await.problem(), "not_found");
    let events = stage.send("GET", "/v1/events", &auth, b"").await;
    assert_eq!((events.status, events.problem().as_str()), (403, "forbidden"));
    assert_eq!(stage.get("/v1/events").await.status, 200);
    stage.finish().await;
}

#[tokio::test]
async fn closing_a_paid_order_is_refused_with_the_reason() {
    let stage = Stage::worked().await;
    stage.place(&order("A100001"), &[]).await;
    stage.pay("A100001").await;
    let headers = [("Authorization", &*format!("Bearer {KEY}"))];
    let reply = stage.send("POST", "/v1/orders/A100001/close", &headers, b"").await;
    assert_eq!((reply.status, reply.problem().as_str()), (409, "order_ended"));
    let detail = reply.json()["detail"].clone();
    assert_eq!(detail, "the order is paid: it can be neither closed nor paid again");
    stage.finish().await;
}
