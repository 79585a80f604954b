//! Answers without a signature: what they may end, and that their words are kept.

use wxpay_worker::clock::Timestamp;
use wxpay_worker::event::fact::WechatError;
use wxpay_worker::wechat::outcome::{Api, Class, Outcome, is_throttled, of_return_fail};
use wxpay_worker::wechat::setup_fault::SetupFault;
use wxpay_worker::wechat::transport::TransportError;
use wxpay_worker::wechat::v2::refund;
use wxpay_worker::wechat::v2::refund::Refunding;
use wxpay_worker::wechat::v2::reply;
use wxpay_worker::wechat::v2::unified_order;
use wxpay_worker::wechat::v2::unified_order::Placed;

use super::requests::{native_order, refund_order};
use super::{our_key, signed};

const QUERIES_AND_ORDERS: [Api; 4] = [Api::UnifiedOrder, Api::OrderQuery, Api::CloseOrder, Api::RefundQuery];

#[test]
fn only_words_known_to_mean_a_wrong_request_refuse() {
    for words in [
        "服务器忙，请重试",
        "网络异常，请重试",
        "交易繁忙",
        "System is busy",
        "internal error",
        "Internal Server Error",
        "request timed out",
        "处理失败",
        "FAIL",
        "x",
        "系统维护中",
        // Busy, whatever else it says.
        "签名错误：系统繁忙",
    ] {
        for api in QUERIES_AND_ORDERS {
            assert_eq!(of_return_fail(api, words), Class::Unknown, "{api:?} {words}");
        }
        assert!(matches!(of_return_fail(Api::Refund, words), Class::Unknown | Class::Doubt), "{words}");
    }
    for words in [
        "参数错误",
        "参数格式校验错误：total_fee",
        "body参数长度有误",
        "缺少参数：appid",
        "JSAPI支付必须传openid",
        "appid and openid not match",
        "sub_mch_id与openid不匹配",
        "invalid spbill_create_ip",
        "spbill_create_ip地址不合法，参数错误",
        "XML格式错误",
        "编码格式错误，请使用UTF-8编码",
        "post数据为空",
        "请使用post方法",
        "FAIL PARAM_ERROR",
    ] {
        for api in QUERIES_AND_ORDERS {
            assert_eq!(of_return_fail(api, words), Class::Refused, "{api:?} {words}");
        }
        assert_eq!(of_return_fail(Api::Refund, words), Class::Doubt, "a refund is never refused unsigned: {words}");
    }
}

#[test]
fn words_about_the_merchants_setup_leave_an_order_waiting_and_name_what_to_check() {
    use SetupFault::*;
    for (words, fault) in [
        ("签名错误，请检查后再试", Signature),
        ("签名失败", Signature),
        ("sign error", Signature),
        ("FAIL SIGNERROR", Signature),
        ("appid不存在", AppId),
        ("invalid appid", AppId),
        ("商户号mch_id与appid不匹配", AppId),
        ("appid and mch_id not match", AppId),
        ("mch_id错误", MchId),
        ("商户号不存在", MchId),
        ("证书已过期", Certificate),
        ("商户证书校验失败", Certificate),
        ("certificate not match", Certificate),
        ("此IP地址不允许调用接口", Ip),
        ("IP地址非你在商户平台设置的可用IP地址", Ip),
        ("ip不在白名单", Ip),
    ] {
        for api in QUERIES_AND_ORDERS {
            assert_eq!(of_return_fail(api, words), Class::Setup, "{api:?} {words}");
        }
        assert_eq!(of_return_fail(Api::Refund, words), Class::Doubt, "a refund is never refused unsigned: {words}");
        let said = WechatError { code: WechatError::FAIL.into(), message: words.into() };
        assert_eq!(SetupFault::of(&said), Some(fault), "{words}");
        // Neither a page in front of WeChat nor a business answer says so by its words.
        for code in [WechatError::HTTP, WechatError::UNSIGNED, "PARAM_ERROR"] {
            assert_eq!(SetupFault::of(&WechatError { code: code.into(), message: words.into() }), None, "{words}");
        }
        let busy = WechatError { code: WechatError::FAIL.into(), message: format!("{words}，系统繁忙") };
        assert_eq!(SetupFault::of(&busy), None, "{busy:?}");
    }
}

#[test]
fn a_missing_permission_is_the_orders_and_an_address_that_is_not_listed_the_merchants() {
    let params = unified_order::params(&native_order());
    let place = |words: &str| {
        let body = signed([("result_code", "FAIL"), ("err_code", "NOAUTH"), ("err_code_des", words)]);
        unified_order::parse_reply(&params, &our_key(), body.as_bytes(), Timestamp::from_ms(0))
    };
    assert!(matches!(place("商户无此接口权限"), Placed::Refused(_)));
    assert!(matches!(place("此IP地址不允许调用接口"), Placed::Setup(_)));
}

/// What is known of an order after this answer; fails where the answer ends it.
fn said(body: &[u8]) -> WechatError {
    let params = unified_order::params(&native_order());
    match unified_order::parse_reply(&params, &our_key(), body, Timestamp::from_ms(0)) {
        Placed::Unknown { why, said: Some(said) } => {
            let one_line = |text: &str| text.chars().all(|c| !c.is_control()) && text.chars().count() <= 220;
            assert!(one_line(&why) && one_line(&said.message), "{why:?}");
            assert!(why.contains(said.message.as_str()), "the log line has the words: {why} {said:?}");
            said
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_words_of_an_answer_that_proves_nothing_are_kept_and_marked() {
    let xml = |inner: &str| format!("<xml>{inner}</xml>").into_bytes();
    let html = "<html>\r\n<head><title>502 Bad Gateway</title></head><body><h1>nginx</h1></body></html>";
    let wrongly_signed = signed([("result_code", "FAIL"), ("err_code", "NOAUTH"), ("err_code_des", "无权限")])
        .replace("<sign><![CDATA[", "<sign><![CDATA[0");
    let long = "长".repeat(128);
    let cases: Vec<(Vec<u8>, &str, &str)> = vec![
        (xml("<return_code>FAIL</return_code><return_msg>服务器忙，请重试</return_msg>"), "FAIL", "服务器忙，请重试"),
        (xml("<return_code>FAIL</return_code><retmsg>忙</retmsg><retcode>-1</retcode>"), "FAIL", "忙 -1"),
        (xml("<retcode>88221009</retcode><retmsg>校验失败</retmsg>"), "UNSIGNED", "校验失败 88221009"),
        (
            xml("<return_code>FAIL</return_code><return_msg></return_msg><err_code>SYSTEMERROR</err_code>"),
            "FAIL",
            "SYSTEMERROR",
        ),
        (
            xml("<return_code>SUCCESS</return_code><result_code>FAIL</result_code><err_code>NOTENOUGH</err_code>\
                 <err_code_des>余额不足</err_code_des>"),
            "UNSIGNED",
            "NOTENOUGH 余额不足",
        ),
        (wrongly_signed.into_bytes(), "UNSIGNED", "NOAUTH 无权限"),
        (html.into(), "HTTP", "502 Bad Gateway nginx"),
        (Vec::new(), "HTTP", "the reply is empty"),
        (b" \r\n".to_vec(), "HTTP", "the reply is empty"),
        (
            b"\xef\xbb\xbf<xml><return_code>FAIL</return_code><return_msg>busy</return_msg></xml>".to_vec(),
            "HTTP",
            "busy",
        ),
        (b"upstream\x00 \x1b[31mfailed\n\n".to_vec(), "HTTP", "upstream   [31mfailed"),
        ("长".repeat(500).into_bytes(), "HTTP", &long),
    ];
    for (body, code, message) in &cases {
        let said = said(body);
        assert_eq!((said.code.as_str(), said.message.as_str()), (*code, *message), "{}", String::from_utf8_lossy(body));
        assert!(said.is_unsigned(), "{said:?}");
    }
    let by_wechat =
        said(signed([("result_code", "FAIL"), ("err_code", "SYSTEMERROR"), ("err_code_des", "系统超时")]).as_bytes());
    assert_eq!((by_wechat.code.as_str(), by_wechat.message.as_str()), ("SYSTEMERROR", "系统超时"));
    assert!(!by_wechat.is_unsigned());
}

#[test]
fn of_a_message_that_cannot_be_parsed_no_personal_data_is_kept() {
    let whole =
        signed([("result_code", "SUCCESS"), ("prepay_id", "wx201411101639507cbf"), ("openid", "oUpF8uMuAJO_M2")]);
    for body in [&whole[..whole.len() - 9], &whole.replace("</xml>", "<openid>oUpF8uMuAJO_M2</openid></xml>")] {
        let said = said(body.as_bytes());
        assert!(!said.message.contains("oUpF8") && !said.message.contains("wx2014"), "{said:?}");
    }
}

#[test]
fn an_answer_was_lost_only_where_there_was_none() {
    let params = refund::params(&refund_order());
    for (body, code) in [("", "HTTP"), ("<xml><retmsg>busy</retmsg></xml>", "UNSIGNED")] {
        let answer = refund::parse_reply(&params, &our_key(), body.as_bytes());
        assert!(matches!(&answer, Refunding::Unknown { said: Some(said), .. } if said.code == code), "{answer:?}");
    }
    let of = |error: TransportError| reply::failed(Api::Refund, &error);
    let status = of(TransportError::Status { status: 502 });
    assert!(
        matches!(&status, Outcome::Unknown { said: Some(said), .. } if said.message == "HTTP status 502"),
        "{status:?}"
    );
    for lost in
        [TransportError::NoAnswer { why: "timed out".into() }, TransportError::NotSent { why: "refused".into() }]
    {
        assert!(matches!(of(lost), Outcome::Unknown { said: None, .. }));
    }
}

#[test]
fn too_often_is_said_by_code_or_in_unsigned_words() {
    let says =
        |code: &str, message: &str| is_throttled(&WechatError { code: code.to_owned(), message: message.to_owned() });
    assert!(says("FREQUENCY_LIMITED", "") && says("INVALID_REQ_TOO_MUCH", "无效请求过多"));
    for words in ["操作过于频繁，请稍后再试", "调用频率超限", "Request too frequent"] {
        assert!(says(WechatError::FAIL, words), "{words}");
    }
    for (code, words) in [("SYSTEMERROR", "系统繁忙"), (WechatError::FAIL, "系统繁忙"), ("PARAM_ERROR", "频率")]
    {
        assert!(!says(code, words), "{code} {words}");
    }
}
