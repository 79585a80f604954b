//! Who may ask for a refund, and what may go wrong on the way.

use std::time::Duration;

use serde_json::json;
use wxpay_worker::trade::SignType;
use wxpay_worker::wechat::v2::sign::seal;
use wxpay_worker::wechat::v2::xml;

use super::parts::{https, identity, refund};
use crate::sandbox::parts::{MCH_ID, OTHER_MCH_ID, Shop, about, key, mweb, sealed, with};

fn body() -> Vec<u8> {
    xml::write(&sealed(refund("A100001", "R1", "30"), SignType::HmacSha256)).into_bytes()
}

#[tokio::test]
async fn a_refund_needs_the_certificate_of_the_merchant_who_signs() {
    let shop = Shop::open().await;
    shop.paid("A100001").await;
    let stranger = Shop::open().await;
    let (files, others, foreign) =
        (shop.files(MCH_ID).await, shop.files(OTHER_MCH_ID).await, stranger.files(MCH_ID).await);
    let url = format!("{}/secapi/pay/refund", shop.sandbox.refund_base_url());
    assert_eq!(files["refund_base_url"], shop.sandbox.refund_base_url());

    // Over plain HTTP, without a certificate, and with one that another party made: the web server's page.
    let plain = shop.post("/secapi/pay/refund", body()).await.unwrap();
    let nothing = https(&files, None).post(&url).body(body()).send().await.unwrap();
    let made_elsewhere = https(&files, Some(identity(&foreign))).post(&url).body(body()).send().await.unwrap();
    for (answer, says) in [
        (plain, "No required SSL certificate was sent"),
        (nothing, "No required SSL certificate was sent"),
        (made_elsewhere, "The SSL certificate error"),
    ] {
        assert_eq!((answer.status().as_u16(), &answer.headers()["content-type"]), (400, &"text/html".parse().unwrap()));
        let page = answer.text().await.unwrap();
        assert!(page.contains(says), "{page}");
    }
    // With another merchant's: the API's own refusal, unsigned.
    let answer = https(&files, Some(identity(&others))).post(&url).body(body()).send().await.unwrap();
    let answer = xml::parse(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!((&*answer["return_code"], &*answer["return_msg"]), ("FAIL", "certificate not match"));
    assert!(shop.refunds().await.is_empty());
    let rejected = shop.get("requests").await["rejected"].as_array().unwrap().clone();
    assert_eq!(rejected.iter().map(|r| r["count"].as_u64().unwrap()).sum::<u64>(), 4);

    let answer = https(&files, Some(identity(&files))).post(&url).body(body()).send().await.unwrap();
    let answer = xml::parse(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!(answer["result_code"], "SUCCESS");
    assert_eq!(shop.refunds().await.len(), 1);
}

#[tokio::test]
async fn everything_else_is_served_over_tls_too() {
    let shop = Shop::open().await;
    let http = https(&shop.files(MCH_ID).await, None);
    let base = shop.sandbox.refund_base_url();
    let fields = seal(with(mweb("A100001"), &[("nonce_str", "n")]), &key(), SignType::Md5);
    let answer = http.post(format!("{base}/pay/unifiedorder")).body(xml::write(&fields)).send().await.unwrap();
    let answer = xml::parse(&answer.bytes().await.unwrap()).unwrap();
    assert!(answer["mweb_url"].starts_with(&format!("{base}/_sandbox/cashier?")), "{answer:?}");
    assert_eq!(http.get(&answer["mweb_url"]).send().await.unwrap().status(), 200);
    assert_eq!(shop.http.get(format!("{}/_sandbox/certificates/1", shop.base)).send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn an_answer_lost_in_any_way_leaves_one_refund() {
    let shop = Shop::open().await;
    let cashier = shop.cashier().await;
    shop.paid("A100001").await;
    for kind in ["answer_lost", "reset", "half_body"] {
        shop.faults(json!([{"on": "refund", "kind": kind, "times": 1}])).await;
        let seen = match cashier.post(body()).await {
            Ok(answer) => answer.bytes().await.map(drop),
            Err(error) => Err(error),
        };
        assert!(seen.is_err(), "{kind}");
        assert_eq!(shop.refunds().await.len(), 1, "{kind}: executed, and once");
    }
    shop.faults(json!([{"on": "refund", "kind": "hang", "times": 1}])).await;
    {
        let mut hanging = std::pin::pin!(cashier.post(body()));
        tokio::select! {
            answer = hanging.as_mut() => panic!("{answer:?}"),
            // Otherwise the next call would meet it.
            () = shop.until_fired() => {}
        }
        assert!(tokio::time::timeout(Duration::from_millis(300), hanging).await.is_err());
    }
    shop.faults(json!([{"on": "refund", "kind": "duplicate", "times": 1}])).await;
    cashier.take(refund("A100001", "R1", "30")).await;
    assert_eq!(shop.refunds().await.len(), 1);
}

#[tokio::test]
async fn a_refund_can_be_refused_on_demand_executed_or_not() {
    let shop = Shop::open().await;
    let cashier = shop.cashier().await;
    for (n, (rule, code, executed)) in [
        (json!({"kind": "refuse", "err_code": "USER_ACCOUNT_ABNORMAL"}), "USER_ACCOUNT_ABNORMAL", false),
        (json!({"kind": "refuse", "err_code": "BIZERR_NEED_RETRY"}), "BIZERR_NEED_RETRY", false),
        (json!({"kind": "refuse", "err_code": "BIZERR_NEED_RETRY", "executed": true}), "BIZERR_NEED_RETRY", true),
        (json!({"kind": "refuse", "err_code": "NOTENOUGH"}), "NOTENOUGH", false),
        (json!({"kind": "refuse", "err_code": "ORDER_NOT_READY"}), "ORDER_NOT_READY", false),
        (json!({"kind": "refuse", "err_code": "INVALID_REQ_TOO_MUCH"}), "INVALID_REQ_TOO_MUCH", false),
        (json!({"kind": "refuse", "err_code": "ERROR"}), "ERROR", false),
        (json!({"kind": "refuse", "err_code": "NOAUTH"}), "NOAUTH", false),
        (json!({"kind": "refuse", "err_code": "FREQUENCY_LIMITED"}), "FREQUENCY_LIMITED", false),
        (json!({"kind": "rate_limit"}), "FREQUENCY_LIMITED", false),
        (json!({"kind": "system_error", "executed": true}), "SYSTEMERROR", true),
        (json!({"kind": "system_error", "executed": false}), "SYSTEMERROR", false),
    ]
    .into_iter()
    .enumerate()
    {
        let number = format!("REFUSE-{n:02}");
        shop.paid(&number).await;
        let mut rule = rule;
        rule["on"] = json!("refund");
        rule["times"] = json!(1);
        // By the order's number, also when the call names the payment by WeChat's.
        rule["out_trade_no"] = json!(number);
        shop.faults(json!([rule])).await;
        assert_eq!(cashier.refused(refund(&number, &format!("R{n}"), "30")).await, code);
        let found = shop.ask_refund(about(&number)).await["result_code"] == "SUCCESS";
        assert_eq!(found, executed, "{rule}");
        cashier.take(refund(&number, &format!("R{n}"), "30")).await;
    }
    for rule in [
        json!({"on": "refund", "kind": "refuse"}),
        json!({"on": "refund", "kind": "refuse", "err_code": "ORDERPAID"}),
        json!({"on": "refundquery", "kind": "refuse", "err_code": "ERROR"}),
        json!({"on": "refund", "kind": "drop", "err_code": "ERROR"}),
        json!({"on": "refund", "kind": "forge_amount"}),
    ] {
        assert_eq!(shop.control("faults", json!([rule])).await.0, 400, "{rule}");
    }
}

#[tokio::test]
async fn a_refund_query_meets_faults_by_the_orders_number() {
    let shop = Shop::open().await;
    let cashier = shop.cashier().await;
    shop.paid("A100001").await;
    cashier.take(refund("A100001", "R1", "30")).await;
    let question = || {
        let mut fields = about("A100001");
        fields.remove("out_trade_no");
        with(fields, &[("out_refund_no", "R1")])
    };
    shop.faults(json!([
        {"on": "refundquery", "kind": "system_error", "executed": false, "times": 1, "out_trade_no": "A100001"},
        {"on": "refundquery", "kind": "forge_amount", "times": 1, "out_trade_no": "A100001"},
    ]))
    .await;
    assert_eq!(shop.ask_refund(question()).await["err_code"], "SYSTEMERROR");
    assert_eq!(shop.ask_refund(question()).await["refund_fee_0"], "31");
    assert_eq!(shop.ask_refund(question()).await["refund_fee_0"], "30");
    shop.faults(json!([{"on": "refundquery", "kind": "tamper", "times": 1}])).await;
    let answer = shop.raw("refundquery", question(), SignType::Md5).await;
    assert_eq!(answer["refund_status_0"], "SUCCESS", "what would pay off most");
    assert!(wxpay_worker::wechat::v2::sign::verify(&answer, &key()).is_err());
}
