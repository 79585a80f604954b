use serde_json::json;
use wxpay_worker::clock::Timestamp;
use wxpay_worker::ids::AppId;
use wxpay_worker::wechat::v2::notify::{
    NoticeResult, NotifyError, REPLY_CONTENT_TYPE, parse_and_verify, reply_fail, reply_success,
};
use wxpay_worker::wechat::v2::sign::string_to_sign;
use wxpay_worker::wechat::v2::xml;

use super::{Vector, fields};
use crate::wechat::{app_id, key, merchant, merchant_of};

const NOW: Timestamp = Timestamp::from_ms(1_800_000_000_000);

fn verified(v: &Vector) {
    let body = v.input("xml").as_bytes();
    let notice = match parse_and_verify(body, &merchant(&v.key()), &[app_id()], NOW) {
        Ok(notice) => notice,
        Err(error) => {
            assert_eq!(v.expected["signature_valid"], false, "{}: {error}", v.name);
            let reason = match v.name {
                "v2-notify-tampered-total_fee" | "v2-notify-removed-field" => NotifyError::WrongSignature,
                "v2-notify-missing-sign" | "v2-notify-empty-sign" => NotifyError::Unsigned,
                "v2-notify-return-fail" => NotifyError::NoSuccess,
                name => panic!("{name}: {error}"),
            };
            assert_eq!(error, reason, "{}", v.name);
            return;
        }
    };
    assert_eq!(v.expected["signature_valid"], true, "{}", v.name);
    assert_eq!(notice.key_fingerprint, v.key().fingerprint());
    match notice.result {
        NoticeResult::Paid(payment) => {
            assert_eq!(notice.out_trade_no.as_str(), v.expects("out_trade_no"));
            assert_eq!(payment.out_trade_no, notice.out_trade_no);
            assert_eq!(json!(payment.total_fee), v.expected["total_fee"], "{}", v.name);
            assert_eq!(payment.transaction_id.as_str(), v.expects("transaction_id"));
            assert_eq!(payment.time_end, Timestamp::parse_rfc3339(v.expects("paid_at_utc")).unwrap());
            assert_eq!(notice.sign_type.as_str(), v.expects("algorithm"), "{}", v.name);
        }
        NoticeResult::Failed(error) => {
            assert_eq!(v.expected["paid"], false, "{}", v.name);
            assert_eq!(error.code, "SYSTEMERROR");
        }
    }
}

/// The official sample's key was never published, so no key that is known may open it.
fn official_sample(v: &Vector) {
    let body = v.input("xml").as_bytes();
    let found = xml::parse(body).unwrap();
    assert_eq!(found, fields(&v.expected["fields"]));
    assert_eq!(string_to_sign(&found), v.expects("string_to_sign_without_key"));
    let apps = [AppId::parse("wx2421b1c4370ec43b").unwrap()];
    for text in
        ["k7Qm2Zt9Xb4Lw8Rd6Vn1Hs3Jp5Gy0CfA", "192006250b4c09247ec02edce69f6a2d", "qazwsxedcrfvtgbyhnujmikolp111111"]
    {
        let merchant = merchant_of("10000100", &key(text));
        assert_eq!(parse_and_verify(body, &merchant, &apps, NOW), Err(NotifyError::WrongSignature));
    }
}

#[test]
fn every_notification_vector_is_accepted_or_rejected_as_it_says() {
    for v in super::of("v2-notify", 12) {
        match v.name {
            "v2-notify-official-sample-unverifiable" => official_sample(&v),
            "v2-notify-reply-bytes" => {
                assert_eq!(reply_success(), v.expects("success"));
                assert_eq!(reply_fail(NotifyError::WrongSignature.reply_text()), v.expects("failure"));
                assert_eq!(REPLY_CONTENT_TYPE, v.expects("content_type"));
            }
            _ => verified(&v),
        }
    }
}
