use wxpay_worker::clock::Timestamp;
use wxpay_worker::event::fact::Fact;
use wxpay_worker::wechat::outcome::{Api, Class, ErrCode, Outcome, of_err_code, of_return_fail, of_transport};
use wxpay_worker::wechat::transport::TransportError;
use wxpay_worker::wechat::v2::query;
use wxpay_worker::wechat::v2::query::Asked;
use wxpay_worker::wechat::v2::refund;
use wxpay_worker::wechat::v2::refund::Refunding;
use wxpay_worker::wechat::v2::refund_query;
use wxpay_worker::wechat::v2::refund_query::{RefundsAsked, Which};
use wxpay_worker::wechat::v2::reply::{Expected, parse};
use wxpay_worker::wechat::v2::unified_order;
use wxpay_worker::wechat::v2::unified_order::Placed;

use super::requests::{native_order, refund_order};
use super::{app_id, key, merchant, merchant_of, our_key, out_trade_no, signed, signed_list};

const APIS: [Api; 5] = [Api::UnifiedOrder, Api::OrderQuery, Api::CloseOrder, Api::Refund, Api::RefundQuery];

const OUR_FAULT: [&str; 7] =
    ["PARAM_ERROR", "NOAUTH", "LACK_PARAMS", "XML_FORMAT_ERROR", "REQUIRE_POST_METHOD", "POST_DATA_EMPTY", "NOT_UTF8"];

/// The merchant's setup: the same call passes once it is corrected.
const OUR_SETUP: [&str; 5] = ["APPID_NOT_EXIST", "MCHID_NOT_EXIST", "APPID_MCHID_NOT_MATCH", "SIGNERROR", "CERT_ERROR"];

/// What the documentation lets a caller do, beyond [`OUR_FAULT`] and [`OUR_SETUP`]; every other code is unknown.
fn table(api: Api) -> Vec<(&'static str, Class)> {
    match api {
        Api::UnifiedOrder => vec![
            ("NOTENOUGH", Class::Refused),
            ("ORDERPAID", Class::Ask),
            ("OUT_TRADE_NO_USED", Class::Ask),
            ("INVALID_REQUEST", Class::Ask),
            ("ORDERCLOSED", Class::Closed),
        ],
        Api::OrderQuery => vec![
            ("ORDERNOTEXIST", Class::NotFound),
            ("INVALID_REQUEST", Class::Refused),
            ("INVALID_TRANSACTIONID", Class::Refused),
        ],
        Api::CloseOrder => vec![
            ("ORDERCLOSED", Class::Done),
            ("ORDERPAID", Class::Ask),
            ("ORDERNOTEXIST", Class::NotFound),
            ("INVALID_REQUEST", Class::Refused),
        ],
        Api::Refund => vec![
            ("TRADE_OVERDUE", Class::Refused),
            ("USER_ACCOUNT_ABNORMAL", Class::Refused),
            ("ERROR", Class::Refused),
            ("NOTENOUGH", Class::Later),
            ("FREQUENCY_LIMITED", Class::TooFrequent),
            ("ORDER_NOT_READY", Class::Later),
            // People correct it, and the same refund is right.
            ("NOAUTH", Class::Later),
            ("INVALID_REQ_TOO_MUCH", Class::Later),
            ("REFUND_FEE_MISMATCH", Class::Ask),
            ("INVALID_REQUEST", Class::Ask),
            ("INVALID_TRANSACTIONID", Class::Doubt),
            ("ORDERNOTEXIST", Class::Doubt),
        ],
        Api::RefundQuery => vec![
            ("REFUNDNOTEXIST", Class::NotFound),
            ("INVALID_REQUEST", Class::Refused),
            ("INVALID_TRANSACTIONID", Class::Refused),
        ],
    }
}

#[test]
fn every_code_allows_what_the_documentation_says_and_nothing_more() {
    assert_eq!(ErrCode::LISTED.len(), 42);
    for api in APIS {
        let table = table(api);
        for code in ErrCode::LISTED {
            let text = code.as_str().unwrap();
            assert_eq!(ErrCode::parse(text), *code);
            let refused = OUR_FAULT.contains(&text).then_some(Class::Refused);
            let refused = refused.or(OUR_SETUP.contains(&text).then_some(Class::Setup));
            let listed = table.iter().find(|(name, _)| *name == text).map(|(_, class)| *class);
            let expected = listed.or(refused).unwrap_or(Class::Unknown);
            assert_eq!(of_err_code(api, *code), expected, "{api:?} {text}");
        }
        for (name, _) in &table {
            assert_ne!(ErrCode::parse(name), ErrCode::Other, "{name}");
        }
    }
}

#[test]
fn an_unlisted_code_is_unknown_and_never_refused() {
    for text in ["", "SOME_NEW_CODE", "systemerror", " ORDERPAID", "ORDERPAID2"] {
        assert_eq!(ErrCode::parse(text), ErrCode::Other, "{text:?}");
    }
    assert_eq!(ErrCode::Other.as_str(), None);
    for api in APIS {
        assert_eq!(of_err_code(api, ErrCode::Other), Class::Unknown);
    }
}

#[test]
fn an_unsigned_failure_in_known_words_is_a_refusal_unless_wechat_says_it_is_busy_and_of_a_refund_never() {
    for api in APIS {
        let unless_refund = |class| if api == Api::Refund { Class::Doubt } else { class };
        for text in ["缺少参数total_fee", "XML格式错误", "mch_id参数格式错误"] {
            assert_eq!(of_return_fail(api, text), unless_refund(Class::Refused), "{api:?} {text}");
        }
        for text in ["签名错误", "appid不存在"] {
            assert_eq!(of_return_fail(api, text), unless_refund(Class::Setup), "{api:?} {text}");
        }
        for text in ["系统繁忙，请稍后再试", "SystemError", "system busy", "请求过于频繁", "系统超时", "", "  "]
        {
            assert_eq!(of_return_fail(api, text), Class::Unknown, "{api:?} {text}");
        }
    }
}

#[test]
fn a_broken_call_is_unknown_except_a_refund_without_certificate_which_waits() {
    let why = || "x".to_owned();
    for api in APIS {
        for error in [
            TransportError::NotSent { why: why() },
            TransportError::NoAnswer { why: why() },
            TransportError::Status { status: 500 },
            TransportError::Status { status: 403 },
            TransportError::TooLarge,
        ] {
            assert_eq!(of_transport(api, &error), Class::Unknown, "{api:?} {error}");
        }
        let expected = if api == Api::Refund { Class::Later } else { Class::Unknown };
        assert_eq!(of_transport(api, &TransportError::Status { status: 400 }), expected, "{api:?}");
    }
}

fn read(body: &str) -> Outcome {
    let key = our_key();
    let expected = Expected { api: Api::CloseOrder, key: &key, mch_id: "1900000109", appid: "wx8888888888888888" };
    parse(expected, body.as_bytes())
}

fn is_unknown(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Unknown { why, .. } if !why.is_empty())
}

#[test]
fn a_reply_that_cannot_be_trusted_is_unknown() {
    let good = signed([("result_code", "SUCCESS")]);
    assert!(matches!(read(&good), Outcome::Done(_)));
    for bad in [
        String::new(),
        "<html><body>502 Bad Gateway</body></html>".into(),
        "{\"return_code\":\"SUCCESS\"}".into(),
        "<xml><result_code>SUCCESS</result_code></xml>".into(),
        "<xml><return_code>MAYBE</return_code></xml>".into(),
        "<xml><return_code>SUCCESS</return_code><result_code>SUCCESS</result_code></xml>".into(),
        good.replace("<sign>", "<sign><![CDATA[0]]>"),
        good.replace("</xml>", "<extra>1</extra></xml>"),
        good[..good.len() - 7].to_owned(),
        signed([("result_code", "SUCCESS"), ("mch_id", "1900000110")]),
        signed([("result_code", "SUCCESS"), ("appid", "wx0000000000000000")]),
        signed([("result_code", "MAYBE")]),
        signed([]),
    ] {
        let outcome = read(&bad);
        assert!(is_unknown(&outcome), "{bad} came out as {outcome:?}");
    }
    let other = key("00000000000000000000000000000000");
    let expected = Expected { api: Api::CloseOrder, key: &other, mch_id: "1900000109", appid: "wx8888888888888888" };
    assert!(is_unknown(&parse(expected, good.as_bytes())), "signed with another key");
}

#[test]
fn an_unsigned_failure_that_names_a_busy_code_is_unknown() {
    let fail = |rest: &str| read(&format!("<xml><return_code>FAIL</return_code>{rest}</xml>"));
    assert!(matches!(fail("<return_msg>参数错误</return_msg>"), Outcome::Refused(_)));
    assert!(matches!(fail("<return_msg>签名错误</return_msg>"), Outcome::Setup(_)));
    assert!(is_unknown(&fail("<return_msg>FAIL</return_msg><err_code>SYSTEMERROR</err_code>")));
    assert!(is_unknown(&fail("")));
}

#[test]
fn words_from_outside_are_one_plain_line() {
    let long = format!("a\r\n\u{1b}[31m{}", "长".repeat(500));
    // The control character is no XML; WeChat could still send it escaped, and the parser refuses that.
    let reply =
        signed([("result_code", "FAIL"), ("err_code", "NOAUTH"), ("err_code_des", &long.replace('\u{1b}', ""))]);
    let Outcome::Refused(error) = read(&reply) else { panic!("refused") };
    assert!(!error.message.contains(['\r', '\n']));
    assert_eq!(error.message.chars().count(), 128);
}

#[test]
fn a_handle_without_what_its_trade_type_needs_is_unknown() {
    let params = unified_order::params(&native_order());
    let place = |body: String| unified_order::parse_reply(&params, &our_key(), body.as_bytes(), Timestamp::from_ms(0));
    for bad in [
        signed([("result_code", "SUCCESS"), ("prepay_id", "wx1")]),
        signed([("result_code", "SUCCESS"), ("code_url", "weixin://1")]),
        signed([("result_code", "SUCCESS"), ("code_url", ""), ("prepay_id", "wx1")]),
    ] {
        let placed = place(bad);
        assert!(matches!(placed, Placed::Unknown { .. }), "{placed:?}");
    }
    let good = signed([("result_code", "SUCCESS"), ("prepay_id", "wx1"), ("code_url", "weixin://1")]);
    assert!(matches!(place(good), Placed::Issued(_)));
}

fn ask(body: String) -> Asked {
    query::parse_reply(&merchant(&our_key()), &app_id(), &out_trade_no("T20250102"), body.as_bytes())
}

#[test]
fn a_query_reply_about_another_number_or_in_a_new_state_is_unknown() {
    for bad in [
        signed([("result_code", "SUCCESS"), ("out_trade_no", "T20250103"), ("trade_state", "CLOSED")]),
        signed([("result_code", "SUCCESS"), ("trade_state", "CLOSED")]),
        signed([("result_code", "SUCCESS"), ("out_trade_no", "T20250102"), ("trade_state", "NEW_STATE")]),
        signed([("result_code", "SUCCESS"), ("out_trade_no", "T20250102")]),
        // Says paid, without amount, time or WeChat's number.
        signed([("result_code", "SUCCESS"), ("out_trade_no", "T20250102"), ("trade_state", "SUCCESS")]),
        signed([("result_code", "FAIL"), ("err_code", "SYSTEMERROR")]),
    ] {
        let asked = ask(bad);
        assert!(matches!(asked, Asked::Unknown { .. }), "{asked:?}");
    }
    let state =
        |state| ask(signed([("result_code", "SUCCESS"), ("out_trade_no", "T20250102"), ("trade_state", state)]));
    assert!(matches!(state("ACCEPT"), Asked::Fact(Fact::Unpaid { .. }, _)));
    assert!(matches!(state("CLOSED"), Asked::Fact(Fact::Closed, _)));
    let refused = ask(signed([("result_code", "FAIL"), ("err_code", "NOAUTH")]));
    assert!(matches!(refused, Asked::Refused(_)), "{refused:?}");
    let foreign = merchant_of("1900000110", &our_key());
    let body = signed([("result_code", "SUCCESS"), ("out_trade_no", "T20250102"), ("trade_state", "CLOSED")]);
    let asked = query::parse_reply(&foreign, &app_id(), &out_trade_no("T20250102"), body.as_bytes());
    assert!(matches!(asked, Asked::Unknown { .. }), "{asked:?}");
}

#[test]
fn a_refund_accepted_for_other_amounts_is_unknown() {
    let params = refund::params(&refund_order());
    let reply = |number: &str, fee: &str| {
        let body = signed([
            ("result_code", "SUCCESS"),
            ("refund_id", "5000"),
            ("out_refund_no", number),
            ("transaction_id", "1008450740201411110005820873"),
            ("out_trade_no", "T20250102"),
            ("refund_fee", fee),
            ("total_fee", "100"),
        ]);
        refund::parse_reply(&params, &our_key(), body.as_bytes())
    };
    assert!(matches!(reply("R2025", "30"), Refunding::Accepted(..)));
    assert!(matches!(reply("R2025", "31"), Refunding::Unknown { .. }));
    assert!(matches!(reply("R2026", "30"), Refunding::Unknown { .. }));
    let fail = |code| {
        let body = signed([("result_code", "FAIL"), ("err_code", code)]);
        refund::parse_reply(&params, &our_key(), body.as_bytes())
    };
    assert!(matches!(fail("NOTENOUGH"), Refunding::Later(_)));
    assert!(matches!(fail("FREQUENCY_LIMITED"), Refunding::TooFrequent(_)));
    assert!(matches!(fail("BIZERR_NEED_RETRY"), Refunding::Unknown { .. }));
    assert!(matches!(fail("REFUND_FEE_MISMATCH"), Refunding::Ask(_)));
    assert!(matches!(fail("SIGNERROR"), Refunding::Later(_)));
    assert!(matches!(fail("ORDERNOTEXIST"), Refunding::Doubt(_)));
    assert!(matches!(fail("USER_ACCOUNT_ABNORMAL"), Refunding::Refused(_)));
    let unsigned = "<xml><return_code>FAIL</return_code><return_msg>USER_ACCOUNT_ABNORMAL</return_msg></xml>";
    let unsigned = refund::parse_reply(&params, &our_key(), unsigned.as_bytes());
    assert!(matches!(unsigned, Refunding::Doubt(_)), "{unsigned:?}");
}

#[test]
fn a_list_of_refunds_goes_on_while_its_pages_are_full_or_wechats_count_is_not_reached() {
    let page = |count: u32, all: Option<u32>| {
        let mut fields = vec![
            ("result_code".to_owned(), "SUCCESS".to_owned()),
            ("transaction_id".to_owned(), "1008".to_owned()),
            ("out_trade_no".to_owned(), "T20250102".to_owned()),
            ("total_fee".to_owned(), "100".to_owned()),
            ("refund_count".to_owned(), count.to_string()),
        ];
        fields.extend(all.map(|all| ("total_refund_count".to_owned(), all.to_string())));
        for n in 0..count {
            let of =
                [("out_refund_no", "R2025"), ("refund_id", "5000"), ("refund_fee", "1"), ("refund_status", "SUCCESS")];
            fields.extend(of.map(|(name, value)| (format!("{name}_{n}"), value.to_owned())));
        }
        let body = signed_list(fields.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let which = Which::Attempt(out_trade_no("T20250102"), 0);
        match refund_query::parse_reply(&merchant(&our_key()), &app_id(), &which, body.as_bytes()) {
            RefundsAsked::Found(found, _) => found,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(page(10, Some(12)).next_page(0), Some(10));
    assert_eq!(page(2, Some(12)).next_page(10), None);
    assert_eq!(page(10, Some(10)).next_page(0), None);
    // Without the count a full page says that there may be more.
    assert_eq!(page(10, None).next_page(0), Some(10));
    assert_eq!(page(9, None).next_page(10), None);
    assert_eq!(page(0, None).next_page(10), None);
    assert_eq!(page(0, Some(30)).next_page(10), None, "no endless questions");
}

#[test]
fn a_refund_query_reply_in_a_new_status_or_about_another_refund_is_unknown() {
    let reply = |number: &str, status: &str| {
        let body = signed([
            ("result_code", "SUCCESS"),
            ("transaction_id", "1008"),
            ("out_trade_no", "T20250102"),
            ("total_fee", "100"),
            ("refund_count", "1"),
            ("out_refund_no_0", number),
            ("refund_id_0", "5000"),
            ("refund_fee_0", "30"),
            ("refund_status_0", status),
        ]);
        let which = Which::Refund(refund_order().out_refund_no);
        refund_query::parse_reply(&merchant(&our_key()), &app_id(), &which, body.as_bytes())
    };
    assert!(matches!(reply("R2025", "CHANGE"), RefundsAsked::Found(..)));
    assert!(matches!(reply("R2025", "NEW_STATUS"), RefundsAsked::Unknown { .. }));
    assert!(matches!(reply("R2026", "SUCCESS"), RefundsAsked::Unknown { .. }));
}
