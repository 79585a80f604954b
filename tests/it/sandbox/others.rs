//! What is not simulated, and WeChat's own test environment: every documented path answers in WeChat's form.

use serde_json::json;
use wxpay_worker::secret::V2Key;
use wxpay_worker::trade::SignType;
use wxpay_worker::wechat::v2::sign::{seal, verify};
use wxpay_worker::wechat::v2::xml;
use wxpay_worker::wechat::v2::xml::Fields;

use super::parts::{APPID, MCH_ID, Shop, about, key, order, other_key, sealed, with};

const SIGNED: &[&str] = &[
    "/pay/micropay",
    "/tools/shorturl",
    "/tools/authcodetoopenid",
    "/pay/contractorder",
    "/pay/pappayapply",
    "/pay/profitsharingquery",
    "/mmpaymkttransfers/query_coupon_stock",
    "/papay/querycontract",
    "/cgi-bin/mch/customs/customdeclareorder",
];

const WITH_CERTIFICATE: &[&str] = &[
    "/secapi/pay/reverse",
    "/secapi/pay/profitsharing",
    "/mmpaymkttransfers/sendredpack",
    "/mmpaymkttransfers/sendgroupredpack",
    "/mmpaymkttransfers/gethbinfo",
    "/mmpaymkttransfers/promotion/transfers",
    "/mmpaymkttransfers/gettransferinfo",
    "/mmpaysptrans/pay_bank",
    "/mmpaysptrans/query_bank",
    "/risk/getpublickey",
    "/billcommentsp/batchquerycomment",
    "/pay/downloadfundflow",
];

async fn call(shop: &Shop, path: &str, fields: &Fields) -> Fields {
    let answer = shop.post(path, xml::write(fields).into_bytes()).await.unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    xml::parse(&answer.bytes().await.unwrap()).unwrap()
}

fn bare() -> Fields {
    with(Fields::new(), &[("mch_id", MCH_ID), ("nonce_str", "n")])
}

async fn test_key(shop: &Shop) -> V2Key {
    let answer = call(shop, "/sandboxnew/pay/getsignkey", &seal(bare(), &key(), SignType::Md5)).await;
    assert_eq!((&*answer["return_code"], &*answer["mch_id"]), ("SUCCESS", MCH_ID), "{answer:?}");
    assert_eq!(answer.get("sign"), None);
    V2Key::parse(answer["sandbox_signkey"].as_str()).unwrap()
}

#[tokio::test]
async fn what_is_not_simulated_is_refused_with_a_reason() {
    let shop = Shop::open().await;
    for path in SIGNED {
        for sign_type in [SignType::Md5, SignType::HmacSha256] {
            let answer = call(&shop, path, &sealed(about("A100001"), sign_type)).await;
            assert_eq!((&*answer["result_code"], &*answer["err_code"]), ("FAIL", "NOAUTH"), "{path} {answer:?}");
            assert_eq!((&*answer["mch_id"], &*answer["appid"]), (MCH_ID, APPID), "{path} {answer:?}");
            assert_eq!(verify(&answer, &key()), Ok(sign_type), "{path}");
        }
        let forged = seal(with(about("A100001"), &[("nonce_str", "n")]), &other_key(), SignType::Md5);
        let answer = call(&shop, path, &forged).await;
        assert_eq!((&*answer["return_code"], &*answer["return_msg"]), ("FAIL", "签名错误"), "{path} {answer:?}");
    }
    for path in WITH_CERTIFICATE {
        let answer = shop.post(path, xml::write(&sealed(about("A100001"), SignType::Md5)).into_bytes()).await.unwrap();
        assert_eq!(answer.status(), 400, "{path}");
        assert!(answer.text().await.unwrap().contains("No required SSL certificate was sent"), "{path}");
        // The test environment wants none, and its own key.
        let fields = seal(with(about("A100001"), &[("nonce_str", "n")]), &test_key(&shop).await, SignType::Md5);
        let answer = call(&shop, &format!("/sandboxnew{path}"), &fields).await;
        let reason = answer.get("err_code").or(answer.get("return_msg")).unwrap();
        assert!(["NOAUTH", "No Bill Exist"].contains(&reason.as_str()), "{path} {answer:?}");
    }
    let report = call(&shop, "/payitil/report", &sealed(about("A100001"), SignType::Md5)).await;
    assert_eq!((&*report["err_code"], report.get("sign")), ("NOAUTH", None), "{report:?}");
    let bill = with(bare(), &[("appid", APPID), ("bill_date", "20250101")]);
    let bill = call(&shop, "/pay/downloadbill", &sealed(bill, SignType::Md5)).await;
    assert_eq!((&*bill["return_msg"], &*bill["error_code"]), ("No Bill Exist", "20002"), "{bill:?}");
    let unknown = call(&shop, "/pay/never/heard/of", &bare()).await;
    assert_eq!(unknown["return_code"], "FAIL", "{unknown:?}");
    let get = shop.http.get(format!("{}/pay/micropay", shop.base)).send().await.unwrap();
    assert!(get.text().await.unwrap().contains("post"));
}

#[tokio::test]
async fn the_test_environment_has_a_key_of_its_own_for_who_has_the_real_one() {
    let shop = Shop::open().await;
    let key_of_test = test_key(&shop).await;
    assert_ne!(key_of_test.expose(), key().expose());
    assert_eq!(key_of_test.expose(), test_key(&shop).await.expose(), "always the same");
    for path in ["/sandboxnew/pay/getsignkey", "/xdc/apiv2getsignkey/sign/getsignkey"] {
        let answer = call(&shop, path, &seal(bare(), &other_key(), SignType::Md5)).await;
        assert_eq!((&*answer["return_code"], answer.get("sandbox_signkey")), ("FAIL", None), "{path}");
    }
    // Everything that is simulated is there, with that key and no other.
    let signed = |fields: Fields, key: &V2Key| seal(with(fields, &[("nonce_str", "n")]), key, SignType::Md5);
    let refused = call(&shop, "/sandboxnew/pay/unifiedorder", &signed(order("A100001"), &key())).await;
    assert_eq!(refused["return_msg"], "签名错误", "{refused:?}");
    let placed = call(&shop, "/sandboxnew/pay/unifiedorder", &signed(order("A100001"), &key_of_test)).await;
    assert_eq!(verify(&placed, &key_of_test), Ok(SignType::Md5), "{placed:?}");
    let (status, paid) = shop.control("pay", json!({"prepay_id": placed["prepay_id"]})).await;
    assert_eq!(status, 200, "{paid}");
    for path in ["/sandboxnew/pay/orderquery", "/xdc/apiv2sandbox/pay/orderquery"] {
        let found = call(&shop, path, &signed(about("A100001"), &key_of_test)).await;
        assert_eq!(found["trade_state"], "SUCCESS", "{found:?}");
    }
    let refund = with(about("A100001"), &[("out_refund_no", "R1"), ("total_fee", "88"), ("refund_fee", "8")]);
    let taken = call(&shop, "/sandboxnew/pay/refund", &signed(refund.clone(), &key_of_test)).await;
    let same = call(&shop, "/sandboxnew/secapi/pay/refund", &signed(refund, &key_of_test)).await;
    assert_eq!((&taken["result_code"], &taken["refund_id"]), (&"SUCCESS".to_owned(), &same["refund_id"]), "{taken:?}");
    let found = call(&shop, "/sandboxnew/pay/refundquery", &signed(about("A100001"), &key_of_test)).await;
    assert_eq!(found["refund_id_0"], taken["refund_id"], "{found:?}");
}
