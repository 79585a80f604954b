use serde_json::{Value, json};
use wxpay_worker::clock::Timestamp;
use wxpay_worker::event::fact::Fact;
use wxpay_worker::wechat::v2::close;
use wxpay_worker::wechat::v2::close::Closed;
use wxpay_worker::wechat::v2::coupon;
use wxpay_worker::wechat::v2::coupon::Coupon;
use wxpay_worker::wechat::v2::query;
use wxpay_worker::wechat::v2::query::Asked;
use wxpay_worker::wechat::v2::refund;
use wxpay_worker::wechat::v2::refund::Refunding;
use wxpay_worker::wechat::v2::refund_query;
use wxpay_worker::wechat::v2::refund_query::{RefundsAsked, Which};
use wxpay_worker::wechat::v2::unified_order;
use wxpay_worker::wechat::v2::unified_order::Placed;
use wxpay_worker::wechat::v2::{sign, xml};

use super::Vector;
use crate::wechat::{app_id, fields, merchant, out_trade_no};

const NOW: Timestamp = Timestamp::from_ms(1_735_787_000_000);

fn body(v: &Vector) -> &'static [u8] {
    v.input("xml").as_bytes()
}

fn place(v: &Vector, trade_type: &str) -> Placed {
    let params = fields([("mch_id", "1900000109"), ("appid", "wx8888888888888888"), ("trade_type", trade_type)]);
    unified_order::parse_reply(&params, &v.key(), body(v), NOW)
}

fn issued(v: &Vector, trade_type: &str) {
    let Placed::Issued(prepay) = place(v, trade_type) else { panic!("{}: not issued", v.name) };
    assert_eq!(prepay.issued_at, NOW);
    assert!(!prepay.prepay_id.is_empty(), "{}", v.name);
    for (name, value) in [
        ("prepay_id", Some(&prepay.prepay_id)),
        ("code_url", prepay.code_url.as_ref()),
        ("mweb_url", prepay.mweb_url.as_ref()),
    ] {
        if let Some(expected) = v.expected[name].as_str() {
            assert_eq!(value.map(String::as_str), Some(expected), "{}: {name}", v.name);
        }
    }
}

fn not_issued(v: &Vector) {
    let code = v.expects("err_code");
    let placed = place(v, "JSAPI");
    match (v.expects("handling"), &placed) {
        ("query_then_treat_as_paid" | "query_existing_order", Placed::Ask(error)) => assert_eq!(error.code, code),
        // Not to be repeated as it is: what the number stands for is asked first.
        ("parameters_differ_or_invalid_do_not_retry", Placed::Ask(error)) => assert_eq!(error.code, code),
        ("final_new_order_number_needed", Placed::Closed(error)) => assert_eq!(error.code, code),
        // A missing permission ends the order; a wrong key does not.
        ("configuration_error", Placed::Refused(error) | Placed::Setup(error)) => {
            assert_eq!(error.code, code);
            assert_eq!(matches!(placed, Placed::Refused(_)), code == "NOAUTH", "{}", v.name);
            assert!(!error.message.is_empty(), "{}: WeChat's own words are for the developer", v.name);
        }
        ("unknown_retry_same_parameters" | "unknown_code_fail_safe_query", Placed::Unknown { why, .. }) => {
            assert!(why.contains(code), "{}: {why}", v.name);
        }
        (handling, placed) => panic!("{}: {handling} came out as {placed:?}", v.name),
    }
}

fn coupons(found: &[Coupon]) -> Value {
    found.iter().map(|c| json!({"index": c.index, "type": c.kind, "id": c.id, "fee": c.fee})).collect()
}

fn queried(v: &Vector) {
    let fields = xml::parse(body(v)).unwrap();
    let asked_for = fields.get("out_trade_no").map_or("T20250102030405000001", String::as_str);
    let asked = query::parse_reply(&merchant(&v.key()), &app_id(), &out_trade_no(asked_for), body(v));
    let Asked::Fact(fact, raw) = asked else { panic!("{}: {asked:?}", v.name) };
    assert_eq!(raw.as_str().as_bytes(), body(v), "{}: the evidence is the reply as it came", v.name);
    if v.expected["err_code"] == "ORDERNOTEXIST" {
        assert_eq!(fact, Fact::NotFound);
        return;
    }
    assert_eq!(fields["trade_state"], v.expects("trade_state"), "{}", v.name);
    match fact {
        Fact::Paid(ref payment) | Fact::Refunded(ref payment) => {
            assert_eq!(v.expected["paid"], true, "{}", v.name);
            let refunded = matches!(fact, Fact::Refunded(_));
            assert_eq!(refunded, fields["trade_state"] == "REFUND", "{}", v.name);
            assert_eq!(payment.out_trade_no.as_str(), asked_for);
            if let Some(at) = v.expected["paid_at_utc"].as_str() {
                assert_eq!(json!(payment.total_fee), v.expected["total_fee"]);
                assert_eq!(json!(payment.cash_fee), v.expected["cash_fee"]);
                assert_eq!(json!(payment.settlement_total_fee), v.expected["settlement_total_fee"]);
                assert_eq!(payment.time_end, Timestamp::parse_rfc3339(at).unwrap());
                let found = coupon::of_payment(&fields);
                assert_eq!(coupons(&found), v.expected["coupons"]);
                let sum: i64 = found.iter().map(|c| c.fee.as_i64()).sum();
                assert_eq!(sum, v.expected["coupon_fee"].as_i64().unwrap());
            }
        }
        Fact::Closed => assert_eq!((&v.expected["paid"], &v.expected["final"]), (&json!(false), &json!(true))),
        Fact::Unpaid { trade_state } => {
            assert_eq!(v.expected["paid"], false, "{}", v.name);
            assert_eq!(trade_state, v.expects("trade_state"));
            // PAYERROR is final for payments by payment code, which are not placed here; see the query's comment.
            assert_eq!(v.expected["final"] == true, trade_state == "PAYERROR", "{}", v.name);
        }
        fact => panic!("{}: {fact:?}", v.name),
    }
}

fn refund_params() -> xml::Fields {
    fields([
        ("mch_id", "1900000109"),
        ("appid", "wx8888888888888888"),
        ("transaction_id", "1008450740201411110005820873"),
        ("out_refund_no", "R20250103000001"),
        ("total_fee", "100"),
        ("refund_fee", "30"),
    ])
}

fn refunded(v: &Vector) {
    match refund::parse_reply(&refund_params(), &v.key(), body(v)) {
        Refunding::Accepted(accepted, _) => {
            assert_eq!(v.expects("outcome"), "accepted_not_final");
            assert_eq!(accepted.refund_id, v.expects("refund_id"));
            assert_eq!(json!(accepted.refund_fee), v.expected["refund_fee"]);
            assert_eq!(accepted.coupons.iter().map(|c| c.fee.as_i64()).collect::<Vec<_>>(), [3, 2]);
        }
        Refunding::Unknown { why, .. } => {
            assert_eq!(v.expects("handling"), "unknown_retry_same_out_refund_no");
            assert!(why.contains(v.expects("err_code")), "{why}");
        }
        other => panic!("{}: {other:?}", v.name),
    }
}

fn refunds_queried(v: &Vector) {
    let which = Which::Attempt(out_trade_no("T20250102030405000001"), 0);
    let asked = refund_query::parse_reply(&merchant(&v.key()), &app_id(), &which, body(v));
    let RefundsAsked::Found(found, _) = asked else { panic!("{}: {asked:?}", v.name) };
    assert_eq!(found.total_refund_count, Some(2));
    let expected = v.expected["refunds"].as_array().unwrap();
    assert_eq!(found.refunds.len(), expected.len());
    for (refund, expected) in found.refunds.iter().zip(expected) {
        assert_eq!(refund.out_refund_no.as_str(), expected["out_refund_no"]);
        assert_eq!(json!(refund.refund_fee), expected["refund_fee"]);
        assert_eq!(refund.status.as_str(), expected["status"]);
        let success = expected["success_utc"].as_str().map(|t| Timestamp::parse_rfc3339(t).unwrap());
        assert_eq!(refund.success_time, success);
        assert_eq!(coupons(&refund.coupons), expected["coupons"]);
    }
}

#[test]
fn every_response_vector_is_read_as_it_says() {
    for v in super::of("v2-response", 26) {
        let fields = xml::parse(body(&v)).unwrap();
        match v.expected["signature_valid"].as_bool() {
            Some(valid) => assert_eq!(sign::verify(&fields, &v.key()).is_ok(), valid, "{}", v.name),
            None => assert_eq!(v.expected["has_sign"], false, "{}", v.name),
        }
        match v.name {
            "v2-unifiedorder-response-jsapi" | "v2-unifiedorder-response-jsapi-hmac" => issued(&v, "JSAPI"),
            "v2-unifiedorder-response-native" => issued(&v, "NATIVE"),
            "v2-unifiedorder-response-mweb" => issued(&v, "MWEB"),
            "v2-response-return_code-fail-unsigned" => match place(&v, "JSAPI") {
                Placed::Setup(error) => assert_eq!(error.message, v.expects("return_msg")),
                other => panic!("{other:?}"),
            },
            name if name.starts_with("v2-unifiedorder-response-result-fail-") => not_issued(&v),
            name if name.starts_with("v2-orderquery-") => queried(&v),
            "v2-closeorder-success" => {
                assert_eq!(close::parse_reply(&merchant(&v.key()), &app_id(), body(&v)), Closed::Done);
            }
            "v2-closeorder-orderpaid" => {
                assert_eq!(close::parse_reply(&merchant(&v.key()), &app_id(), body(&v)), Closed::AlreadyPaid);
            }
            "v2-refund-accepted" | "v2-refund-systemerror" => refunded(&v),
            "v2-refundquery-two-refunds" => refunds_queried(&v),
            name => panic!("no test for {name}"),
        }
    }
}
