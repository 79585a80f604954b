//! Notifications: what they hold, when they are repeated, when they stop.

use std::time::{Duration, Instant};

use serde_json::json;
use wxpay_worker::trade::SignType;
use wxpay_worker::wechat::v2::sign::verify;

use super::parts::{MCH_ID, Merchant, OPENID, SUCCESS, Shop, key, loopback, order, with};

const FAIL: &str = "<xml><return_code><![CDATA[FAIL]]></return_code><return_msg><![CDATA[busy]]></return_msg></xml>";

#[tokio::test]
async fn a_payment_is_notified_with_the_algorithm_of_its_order() {
    for sign_type in [SignType::Md5, SignType::HmacSha256] {
        let (shop, mut merchant) = (Shop::open().await, Merchant::open().await);
        let placed = shop.call("unifiedorder", merchant.order("A100001"), sign_type).await;
        let payment = shop.pay(&placed["prepay_id"]).await;
        let heard = merchant.next().await;
        assert_eq!(heard.headers["content-type"], "text/xml");
        assert!(heard.headers.contains_key("request-id"));
        let fields = heard.fields();
        assert_eq!(verify(&fields, &key()), Ok(sign_type));
        assert!(!fields.contains_key("sign_type"), "WeChat leaves it out, also for HMAC-SHA256");
        for (name, value) in [
            ("return_code", "SUCCESS"),
            ("result_code", "SUCCESS"),
            ("mch_id", MCH_ID),
            ("out_trade_no", "A100001"),
            ("transaction_id", payment["transaction_id"].as_str().unwrap()),
            ("total_fee", "88"),
            ("cash_fee", "88"),
            ("openid", OPENID),
            ("attach", "深圳分店"),
            ("time_end", "20250102110405"),
        ] {
            assert_eq!(fields.get(name).map(String::as_str), Some(value), "{name}");
        }
        let deliveries = shop.deliveries(1).await;
        assert_eq!(deliveries[0]["outcome"], "acknowledged");
        assert_eq!(deliveries[0]["attempt"], 1);
        assert_eq!(deliveries[0]["http_status"], 200);
        assert_eq!(deliveries[0]["answer"], SUCCESS);
    }
}

#[tokio::test]
async fn only_status_200_with_success_ends_the_repeats() {
    let (shop, mut merchant) = (Shop::scaled(100_000).await, Merchant::open().await);
    merchant.answer_with(&[
        (200, FAIL),
        (200, "success"),
        (200, "{\"return_code\":\"SUCCESS\"}"),
        (200, ""),
        (500, SUCCESS),
        (201, SUCCESS),
        (302, SUCCESS),
        (200, SUCCESS),
    ]);
    let prepay_id = shop.prepay(merchant.order("A100001")).await;
    shop.pay(&prepay_id).await;
    let mut nonces = std::collections::HashSet::new();
    for _ in 0..8 {
        let fields = merchant.next().await.fields();
        assert_eq!(fields["out_trade_no"], "A100001");
        nonces.insert(fields["nonce_str"].clone());
    }
    assert_eq!(nonces.len(), 8, "each attempt is signed anew");
    let outcomes: Vec<String> =
        shop.deliveries(8).await.iter().map(|d| d["outcome"].as_str().unwrap().to_owned()).collect();
    assert_eq!(
        outcomes,
        ["refused", "refused", "refused", "refused", "http_error", "http_error", "http_error", "acknowledged"]
    );
    // The next interval would be 18 ms.
    let more = tokio::time::timeout(Duration::from_millis(300), merchant.heard.recv()).await;
    assert!(more.is_err(), "repeated although it was acknowledged");
}

#[tokio::test]
async fn an_unanswered_notification_is_repeated_on_wechats_schedule_and_then_given_up() {
    const SCALE: u32 = 50_000;
    let (shop, mut merchant) = (Shop::scaled(SCALE).await, Merchant::open().await);
    merchant.answer_with(&[(500, ""); 17]);
    let prepay_id = shop.prepay(merchant.order("A100001")).await;
    shop.pay(&prepay_id).await;
    let mut last: Option<Instant> = None;
    let intervals_s = [15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10_800, 10_800, 10_800, 21_600, 21_600];
    for interval_s in [0].into_iter().chain(intervals_s) {
        let heard = merchant.next().await;
        if let Some(last) = last {
            let expected = Duration::from_secs(interval_s) / SCALE;
            assert!(heard.at - last >= expected, "{interval_s} s came after {:?}", heard.at - last);
        }
        last = Some(heard.at);
    }
    let deliveries = shop.deliveries(16).await;
    let attempts: Vec<u64> = deliveries.iter().map(|d| d["attempt"].as_u64().unwrap()).collect();
    assert_eq!(attempts, (1..=16).collect::<Vec<_>>());
    // Twice the longest interval.
    let more = tokio::time::timeout(Duration::from_millis(900), merchant.heard.recv()).await;
    assert!(more.is_err(), "WeChat gives up after fifteen repeats");
}

#[tokio::test]
async fn a_merchant_who_needs_more_than_five_seconds_has_not_answered() {
    let shop = Shop::open().await;
    let silent = loopback().await;
    let url = format!("http://{}/notify", silent.local_addr().unwrap());
    let prepay_id = shop.prepay(with(order("A100001"), &[("notify_url", &url)])).await;
    let before = Instant::now();
    shop.pay(&prepay_id).await;
    let _accepted_and_never_answered = silent.accept().await.unwrap();
    let deliveries = shop.deliveries(1).await;
    assert_eq!(deliveries[0]["outcome"], "timeout");
    assert!(before.elapsed() >= Duration::from_secs(5), "{:?}", before.elapsed());
}

#[tokio::test]
async fn an_address_without_a_listener_is_unreachable() {
    let shop = Shop::open().await;
    let gone = loopback().await;
    let url = format!("http://{}/notify", gone.local_addr().unwrap());
    drop(gone);
    let prepay_id = shop.prepay(with(order("A100001"), &[("notify_url", &url)])).await;
    shop.pay(&prepay_id).await;
    assert_eq!(shop.deliveries(1).await[0]["outcome"], "unreachable");
}

#[tokio::test]
async fn a_notification_can_be_asked_for_and_its_answer_read() {
    let (shop, mut merchant) = (Shop::open().await, Merchant::open().await);
    let prepay_id = shop.prepay(merchant.order("A100001")).await;
    let request = json!({"mch_id": MCH_ID, "out_trade_no": "A100001"});
    let (status, answer) = shop.control("notify", request.clone()).await;
    assert_eq!((status, answer["error"].as_str()), (409, Some("not_paid")));

    merchant.answer_with(&[(200, FAIL)]);
    shop.pay(&prepay_id).await;
    merchant.next().await;
    shop.deliveries(1).await;
    let (status, answer) = shop.control("notify", request.clone()).await;
    assert_eq!(status, 200);
    assert_eq!(answer["deliveries"][0]["outcome"], "acknowledged");
    assert_eq!(answer["deliveries"][0]["answer"], SUCCESS);
    assert_eq!(answer["deliveries"][0]["attempt"], json!(null));
    assert_eq!(verify(&merchant.next().await.fields(), &key()), Ok(SignType::Md5));
    assert_eq!(shop.ledger().await["orders"][0]["acknowledged"], true);

    let mut spoiled = request.clone();
    spoiled["fault"] = json!("tamper");
    assert_eq!(shop.control("notify", spoiled).await.0, 200);
    assert!(verify(&merchant.next().await.fields(), &key()).is_err());
    assert_eq!(shop.control("notify", json!({"mch_id": MCH_ID, "out_trade_no": "UNKNOWN"})).await.0, 404);
}
