//! What a page meets in WeChat's browser: `wx.config`, the payment call, the cashier, and who may ask.

use std::time::Duration;

use reqwest::header::{COOKIE, ORIGIN};
use serde_json::{Value, json};
use sha1::{Digest, Sha1};
use wxpay_worker::sandbox::{Options, Sandbox};
use wxpay_worker::secret::hex_lower;
use wxpay_worker::trade::SignType;
use wxpay_worker::wechat::v2::sign::sign;
use wxpay_worker::wechat::v2::xml::Fields;

use crate::sandbox::parts::{
    APPID, MINI_APPID, OPENID, SECOND_APPID, SECOND_SECRET, Shop, clock, good, key, loopback, order, other_key,
    settings, with,
};

const PAGE: &str = "http://127.0.0.1:8080/demo?from=menu";

async fn ticket(shop: &Shop) -> String {
    let token = good(&shop.stable().await, "access_token").to_owned();
    good(&shop.ticket(&token).await, "ticket").to_owned()
}

fn sha1_hex(text: &str) -> String {
    hex_lower(Sha1::digest(text.as_bytes()).as_slice())
}

/// A `wx.config` block as a right server signs it.
fn config(ticket: &str, url: &str) -> Value {
    let text = format!("jsapi_ticket={ticket}&noncestr=Wm3WZYTPz0wzccnW&timestamp=1414587457&url={url}");
    json!({
        "url": url, "appId": APPID, "timestamp": 1_414_587_457, "nonceStr": "Wm3WZYTPz0wzccnW",
        "signature": sha1_hex(&text), "jsApiList": ["chooseWXPay", "updateAppMessageShareData"],
    })
}

async fn configured(shop: &Shop, body: Value) -> Value {
    let (status, answer) = shop.control("bridge/config", body).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

async fn words(shop: &Shop, body: Value) -> String {
    configured(shop, body).await["errMsg"].as_str().unwrap().to_owned()
}

fn changed(body: &Value, name: &str, value: Value) -> Value {
    let mut body = body.clone();
    body[name] = value;
    body
}

/// A payment block as a right server signs it.
fn block(prepay_id: &str, appid: &str, sign_type: SignType) -> Value {
    let fields: Fields = [
        ("appId", appid),
        ("timeStamp", "1735787045"),
        ("nonceStr", "e61463f8efa94090b1f366cccfbbb444"),
        ("package", &format!("prepay_id={prepay_id}")),
        ("signType", sign_type.as_str()),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let pay_sign = sign(&fields, &key(), sign_type);
    let mut block = json!(fields);
    block["paySign"] = json!(pay_sign);
    block
}

async fn seated(shop: &Shop) {
    shop.operate("user", json!({"openid": OPENID})).await;
}

async fn invoke(shop: &Shop, params: &Value) -> Value {
    let (status, answer) = shop.control("bridge/pay", json!({"via": "bridge", "url": PAGE, "params": params})).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

async fn act(shop: &Shop, sheet: &Value, action: &str) -> (u16, Value) {
    shop.control("bridge/act", json!({"sheet": sheet, "action": action})).await
}

#[tokio::test]
async fn a_right_config_holds_with_every_live_ticket() {
    let shop = Shop::open().await;
    let first = ticket(&shop).await;
    assert_eq!(words(&shop, config(&first, PAGE)).await, "config:ok");
    let as_text = changed(&config(&first, PAGE), "timestamp", json!("1414587457"));
    assert_eq!(words(&shop, as_text).await, "config:ok");
    shop.clock.advance(Duration::from_secs(115 * 60));
    let second = ticket(&shop).await;
    assert_ne!(first, second);
    for ticket in [&first, &second] {
        assert_eq!(words(&shop, config(ticket, PAGE)).await, "config:ok");
    }
    shop.clock.advance(Duration::from_secs(5 * 60));
    assert_eq!(words(&shop, config(&first, PAGE)).await, "config:invalid signature", "the first is dead");
    assert_eq!(words(&shop, config(&second, PAGE)).await, "config:ok");
    shop.operate("kill_tokens", json!({"appid": APPID, "tickets": true})).await;
    assert_eq!(words(&shop, config(&second, PAGE)).await, "config:invalid signature");
}

#[tokio::test]
async fn whatever_is_wrong_with_a_config_is_said_in_wechats_words() {
    let shop = Shop::open().await;
    let ticket = ticket(&shop).await;
    let right = config(&ticket, PAGE);
    let signature = right["signature"].as_str().unwrap().to_uppercase();
    let other = good(&shop.stable_of(SECOND_APPID, SECOND_SECRET, false).await, "access_token").to_owned();
    let other = good(&shop.ticket(&other).await, "ticket").to_owned();
    for (body, expected) in [
        (changed(&right, "url", json!("http://127.0.0.1:8080/demo")), "config:invalid signature"),
        (changed(&right, "url", json!(format!("{PAGE}#/pay"))), "config:invalid signature"),
        (changed(&right, "timestamp", json!(1_414_587_458)), "config:invalid signature"),
        (changed(&right, "timestamp", Value::Null), "config:invalid signature"),
        (changed(&right, "nonceStr", json!("other")), "config:invalid signature"),
        (changed(&right, "nonceStr", Value::Null), "config:invalid signature"),
        (changed(&right, "signature", json!(signature)), "config:invalid signature"),
        (config(&other, PAGE), "config:invalid signature"),
        (changed(&right, "appId", json!("wx0000000000000000")), "config:fail, invalid appid"),
        (changed(&right, "appId", json!(MINI_APPID)), "config:fail, invalid appid"),
        (changed(&right, "jsApiList", json!([])), "config:fail, jsApiList is empty"),
        (config(&ticket, "https://shop.example.com/"), "config:invalid url domain"),
        (config(&ticket, "http://127.0.0.1@shop.example.com/"), "config:invalid url domain"),
    ] {
        assert_eq!(words(&shop, body.clone()).await, expected, "{body}");
    }
    shop.operate("user", json!({"snapshot": true})).await;
    assert_eq!(words(&shop, right).await, "config:permission denied", "a snapshot page has no JS-SDK");
}

#[tokio::test]
async fn pages_are_on_the_apps_domains_and_only_those_pages_may_call() {
    let mut settings = settings(1);
    settings.apps[0].js_domains = vec!["m.shop.cn".into(), "127.0.0.1:8080".into()];
    let options = Options { clock: clock(), ..Options::default() };
    let shop = Shop::over(Sandbox::start_with(loopback().await, settings, options).await.unwrap(), clock());
    let ticket = ticket(&shop).await;
    for (url, expected) in [
        ("https://m.shop.cn/x", "config:ok"),
        (PAGE, "config:ok"),
        ("http://127.0.0.1:8081/demo", "config:invalid url domain"),
        ("https://shop.cn/x", "config:invalid url domain"),
    ] {
        assert_eq!(words(&shop, config(&ticket, url)).await, expected, "{url}");
    }
    let url = format!("{}/_sandbox/bridge/config", shop.base);
    let from = async |origin: &str, page: &str| {
        let body = config(&ticket, page).to_string();
        shop.http.post(&url).header(ORIGIN, origin).body(body).send().await.unwrap()
    };
    let answer = from("https://m.shop.cn", "https://m.shop.cn/x").await;
    assert_eq!(answer.headers()["access-control-allow-origin"], "https://m.shop.cn");
    assert_eq!(answer.headers()["access-control-allow-credentials"], "true");
    assert_eq!(answer.headers()["vary"], "origin");
    assert!(answer.text().await.unwrap().contains("config:ok"));
    let lying = from("https://m.shop.cn", PAGE).await.text().await.unwrap();
    assert!(lying.contains("config:invalid url domain"), "the page says another address than it has: {lying}");
    for origin in ["https://evil.example.com", "null", "https://m.shop.cn.evil.example.com"] {
        let answer = from(origin, PAGE).await;
        assert_eq!(answer.status(), 403, "{origin}");
        assert!(!answer.headers().contains_key("access-control-allow-origin"));
    }
    let ask = |path: &str, origin: &str| {
        let url = format!("{}/_sandbox/bridge/{path}", shop.base);
        shop.http.request(reqwest::Method::OPTIONS, url).header(ORIGIN, origin).send()
    };
    for path in ["config", "pay", "act"] {
        let allowed = ask(path, "http://127.0.0.1:8080").await.unwrap();
        assert_eq!(allowed.status(), 204, "{path}");
        assert_eq!(allowed.headers()["access-control-allow-headers"], "content-type");
        assert_eq!(ask(path, "https://evil.example.com").await.unwrap().status(), 403, "{path}");
    }
    let control = ask("behaviour", "http://127.0.0.1:8080").await.unwrap();
    assert!(!control.headers().contains_key("access-control-allow-origin"), "no page may rule the simulator");
}

#[tokio::test]
async fn a_right_block_opens_the_cashier_and_the_payer_decides_once() {
    let shop = Shop::open().await;
    seated(&shop).await;
    let prepay_id = shop.prepay(order("A100001")).await;
    let params = block(&prepay_id, APPID, SignType::Md5);
    let cashier = invoke(&shop, &params).await;
    assert_eq!(cashier["result"], "sheet", "{cashier}");
    let shown = (cashier["amount"].as_str(), cashier["body"].as_str(), cashier["payee"].as_str());
    assert_eq!(shown, (Some("0.88"), Some("QQ公仔 & <b>"), Some("10000100")));
    assert_eq!(shop.payments().await, 0, "asking is not paying");
    let (status, left) = act(&shop, &cashier["sheet"], "cancel").await;
    assert_eq!((status, left["err_msg"].as_str()), (200, Some("get_brand_wcpay_request:cancel")));
    assert_eq!(shop.ledger().await["orders"][0]["cancels"], 1);
    assert_eq!(act(&shop, &cashier["sheet"], "pay").await.0, 409, "that cashier is closed");
    let cashier = invoke(&shop, &params).await;
    let (_, paid) = act(&shop, &cashier["sheet"], "pay").await;
    assert_eq!(paid["err_msg"], "get_brand_wcpay_request:ok");
    assert_eq!(shop.ledger().await["payments"][0]["openid"], OPENID);
    let again = invoke(&shop, &params).await;
    assert_eq!(
        (again["err_msg"].as_str(), again["err_desc"].as_str()),
        (Some("get_brand_wcpay_request:fail"), Some("该订单已支付"))
    );
    assert_eq!(shop.payments().await, 1);
}

#[tokio::test]
async fn two_cashiers_of_one_order_take_one_payment() {
    let shop = Shop::open().await;
    seated(&shop).await;
    let params = block(&shop.prepay(order("A100001")).await, APPID, SignType::Md5);
    let (one, two) = (invoke(&shop, &params).await, invoke(&shop, &params).await);
    assert_eq!(act(&shop, &one["sheet"], "pay").await.1["result"], "ok");
    let late = act(&shop, &two["sheet"], "pay").await.1;
    assert_eq!((late["result"].as_str(), late["err_desc"].as_str()), (Some("fail"), Some("该订单已支付")));
    assert_eq!(shop.payments().await, 1);
}

#[tokio::test]
async fn whatever_is_wrong_with_a_block_is_said_in_wechats_words() {
    let shop = Shop::open().await;
    seated(&shop).await;
    let prepay_id = shop.prepay(order("A100001")).await;
    let right = block(&prepay_id, APPID, SignType::Md5);
    let mut missing = right.clone();
    missing.as_object_mut().unwrap().remove("nonceStr");
    let stranger = {
        let mut stranger = right.clone();
        let fields: Fields = right
            .as_object()
            .unwrap()
            .iter()
            .filter(|(n, _)| *n != "paySign")
            .map(|(n, v)| (n.clone(), v.as_str().unwrap().into()))
            .collect();
        stranger["paySign"] = json!(sign(&fields, &other_key(), SignType::Md5));
        stranger
    };
    let closed = shop.prepay(order("CLOSED-01")).await;
    shop.close("CLOSED-01").await;
    let payable = shop.prepay(with(order("B100001"), &[("openid", "oUpF8uMuAJO_M2pxb1Q9zNjWeS7o")])).await;
    for (params, desc) in [
        (changed(&right, "timeStamp", json!(1_735_787_045)), "调用支付JSAPI缺少参数：timeStamp"),
        (changed(&right, "appId", json!("")), "调用支付JSAPI缺少参数：appId"),
        (missing, "调用支付JSAPI缺少参数：nonceStr"),
        (changed(&right, "package", json!(prepay_id)), "调用支付JSAPI缺少参数：package"),
        (changed(&right, "paySign", json!("0".repeat(32))), "支付验证签名失败"),
        (changed(&right, "timeStamp", json!("1735787046")), "支付验证签名失败"),
        (changed(&right, "signType", json!("SHA1")), "支付验证签名失败"),
        (stranger, "支付验证签名失败"),
        (block(&prepay_id, APPID, SignType::HmacSha256), "支付验证签名失败"),
        (block(&prepay_id, SECOND_APPID, SignType::Md5), "该商户传入的appid参数与下单时传入的appid参数不一致"),
        (block("wx00000000000000000000000000000000000", APPID, SignType::Md5), "缺少参数:total_fee"),
        (block(&closed, APPID, SignType::Md5), "该订单已关闭"),
        (block(&payable, APPID, SignType::Md5), "当前支付账号与下单账号不一致"),
    ] {
        let answer = invoke(&shop, &params).await;
        assert_eq!(answer["err_msg"], "get_brand_wcpay_request:fail");
        assert_eq!(answer["err_desc"], desc, "{params}");
    }
    let foreign = json!({"via": "bridge", "url": "https://shop.example.com/", "params": right});
    let answer = shop.control("bridge/pay", foreign).await.1;
    assert_eq!(answer["err_desc"], "当前页面的URL未注册：https://shop.example.com/");
    shop.clock.advance(Duration::from_secs(2 * 3600));
    assert_eq!(invoke(&shop, &right).await["err_desc"], "缺少参数:total_fee", "the session is two hours old");
    assert_eq!(shop.payments().await, 0);
}

#[tokio::test]
async fn an_order_signed_with_hmac_wants_a_block_signed_with_hmac() {
    let shop = Shop::open().await;
    seated(&shop).await;
    let answer = shop.call("unifiedorder", order("A100001"), SignType::HmacSha256).await;
    let hmac = block(&answer["prepay_id"], APPID, SignType::HmacSha256);
    assert_eq!(invoke(&shop, &hmac).await["result"], "sheet");
    let md5 = block(&answer["prepay_id"], APPID, SignType::Md5);
    assert_eq!(invoke(&shop, &md5).await["err_desc"], "支付验证签名失败");
}

#[tokio::test]
async fn each_browser_pays_as_its_own_user() {
    let shop = Shop::open().await;
    let users = shop.get("platform/users").await;
    let second = users["users"][1]["openids"][APPID].as_str().unwrap().to_owned();
    let prepay_id = shop.prepay(with(order("A100001"), &[("openid", &second)])).await;
    let params = block(&prepay_id, APPID, SignType::Md5);
    assert_eq!(invoke(&shop, &params).await["err_desc"], "当前支付账号与下单账号不一致");
    let body = json!({"via": "bridge", "url": PAGE, "params": params}).to_string();
    let url = format!("{}/_sandbox/bridge/pay", shop.base);
    let answer = shop.http.post(url).header(COOKIE, "sandbox_user=1").body(body).send().await.unwrap();
    let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!(answer["result"], "sheet", "{answer}");
}

#[tokio::test]
async fn choosing_wxpay_needs_a_config_that_allowed_it() {
    let shop = Shop::open().await;
    seated(&shop).await;
    let ticket = ticket(&shop).await;
    let block = block(&shop.prepay(order("A100001")).await, APPID, SignType::Md5);
    let params = json!({
        "timestamp": 1_735_787_045, "nonceStr": block["nonceStr"], "package": block["package"],
        "signType": block["signType"], "paySign": block["paySign"],
    });
    let choose = async |grant: Value, params: Value| {
        let body = json!({"via": "chooseWXPay", "grant": grant, "url": PAGE, "params": params});
        shop.control("bridge/pay", body).await.1
    };
    let verifying = "chooseWXPay:fail, the permission value is offline verifying";
    assert_eq!(choose(Value::Null, params.clone()).await["errMsg"], verifying);
    assert_eq!(choose(json!("made-up"), params.clone()).await["errMsg"], verifying);
    let share_only = changed(&config(&ticket, PAGE), "jsApiList", json!(["updateAppMessageShareData"]));
    let share_only = configured(&shop, share_only).await["grant"].clone();
    assert_eq!(choose(share_only, params.clone()).await["errMsg"], verifying);
    let grant = configured(&shop, config(&ticket, PAGE)).await["grant"].clone();
    let capital = choose(grant.clone(), block).await;
    assert_eq!(capital["errMsg"], "chooseWXPay:fail, 调用支付JSAPI缺少参数：timestamp");
    let cashier = choose(grant, params).await;
    assert_eq!(act(&shop, &cashier["sheet"], "pay").await.1["errMsg"], "chooseWXPay:ok");
    assert_eq!(shop.payments().await, 1);
}

#[tokio::test]
async fn the_next_payment_can_be_made_to_lie_fail_cancel_or_pay_but_never_past_the_checks() {
    let shop = Shop::open().await;
    seated(&shop).await;
    let params = block(&shop.prepay(order("A100001")).await, APPID, SignType::Md5);
    let next = async |next: Value| shop.control("bridge/behaviour", json!({"next": next})).await;
    next(json!("lie_ok")).await;
    let wrong = changed(&params, "paySign", json!("0".repeat(32)));
    assert_eq!(invoke(&shop, &wrong).await["err_desc"], "支付验证签名失败");
    assert_eq!(invoke(&shop, &params).await["err_msg"], "get_brand_wcpay_request:ok");
    assert_eq!(shop.payments().await, 0, "it lied");
    assert_eq!(invoke(&shop, &params).await["result"], "sheet", "once");
    next(json!("fail")).await;
    assert_eq!(invoke(&shop, &params).await["err_msg"], "get_brand_wcpay_request:fail");
    next(json!("cancel")).await;
    assert_eq!(invoke(&shop, &params).await["err_msg"], "get_brand_wcpay_request:cancel");
    next(json!("pay")).await;
    next(Value::Null).await;
    assert_eq!(invoke(&shop, &params).await["result"], "sheet", "taken back");
    next(json!("pay")).await;
    assert_eq!(invoke(&shop, &params).await["err_msg"], "get_brand_wcpay_request:ok");
    assert_eq!(shop.payments().await, 1);
    assert_eq!(next(json!("explode")).await.0, 400);
}

#[tokio::test]
async fn a_mini_programs_block_is_checked_and_paid_without_a_page() {
    let shop = Shop::open().await;
    let answer = shop.raw("unifiedorder", with(order("M100001"), &[("appid", MINI_APPID)]), SignType::Md5).await;
    let prepay_id = answer["prepay_id"].clone();
    let mut params = block(&prepay_id, MINI_APPID, SignType::Md5);
    params.as_object_mut().unwrap().remove("appId");
    let request = async |more: Value| {
        let mut body = json!({"appid": MINI_APPID, "openid": OPENID, "params": params});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        shop.control("bridge/request_payment", body).await.1["errMsg"].as_str().unwrap().to_owned()
    };
    let app = "requestPayment:fail, 该商户传入的appid参数与下单时传入的appid参数不一致";
    assert_eq!(request(json!({"appid": APPID})).await, app);
    let payer = "requestPayment:fail, 当前支付账号与下单账号不一致";
    assert_eq!(request(json!({"openid": "oAnotherPerson"})).await, payer);
    assert_eq!(request(json!({"action": "cancel"})).await, "requestPayment:fail cancel");
    assert_eq!(shop.payments().await, 0);
    assert_eq!(request(json!({})).await, "requestPayment:ok");
    assert_eq!(shop.payments().await, 1);
    assert_eq!(request(json!({})).await, "requestPayment:fail, 该订单已支付");
}

#[tokio::test]
async fn the_script_is_served_to_pages_of_any_origin_and_names_no_other_host() {
    let shop = Shop::open().await;
    let answer = shop.http.get(format!("{}/_sandbox/jweixin.js", shop.base)).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/javascript; charset=utf-8");
    assert_eq!(answer.headers()["cross-origin-resource-policy"], "cross-origin");
    let script = answer.text().await.unwrap();
    for name in [
        "WeixinJSBridgeReady",
        "getBrandWCPayRequest",
        "chooseWXPay",
        "updateAppMessageShareData",
        "updateTimelineShareData",
        "onMenuShareTimeline",
        "onMenuShareQZone",
        "checkJsApi",
    ] {
        assert!(script.contains(name), "{name}");
    }
    for forbidden in ["http:", "https:", "eval(", "innerHTML", "document.write"] {
        assert!(!script.contains(forbidden), "{forbidden}");
    }
}
