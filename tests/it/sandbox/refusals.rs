//! What WeChat does not accept, and on which of its two layers.

use wxpay_worker::trade::SignType;
use wxpay_worker::wechat::v2::sign::seal;
use wxpay_worker::wechat::v2::xml;
use wxpay_worker::wechat::v2::xml::Fields;

use super::parts::{APPID, OTHER_APPID, SECOND_APPID, Shop, key, mweb, native, order, other_key, sealed, with};

/// The unsigned answer of the communication layer.
async fn refused(shop: &Shop, method: reqwest::Method, path: &str, body: Vec<u8>) -> String {
    let answer = shop.http.request(method, format!("{}{path}", shop.base)).body(body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let fields = xml::parse(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!(fields["return_code"], "FAIL");
    let names: Vec<&str> = fields.keys().map(String::as_str).collect();
    assert_eq!(names, ["return_code", "return_msg"], "a refused message gets no signature");
    fields["return_msg"].clone()
}

async fn refused_order(shop: &Shop, fields: Fields) -> String {
    let body = xml::write(&sealed(fields, SignType::Md5)).into_bytes();
    refused(shop, reqwest::Method::POST, "/pay/unifiedorder", body).await
}

#[tokio::test]
async fn a_wrong_signature_is_refused_unsigned_with_either_algorithm() {
    let shop = Shop::open().await;
    for path in ["/pay/unifiedorder", "/pay/orderquery", "/pay/closeorder"] {
        for sign_type in [SignType::Md5, SignType::HmacSha256] {
            let mut tampered = sealed(order("A100001"), sign_type);
            tampered.insert("total_fee".into(), "1".into());
            let mut lower = sealed(order("A100001"), sign_type);
            lower.get_mut("sign").unwrap().make_ascii_lowercase();
            let mut foreign = with(order("A100001"), &[("nonce_str", "n")]);
            if sign_type == SignType::HmacSha256 {
                foreign.insert("sign_type".into(), "HMAC-SHA256".into());
            }
            let foreign = seal(foreign, &other_key(), sign_type);
            for fields in [tampered, lower, foreign] {
                let text = refused(&shop, reqwest::Method::POST, path, xml::write(&fields).into_bytes()).await;
                assert_eq!(text, "签名错误");
            }
        }
    }
    assert_eq!(shop.ledger().await["orders"].as_array().unwrap().len(), 0);
    let rejected = shop.get("requests").await["rejected"].clone();
    assert_eq!(rejected.as_array().unwrap().iter().map(|r| r["count"].as_u64().unwrap()).sum::<u64>(), 18);
}

#[tokio::test]
async fn an_algorithm_must_be_named_unless_it_is_md5() {
    let shop = Shop::open().await;
    let silent = seal(with(order("A100001"), &[("nonce_str", "n")]), &key(), SignType::HmacSha256);
    let body = xml::write(&silent).into_bytes();
    assert_eq!(refused(&shop, reqwest::Method::POST, "/pay/unifiedorder", body).await, "签名错误");
    let text = refused_order(&shop, with(order("A100001"), &[("sign_type", "SHA1")])).await;
    assert!(text.contains("sign_type"), "{text}");
}

#[tokio::test]
async fn what_is_not_a_message_is_refused_before_anything_else() {
    let shop = Shop::open().await;
    let path = "/pay/unifiedorder";
    assert!(refused(&shop, reqwest::Method::GET, path, Vec::new()).await.contains("post"));
    assert!(refused(&shop, reqwest::Method::POST, path, Vec::new()).await.contains("为空"));
    assert!(
        refused(&shop, reqwest::Method::POST, path, b"<xml><a>\xc4\xe3</a></xml>".to_vec()).await.contains("UTF-8")
    );
    for broken in [
        "not xml",
        "<xml><appid>a</appid>",
        "<!DOCTYPE x><xml><appid>a</appid></xml>",
        "<xml><appid>a</appid><appid>b</appid></xml>",
        "<xml><appid><b>1</b></appid></xml>",
    ] {
        let text = refused(&shop, reqwest::Method::POST, path, broken.into()).await;
        assert_eq!(text, "XML格式错误", "{broken}");
    }
    let long = format!("<xml><a>{}</a></xml>", "a".repeat(65 * 1024)).into_bytes();
    assert_eq!(shop.post(path, long).await.unwrap().status(), 413);
}

#[tokio::test]
async fn a_missing_element_is_named() {
    let shop = Shop::open().await;
    for name in [
        "appid",
        "mch_id",
        "body",
        "out_trade_no",
        "total_fee",
        "spbill_create_ip",
        "notify_url",
        "trade_type",
        "openid",
    ] {
        let mut missing = order("A100001");
        missing.remove(name);
        assert_eq!(refused_order(&shop, missing).await, format!("缺少参数：{name}"));
        assert_eq!(refused_order(&shop, with(order("A100001"), &[(name, "")])).await, format!("缺少参数：{name}"));
    }
    let mut scan = native("A100001");
    scan.remove("product_id");
    assert_eq!(refused_order(&shop, scan).await, "缺少参数：product_id");
    let mut browser = mweb("A100001");
    browser.remove("scene_info");
    assert_eq!(refused_order(&shop, browser).await, "缺少参数：scene_info");
    let mut unsigned = sealed(order("A100001"), SignType::Md5);
    unsigned.remove("sign");
    let body = xml::write(&unsigned).into_bytes();
    assert_eq!(refused(&shop, reqwest::Method::POST, "/pay/unifiedorder", body).await, "缺少参数：sign");
    for path in ["/pay/orderquery", "/pay/closeorder"] {
        let mut nothing = super::parts::about("A100001");
        nothing.remove("out_trade_no");
        let body = xml::write(&sealed(nothing, SignType::Md5)).into_bytes();
        assert_eq!(refused(&shop, reqwest::Method::POST, path, body).await, "缺少参数：out_trade_no");
    }
}

#[tokio::test]
async fn a_malformed_element_is_named() {
    let shop = Shop::open().await;
    let (long33, long128) = ("a".repeat(33), "a".repeat(128));
    let chinese = "公".repeat(43);
    for (name, value) in [
        ("out_trade_no", "short"),
        ("out_trade_no", "A1000/01"),
        ("out_trade_no", "订单100001"),
        ("out_trade_no", &long33),
        ("total_fee", "0"),
        ("total_fee", "-1"),
        ("total_fee", "1.5"),
        ("total_fee", "1e3"),
        ("total_fee", " 100"),
        ("total_fee", "007"),
        ("total_fee", "9223372036854775808"),
        ("spbill_create_ip", "localhost"),
        ("spbill_create_ip", "256.1.1.1"),
        ("time_expire", "2025-01-02 13:04"),
        ("time_expire", "20250230110405"),
        ("notify_url", "/notify"),
        ("notify_url", "pay.example.com/notify"),
        ("notify_url", "ftp://pay.example.com/notify"),
        ("notify_url", " https://pay.example.com/notify"),
        ("notify_url", "https://pay.example.com/notify#x"),
        ("notify_url", "https://user@pay.example.com/notify"),
        ("openid", "o p e n"),
        ("body", &chinese),
        ("attach", &long128),
        ("nonce_str", &long33),
    ] {
        let text = refused_order(&shop, with(order("A100001"), &[(name, value)])).await;
        assert!(text.contains(name), "{name}={value}: {text}");
    }
    let text = refused_order(&shop, with(mweb("A100001"), &[("scene_info", "{not json")])).await;
    assert!(text.contains("scene_info"), "{text}");
    assert_eq!(refused_order(&shop, with(order("A100001"), &[("mch_id", "10000199")])).await, "mch_id错误");
}

#[tokio::test]
async fn a_well_formed_message_with_an_impossible_request_is_refused_signed() {
    let shop = Shop::open().await;
    for (fields, code) in [
        (with(order("A100001"), &[("appid", OTHER_APPID)]), "APPID_MCHID_NOT_MATCH"),
        (with(order("A100001"), &[("appid", "wx0000000000000000")]), "APPID_NOT_EXIST"),
        (with(order("A100001"), &[("fee_type", "USD")]), "PARAM_ERROR"),
        (with(order("A100001"), &[("trade_type", "MICROPAY")]), "PARAM_ERROR"),
        (with(order("A100001"), &[("notify_url", "https://pay.example.com/notify?a=1")]), "PARAM_ERROR"),
        (with(order("A100001"), &[("time_expire", "20250102110405")]), "PARAM_ERROR"),
        (with(order("A100001"), &[("time_start", "20250102130405"), ("time_expire", "20250102120405")]), "PARAM_ERROR"),
        (with(mweb("A100001"), &[("scene_info", r#"{"h5_info":{"type":"Other"}}"#)]), "PARAM_ERROR"),
        (with(mweb("A100001"), &[("scene_info", "{}")]), "PARAM_ERROR"),
    ] {
        let answer = shop.place(fields.clone()).await;
        assert_eq!((answer["result_code"].as_str(), answer["err_code"].as_str()), ("FAIL", code), "{fields:?}");
        assert!(!answer["err_code_des"].is_empty());
        assert!(!answer.contains_key("prepay_id"));
    }
    assert_eq!(shop.ledger().await["orders"].as_array().unwrap().len(), 0);
    let good = with(
        order("A100001"),
        &[
            ("time_start", "20250102110405"),
            ("time_expire", "20250102110605"),
            ("spbill_create_ip", "2001:db8::1"),
            ("fee_type", "CNY"),
            ("appid", APPID),
        ],
    );
    assert_eq!(shop.place(good).await["result_code"], "SUCCESS");
}

#[tokio::test]
async fn an_openid_that_is_none_or_another_apps_is_refused() {
    let shop = Shop::open().await;
    let users = shop.http.get(format!("{}/_sandbox/platform/users", shop.base)).send().await.unwrap();
    let users: serde_json::Value = serde_json::from_str(&users.text().await.unwrap()).unwrap();
    let openid = |appid: &str| users["users"][1]["openids"][appid].as_str().unwrap().to_owned();
    let (own, elsewhere) = (openid(APPID), openid(SECOND_APPID));
    for (value, words) in [
        ("oUpF8uMuAJO_M2pxb1Q9zNjWeS6", "无效的openid"),
        ("oUpF8uMuAJO_M2pxb1Q9zNjWeS6oo", "无效的openid"),
        ("xUpF8uMuAJO_M2pxb1Q9zNjWeS6o", "无效的openid"),
        (&elsewhere, "appid和openid不匹配"),
    ] {
        let answer = shop.place(with(order("A100001"), &[("openid", value)])).await;
        assert_eq!((answer["err_code"].as_str(), answer["err_code_des"].as_str()), ("PARAM_ERROR", words), "{value}");
    }
    assert_eq!(shop.ledger().await["orders"].as_array().unwrap().len(), 0);
    // Its own app's, and one that the simulator has not given out.
    for (number, appid, value) in [
        ("A100001", APPID, own.as_str()),
        ("A100002", SECOND_APPID, elsewhere.as_str()),
        ("A100003", APPID, "oUpF8uMuAJO_M2pxb1Q9zNjWeS7o"),
    ] {
        let answer = shop.place(with(order(number), &[("appid", appid), ("openid", value)])).await;
        assert_eq!(answer["result_code"], "SUCCESS", "{answer:?}");
    }
}
