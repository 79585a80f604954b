//! Each fault as it is on the wire, and the ledger that it does not touch.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wxpay_worker::trade::SignType;
use wxpay_worker::wechat::v2::sign::{SignatureError, verify};
use wxpay_worker::wechat::v2::xml;

use super::parts::{MCH_ID, Merchant, OTHER_MCH_ID, Shop, about, key, order, other_key, sealed, with};
use crate::harness::within_timeout;

async fn placed(shop: &Shop) -> usize {
    shop.ledger().await["orders"].as_array().unwrap().len()
}

fn request(number: &str) -> Vec<u8> {
    xml::write(&sealed(order(number), SignType::Md5)).into_bytes()
}

/// Sends one unified order over a bare connection and reads until it ends.
async fn bare(shop: &Shop, number: &str) -> (Vec<u8>, std::io::Result<()>) {
    let mut stream = tokio::net::TcpStream::connect(shop.sandbox.addr).await.unwrap();
    let body = request(number);
    let head = format!("POST /pay/unifiedorder HTTP/1.1\r\nhost: sandbox\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body).await.unwrap();
    let mut answer = Vec::new();
    let ended = stream.read_to_end(&mut answer).await.map(drop);
    (answer, ended)
}

#[tokio::test]
async fn a_lost_answer_is_executed_and_the_connection_ends_empty() {
    let shop = Shop::open().await;
    shop.faults(json!([{"on": "unifiedorder", "kind": "answer_lost", "times": 1}])).await;
    let (answer, ended) = bare(&shop, "A100001").await;
    assert!(ended.is_ok() && answer.is_empty());
    assert_eq!(placed(&shop).await, 1);
    assert_eq!(shop.place(order("A100001")).await["result_code"], "SUCCESS", "the rule was for one time");
    assert_eq!(placed(&shop).await, 1);
}

#[tokio::test]
async fn a_dropped_call_is_not_executed() {
    let shop = Shop::open().await;
    shop.faults(json!([{"on": "unifiedorder", "kind": "drop"}])).await;
    let (answer, ended) = bare(&shop, "A100001").await;
    assert!(ended.is_ok() && answer.is_empty());
    assert_eq!(placed(&shop).await, 0);
}

#[tokio::test]
async fn a_reset_is_executed_and_seen_as_a_reset() {
    let shop = Shop::open().await;
    shop.faults(json!([{"on": "unifiedorder", "kind": "reset"}])).await;
    let (answer, ended) = bare(&shop, "A100001").await;
    assert!(answer.is_empty());
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(placed(&shop).await, 1);
}

#[tokio::test]
async fn a_hanging_call_is_executed_and_never_answered() {
    let shop = Shop::open().await;
    shop.faults(json!([{"on": "unifiedorder", "kind": "hang"}])).await;
    {
        let mut call = std::pin::pin!(bare(&shop, "A100001"));
        tokio::select! {
            answer = call.as_mut() => panic!("{answer:?}"),
            () = shop.until_fired() => {}
        }
        assert_eq!(placed(&shop).await, 1);
        let answer = tokio::time::timeout(Duration::from_millis(500), call).await;
        assert!(answer.is_err(), "{answer:?}");
    }
    // A caller who waits for ever does not keep the simulator alive.
    let base = shop.base.clone();
    let http = shop.http.clone();
    let hanging =
        tokio::spawn(
            async move { http.post(format!("{base}/pay/unifiedorder")).body(request("A100002")).send().await },
        );
    while placed(&shop).await < 2 {
        tokio::task::yield_now().await;
    }
    within_timeout("the end of the simulator", shop.sandbox.shutdown()).await;
    let ended = hanging.await.unwrap().unwrap_err();
    assert!(!ended.is_timeout(), "it is not the caller who ended it: {ended}");
}

#[tokio::test]
async fn half_an_answer_announces_more_than_it_gives() {
    let shop = Shop::open().await;
    shop.faults(json!([{"on": "unifiedorder", "kind": "half_body", "times": 1}])).await;
    let (answer, _) = bare(&shop, "A100001").await;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let announced: usize = head.lines().find_map(|l| l.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    assert!(head.starts_with("HTTP/1.1 200"));
    assert!(!body.is_empty() && body.len() < announced, "{} of {announced}", body.len());
    assert!(xml::parse(body.as_bytes()).is_err());
    assert_eq!(placed(&shop).await, 1);
    shop.faults(json!([{"on": "unifiedorder", "kind": "half_body", "times": 1}])).await;
    let seen = shop.post("/pay/unifiedorder", request("A100001")).await.unwrap().bytes().await;
    assert!(seen.is_err(), "a client notices");
}

#[tokio::test]
async fn a_system_error_says_nothing_about_execution() {
    let shop = Shop::open().await;
    for (executed, orders) in [(false, 0), (true, 1)] {
        shop.faults(json!([{"on": "unifiedorder", "kind": "system_error", "times": 1, "executed": executed}])).await;
        let answer = shop.place(order("A100001")).await;
        assert_eq!(answer["err_code"], "SYSTEMERROR");
        assert_eq!(placed(&shop).await, orders);
    }
    shop.faults(json!([{"on": "unifiedorder", "kind": "system_error"}])).await;
    let before = placed(&shop).await;
    for n in 0..32 {
        assert_eq!(shop.place(order(&format!("COIN-{n:03}"))).await["err_code"], "SYSTEMERROR");
    }
    let executed = placed(&shop).await - before;
    assert!(executed > 0 && executed < 32, "a coin decides: {executed} of 32");
}

#[tokio::test]
async fn a_gateway_error_is_html_with_status_500() {
    let shop = Shop::open().await;
    shop.faults(json!([{"on": "unifiedorder", "kind": "http_500", "executed": true}])).await;
    let answer = shop.post("/pay/unifiedorder", request("A100001")).await.unwrap();
    assert_eq!(answer.status(), 500);
    assert!(answer.text().await.unwrap().starts_with("<html>"));
    assert_eq!(placed(&shop).await, 1);
}

#[tokio::test]
async fn a_throttled_call_is_refused_signed_and_not_executed() {
    let shop = Shop::open().await;
    shop.faults(json!([{"on": "unifiedorder", "kind": "rate_limit", "times": 1}])).await;
    assert_eq!(shop.place(order("A100001")).await["err_code"], "FREQUENCY_LIMITED");
    assert_eq!(placed(&shop).await, 0);
}

#[tokio::test]
async fn spoiled_answers_do_not_verify_and_forged_ones_do() {
    let shop = Shop::open().await;
    let prepay_id = shop.prepay(order("A100001")).await;
    shop.prepay(order("UNPAID-01")).await;
    shop.pay(&prepay_id).await;
    let ask = async |number: &str, kind: &str| {
        shop.faults(json!([{"on": "orderquery", "kind": kind, "times": 1}])).await;
        shop.raw("orderquery", about(number), SignType::Md5).await
    };

    let tampered = ask("UNPAID-01", "tamper").await;
    assert_eq!(tampered["trade_state"], "SUCCESS");
    assert_eq!(verify(&tampered, &key()), Err(SignatureError::Wrong));
    let tampered = ask("A100001", "tamper").await;
    assert_eq!(tampered["total_fee"], "89");
    assert_eq!(verify(&tampered, &key()), Err(SignatureError::Wrong));
    let wrong = ask("A100001", "wrong_sign").await;
    assert_eq!(wrong["total_fee"], "88");
    assert_eq!(verify(&wrong, &key()), Err(SignatureError::Wrong));
    let forged = ask("A100001", "forge_amount").await;
    assert_eq!(forged["total_fee"], "89");
    assert_eq!(verify(&forged, &key()), Ok(SignType::Md5));
    let foreign = ask("A100001", "cross_merchant").await;
    assert_eq!(foreign["mch_id"], OTHER_MCH_ID);
    assert_eq!(verify(&foreign, &other_key()), Ok(SignType::Md5));
    assert_eq!(shop.query("A100001").await["total_fee"], "88", "the ledger never changed");
    assert_eq!(shop.query("UNPAID-01").await["trade_state"], "NOTPAY");
}

#[tokio::test]
async fn late_calls_are_executed_before_or_after_the_wait() {
    let shop = Shop::open().await;
    for (kind, executed) in [("delay", 0), ("slow", 1)] {
        let before = placed(&shop).await;
        let rule = |delay_ms: u64| json!([{"on": "unifiedorder", "kind": kind, "delay_ms": delay_ms, "times": 1}]);
        // Long before such a wait is over, the ledger tells which of the two it is.
        shop.faults(rule(600_000)).await;
        {
            let mut call = std::pin::pin!(shop.place(order(&format!("{kind}-LONG"))));
            tokio::select! {
                _ = call.as_mut() => panic!("answered at once"),
                () = shop.until_fired() => {}
            }
            assert_eq!(placed(&shop).await - before, executed, "{kind}");
        }
        shop.faults(rule(500)).await;
        let begun = Instant::now();
        assert_eq!(shop.place(order(&format!("{kind}-SHORT"))).await["result_code"], "SUCCESS");
        assert!(begun.elapsed() >= Duration::from_millis(500), "{kind}");
    }
}

#[tokio::test]
async fn a_reordered_call_lets_the_next_one_pass() {
    let shop = Shop::open().await;
    shop.faults(json!([{"on": "unifiedorder", "kind": "reorder", "delay_ms": 60_000, "out_trade_no": "FIRST-01"}]))
        .await;
    let mut first = std::pin::pin!(shop.place(order("FIRST-01")));
    tokio::select! {
        _ = first.as_mut() => panic!("it did not wait"),
        () = async { while shop.get("requests").await["requests"].as_array().unwrap().is_empty() {} } => {}
    }
    shop.place(order("SECOND-01")).await;
    assert_eq!(first.await["result_code"], "SUCCESS");
    let orders = shop.ledger().await["orders"].clone();
    assert_eq!(
        (orders[0]["out_trade_no"].as_str(), orders[1]["out_trade_no"].as_str()),
        (Some("SECOND-01"), Some("FIRST-01"))
    );
}

#[tokio::test]
async fn a_duplicated_call_is_executed_twice() {
    let shop = Shop::open().await;
    shop.faults(
        json!([{"on": "unifiedorder", "kind": "duplicate", "times": 1}, {"on": "closeorder", "kind": "duplicate"}]),
    )
    .await;
    assert_eq!(shop.place(order("A100001")).await["result_code"], "SUCCESS");
    assert_eq!(shop.ledger().await["orders"][0]["prepays"].as_array().unwrap().len(), 2);
    assert_eq!(shop.close("A100001").await["err_code"], "ORDERCLOSED", "the first copy closed it");
}

/// Pays an order whose notifications meet the given rule and returns the ended deliveries.
async fn notified(shop: &Shop, merchant: &Merchant, number: &str, rule: Value, deliveries: usize) -> Vec<Value> {
    let before = shop.ledger().await["deliveries"].as_array().unwrap().len();
    shop.faults(json!([rule])).await;
    let prepay_id = shop.prepay(merchant.order(number)).await;
    shop.pay(&prepay_id).await;
    shop.deliveries(before + deliveries).await.split_off(before)
}

#[tokio::test]
async fn a_dropped_notification_is_not_delivered_until_its_repeat() {
    let (shop, mut merchant) = (Shop::scaled(1000).await, Merchant::open().await);
    let ended = notified(&shop, &merchant, "A100001", json!({"on": "notify", "kind": "drop", "times": 2}), 3).await;
    let outcomes: Vec<_> = ended.iter().map(|d| d["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["dropped", "dropped", "acknowledged"]);
    assert_eq!(merchant.next().await.fields()["out_trade_no"], "A100001");
    assert!(merchant.heard.try_recv().is_err(), "heard once only");
}

#[tokio::test]
async fn a_duplicated_notification_arrives_as_equal_copies() {
    let (shop, mut merchant) = (Shop::open().await, Merchant::open().await);
    notified(&shop, &merchant, "A100001", json!({"on": "notify", "kind": "duplicate", "copies": 5}), 5).await;
    let first = merchant.next().await.body;
    for _ in 0..4 {
        assert_eq!(merchant.next().await.body, first);
    }
}

#[tokio::test]
async fn spoiled_notifications_do_not_verify_and_forged_ones_do() {
    let (shop, mut merchant) = (Shop::open().await, Merchant::open().await);
    let rule = |kind: &str| json!({"on": "notify", "kind": kind, "times": 1});

    notified(&shop, &merchant, "TAMPER-01", rule("tamper"), 1).await;
    let fields = merchant.next().await.fields();
    assert_eq!(fields["total_fee"], "89");
    assert_eq!(verify(&fields, &key()), Err(SignatureError::Wrong));

    notified(&shop, &merchant, "WRONG-01", rule("wrong_sign"), 1).await;
    assert_eq!(verify(&merchant.next().await.fields(), &key()), Err(SignatureError::Wrong));

    notified(&shop, &merchant, "FORGE-01", rule("forge_amount"), 1).await;
    let fields = merchant.next().await.fields();
    assert_eq!((fields["total_fee"].as_str(), fields["cash_fee"].as_str()), ("89", "89"));
    assert_eq!(verify(&fields, &key()), Ok(SignType::Md5));

    notified(&shop, &merchant, "CROSS-01", rule("cross_merchant"), 1).await;
    let fields = merchant.next().await.fields();
    assert_eq!(fields["mch_id"], OTHER_MCH_ID);
    assert_eq!(fields["out_trade_no"], "CROSS-01");
    assert_eq!(verify(&fields, &other_key()), Ok(SignType::Md5));

    notified(&shop, &merchant, "HALF-01", rule("half_body"), 1).await;
    assert!(xml::parse(&merchant.next().await.body).is_err());
    let payments = shop.ledger().await["payments"].clone();
    assert!(payments.as_array().unwrap().iter().all(|p| p["total_fee"] == 88));
}

#[tokio::test]
async fn a_merchants_answer_that_is_lost_is_asked_for_again() {
    let (shop, mut merchant) = (Shop::scaled(1000).await, Merchant::open().await);
    let ended =
        notified(&shop, &merchant, "A100001", json!({"on": "notify", "kind": "answer_lost", "times": 1}), 2).await;
    assert_eq!(
        (ended[0]["outcome"].as_str(), ended[1]["outcome"].as_str()),
        (Some("answer_lost"), Some("acknowledged"))
    );
    assert_eq!(ended[0]["fault"], "answer_lost");
    for _ in 0..2 {
        assert_eq!(verify(&merchant.next().await.fields(), &key()), Ok(SignType::Md5));
    }
}

#[tokio::test]
async fn reordered_and_delayed_notifications_come_after_later_ones() {
    for kind in ["reorder", "delay"] {
        let (shop, mut merchant) = (Shop::open().await, Merchant::open().await);
        shop.faults(json!([{"on": "notify", "kind": kind, "delay_ms": 600_000, "out_trade_no": "FIRST-01"}])).await;
        for number in ["FIRST-01", "SECOND-01"] {
            let prepay_id = shop.prepay(merchant.order(number)).await;
            shop.pay(&prepay_id).await;
            if number == "FIRST-01" {
                // A notification that waits can only be seen by its fault having fired.
                shop.until_fired().await;
            }
        }
        assert_eq!(merchant.next().await.fields()["out_trade_no"], "SECOND-01", "{kind}");
        if kind == "reorder" {
            assert_eq!(merchant.next().await.fields()["out_trade_no"], "FIRST-01", "the second one let it pass");
            continue;
        }
        // One that is delayed comes by itself.
        shop.faults(json!([{"on": "notify", "kind": kind, "delay_ms": 500, "out_trade_no": "THIRD-01"}])).await;
        let prepay_id = shop.prepay(merchant.order("THIRD-01")).await;
        let paid = Instant::now();
        shop.pay(&prepay_id).await;
        let third = merchant.next().await;
        assert_eq!(third.fields()["out_trade_no"], "THIRD-01");
        assert!(third.at - paid >= Duration::from_millis(500), "{:?}", third.at - paid);
    }
}

#[tokio::test]
async fn rules_apply_to_what_they_name_and_end_when_cleared() {
    let shop = Shop::open().await;
    shop.faults(json!([
        {"on": "unifiedorder", "kind": "rate_limit", "out_trade_no": "A100001"},
        {"on": "unifiedorder", "kind": "rate_limit", "mch_id": OTHER_MCH_ID},
        {"on": "unifiedorder", "kind": "rate_limit", "probability_percent": 0},
        {"on": "orderquery", "kind": "rate_limit", "mch_id": MCH_ID, "times": null},
    ]))
    .await;
    assert_eq!(shop.place(order("A100001")).await["err_code"], "FREQUENCY_LIMITED");
    assert_eq!(shop.place(order("A100002")).await["result_code"], "SUCCESS");
    for _ in 0..3 {
        assert_eq!(shop.query("A100002").await["err_code"], "FREQUENCY_LIMITED");
    }
    let fired: Vec<u64> =
        shop.get("faults").await["faults"].as_array().unwrap().iter().map(|r| r["fired"].as_u64().unwrap()).collect();
    assert_eq!(fired, [1, 0, 0, 3]);
    let cleared = shop.http.delete(format!("{}/_sandbox/faults", shop.base)).send().await.unwrap();
    assert_eq!(cleared.status(), 200);
    assert_eq!(shop.query("A100002").await["trade_state"], "NOTPAY");
    assert_eq!(shop.place(order("A100001")).await["result_code"], "SUCCESS");
}

#[tokio::test]
async fn the_dice_fall_the_same_for_the_same_seed() {
    let mut histories = Vec::new();
    for _ in 0..2 {
        let shop = Shop::open().await;
        shop.faults(json!([{"on": "orderquery", "kind": "rate_limit", "probability_percent": 30}])).await;
        let mut history = Vec::new();
        for _ in 0..60 {
            history.push(shop.query("UNKNOWN-01").await["err_code"] == "FREQUENCY_LIMITED");
        }
        histories.push(history);
    }
    assert_eq!(histories[0], histories[1]);
    let hits = histories[0].iter().filter(|hit| **hit).count();
    assert!((5..40).contains(&hits), "about thirty in a hundred: {hits} of 60");
}

#[tokio::test]
async fn impossible_rules_are_refused_whole() {
    let shop = Shop::open().await;
    for (rules, message) in [
        (json!([{"on": "notify", "kind": "hang"}]), "not possible"),
        (json!([{"on": "unifiedorder", "kind": "forge_amount"}]), "not possible"),
        (
            json!([
                {"on": "unifiedorder", "kind": "drop"},
                {"on": "orderquery", "kind": "drop", "probability_percent": 101},
            ]),
            "probability_percent",
        ),
        (json!([{"on": "micropay", "kind": "drop"}]), "unknown variant"),
        (json!([{"on": "notify", "kind": "drop", "time": 1}]), "unknown field"),
        (json!({"on": "notify", "kind": "drop"}), "sequence"),
    ] {
        let (status, answer) = shop.control("faults", rules.clone()).await;
        assert_eq!(status, 400, "{rules}");
        assert!(answer["message"].as_str().unwrap().contains(message), "{rules}: {answer}");
    }
    assert_eq!(shop.get("faults").await["faults"], json!([]));
    assert_eq!(shop.place(with(order("A100001"), &[])).await["result_code"], "SUCCESS");
}
