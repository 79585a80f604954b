use serde_json::json;
use wxpay_worker::clock::Timestamp;
use wxpay_worker::wechat::v2::notify::NotifyError;
use wxpay_worker::wechat::v2::refund_notify::{decrypt, encrypt, parse_and_decrypt};
use wxpay_worker::wechat::v2::xml;

use super::{Vector, fields};
use crate::wechat::{app_id, merchant};

const NOW: Timestamp = Timestamp::from_ms(1_800_000_000_000);

fn opened(v: &Vector) {
    let body = v.input("xml").as_bytes();
    let req_info = &xml::parse(body).unwrap()["req_info"];
    let plain = decrypt(req_info, &v.key()).unwrap();
    assert_eq!(String::from_utf8(plain.clone()).unwrap(), v.expects("plaintext_xml"), "{}", v.name);
    assert_eq!(&encrypt(&plain, &v.key()).unwrap(), req_info, "{}: both directions", v.name);
    let inner = fields(&v.expected["fields"]);
    assert_eq!(xml::parse(&plain).unwrap(), inner, "{}", v.name);

    let hint = parse_and_decrypt(body, &merchant(&v.key()), &[app_id()], NOW).unwrap();
    assert_eq!(hint.out_refund_no.as_str(), inner["out_refund_no"]);
    assert_eq!(hint.refund_id, inner["refund_id"]);
    assert_eq!(hint.transaction_id.as_str(), inner["transaction_id"]);
    assert_eq!(hint.out_trade_no.as_str(), inner["out_trade_no"]);
    assert_eq!(json!([hint.total_fee, hint.refund_fee]), json!([100, 30]));
    assert_eq!(hint.status.as_str(), inner["refund_status"], "{}", v.name);
    let success = inner.get("success_time").map(|t| Timestamp::parse_beijing_spaced(t).unwrap());
    assert_eq!(hint.success_time, success, "{}", v.name);
}

fn rejected(v: &Vector) {
    assert!(v.is_rejected(), "{}", v.name);
    let envelope = format!(
        "<xml><return_code>SUCCESS</return_code><appid>wx8888888888888888</appid><mch_id>1900000109</mch_id>\
         <req_info>{}</req_info></xml>",
        v.input("req_info")
    );
    let result = parse_and_decrypt(envelope.as_bytes(), &merchant(&v.key()), &[app_id()], NOW);
    assert_eq!(result, Err(NotifyError::Undecipherable), "{}", v.name);
}

#[test]
fn every_refund_notification_vector_is_opened_or_rejected_as_it_says() {
    for v in super::of("v2-refund-notify", 7) {
        if v.inputs["xml"].is_string() { opened(&v) } else { rejected(&v) }
    }
}
