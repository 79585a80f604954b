use wxpay_worker::clock::Timestamp;
use wxpay_worker::ids::AppId;
use wxpay_worker::trade::SignType;
use wxpay_worker::wechat::v2::notify::{
    Notice, NoticeResult, NotifyError, parse_and_verify, reply_fail, reply_success,
};
use wxpay_worker::wechat::v2::payment::Incomplete;
use wxpay_worker::wechat::v2::refund_notify::{encrypt, parse_and_decrypt};
use wxpay_worker::wechat::v2::sign::seal;
use wxpay_worker::wechat::v2::xml;
use wxpay_worker::wechat::v2::xml::{Fields, XmlError};

use super::{app_id, fields, key, merchant, merchant_of, our_key, signed};

const NOW: Timestamp = Timestamp::from_ms(1_800_000_000_000);

fn paid() -> Fields {
    fields([
        ("return_code", "SUCCESS"),
        ("result_code", "SUCCESS"),
        ("appid", "wx8888888888888888"),
        ("mch_id", "1900000109"),
        ("nonce_str", "5d2b6c2a8db5"),
        ("out_trade_no", "T20250102"),
        ("total_fee", "100"),
        ("transaction_id", "1008450740201411110005820873"),
        ("time_end", "20250102111633"),
        ("attach", "分店"),
    ])
}

fn sealed(message: Fields) -> String {
    xml::write(&seal(message, &our_key(), SignType::HmacSha256))
}

fn without(field: &str) -> Fields {
    let mut message = paid();
    message.remove(field).unwrap();
    message
}

fn with(field: &str, value: &str) -> Fields {
    let mut message = paid();
    message.insert(field.into(), value.into());
    message
}

fn read(body: impl AsRef<[u8]>) -> Result<Notice, NotifyError> {
    parse_and_verify(body.as_ref(), &merchant(&our_key()), &[app_id()], NOW)
}

#[test]
fn no_flipped_bit_of_a_signed_notification_survives() {
    let body = sealed(paid());
    assert!(read(&body).is_ok());
    let mut bytes = body.into_bytes();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            let read = read(&bytes);
            assert!(read.is_err(), "byte {at} bit {bit}: {}", String::from_utf8_lossy(&bytes));
            bytes[at] ^= 1 << bit;
        }
    }
}

#[test]
fn no_removed_byte_of_a_signed_notification_survives() {
    let body = sealed(paid()).into_bytes();
    for at in 0..body.len() {
        let mut shorter = body.clone();
        shorter.remove(at);
        assert!(read(&shorter).is_err(), "byte {at}: {}", String::from_utf8_lossy(&shorter));
    }
}

#[test]
fn both_algorithms_are_accepted_and_distinguished() {
    for sign_type in [SignType::Md5, SignType::HmacSha256] {
        let notice = read(xml::write(&seal(paid(), &our_key(), sign_type))).unwrap();
        assert_eq!(notice.sign_type, sign_type);
        let named = with("sign_type", sign_type.as_str());
        assert!(read(xml::write(&seal(named, &our_key(), sign_type))).is_ok());
    }
    let lying = with("sign_type", "MD5");
    assert_eq!(read(sealed(lying)), Err(NotifyError::WrongSignature));
}

#[test]
fn a_signature_in_another_spelling_is_wrong() {
    let body = sealed(paid());
    let sign = xml::parse(body.as_bytes()).unwrap()["sign"].clone();
    for other in [sign.to_ascii_lowercase(), format!(" {sign}"), sign[1..].to_owned(), "Z".repeat(64), "0".repeat(32)] {
        assert_eq!(read(body.replace(&sign, &other)), Err(NotifyError::WrongSignature), "{other}");
    }
    assert_eq!(read(body.replace(&sign, "")), Err(NotifyError::Unsigned));
}

#[test]
fn a_field_added_after_signing_is_noticed_and_one_added_before_is_accepted() {
    let body = sealed(paid());
    assert_eq!(read(body.replace("</xml>", "<new>1</new></xml>")), Err(NotifyError::WrongSignature));
    assert!(read(sealed(with("brand_new", "1"))).is_ok());
    // Empty elements are not signed, so they change nothing.
    assert!(read(body.replace("</xml>", "<new></new></xml>")).is_ok());
}

#[test]
fn another_merchants_notification_is_foreign_even_with_the_same_key() {
    assert_eq!(read(sealed(with("mch_id", "1900000110"))), Err(NotifyError::Foreign));
    assert_eq!(read(sealed(with("appid", "wx0000000000000000"))), Err(NotifyError::Foreign));
    assert_eq!(read(sealed(without("mch_id"))), Err(NotifyError::Foreign));
    let body = sealed(paid());
    let other = merchant_of("1900000110", &our_key());
    assert_eq!(parse_and_verify(body.as_bytes(), &other, &[app_id()], NOW), Err(NotifyError::Foreign));
    assert_eq!(parse_and_verify(body.as_bytes(), &merchant(&our_key()), &[], NOW), Err(NotifyError::Foreign));
    let second = [AppId::parse("wx0000000000000000").unwrap(), app_id()];
    assert!(parse_and_verify(body.as_bytes(), &merchant(&our_key()), &second, NOW).is_ok());
}

#[test]
fn what_decides_about_money_must_be_there() {
    for field in ["out_trade_no", "total_fee", "transaction_id", "time_end", "result_code"] {
        let incomplete = NotifyError::Incomplete(Incomplete { field });
        assert_eq!(read(sealed(without(field))), Err(incomplete), "{field}");
    }
    for (field, value) in [
        ("total_fee", "1.5"),
        ("total_fee", "-1"),
        ("total_fee", "0"),
        ("total_fee", "001"),
        ("total_fee", "9223372036854775808"),
        ("time_end", "2025-01-02 11:16:33"),
        ("out_trade_no", "a/b.c>*"),
        ("result_code", "success"),
    ] {
        let incomplete = NotifyError::Incomplete(Incomplete { field });
        assert_eq!(read(sealed(with(field, value))), Err(incomplete), "{field}={value}");
    }
}

#[test]
fn what_merely_describes_the_payment_never_loses_it() {
    let mut message = with("openid", "not an openid!");
    message.extend(fields([("cash_fee", "x"), ("fee_type", ""), ("bank_type", "")]));
    let NoticeResult::Paid(payment) = read(sealed(message)).unwrap().result else { panic!("paid") };
    assert_eq!((payment.openid, payment.cash_fee, payment.bank_type), (None, None, None));
    assert_eq!(payment.fee_type, "CNY");
    let NoticeResult::Paid(payment) = read(sealed(with("fee_type", "HKD"))).unwrap().result else { panic!("paid") };
    assert_eq!(payment.fee_type, "HKD");
}

#[test]
fn nothing_is_believed_before_the_signature() {
    let unsigned = |message: &Fields| read(xml::write(message));
    assert_eq!(unsigned(&with("mch_id", "1900000110")), Err(NotifyError::Unsigned));
    assert_eq!(unsigned(&without("return_code")), Err(NotifyError::NoSuccess));
    assert_eq!(read("<!DOCTYPE xml><xml/>"), Err(NotifyError::HostileXml(XmlError::Forbidden)));
    assert_eq!(read(""), Err(NotifyError::HostileXml(XmlError::Malformed)));
    let with_other_key = xml::write(&seal(paid(), &key(&"0".repeat(32)), SignType::HmacSha256));
    assert_eq!(read(with_other_key), Err(NotifyError::WrongSignature));
}

#[test]
fn a_failure_answer_carries_plain_words_only() {
    let hostile = "x]]></return_msg><a>\r\n\"失败 ".repeat(9);
    let body = reply_fail(&hostile);
    let answer = xml::parse(body.as_bytes()).unwrap();
    assert_eq!(answer["return_code"], "FAIL");
    assert_eq!(answer.len(), 2);
    assert!(answer["return_msg"].len() <= 32 && answer["return_msg"].is_ascii());
    assert_eq!(xml::parse(reply_success().as_bytes()).unwrap()["return_code"], "SUCCESS");
    for error in [
        NotifyError::HostileXml(XmlError::Duplicate),
        NotifyError::NoSuccess,
        NotifyError::Unsigned,
        NotifyError::WrongSignature,
        NotifyError::Undecipherable,
        NotifyError::Foreign,
        NotifyError::Incomplete(Incomplete { field: "total_fee" }),
    ] {
        assert!(reply_fail(error.reply_text()).contains(&format!("[{}]", error.reply_text())), "{error}");
        assert!(error.reason().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{}", error.reason());
    }
}

#[test]
fn a_refund_hint_is_opened_only_with_the_merchants_key_and_in_its_own_envelope() {
    let inner = |status: &str| {
        format!(
            "<root><out_refund_no>R2025</out_refund_no><refund_id>5000</refund_id>\
             <out_trade_no>T20250102</out_trade_no><transaction_id>1008</transaction_id>\
             <total_fee>100</total_fee><refund_fee>30</refund_fee>\
             <refund_status>{status}</refund_status></root>"
        )
    };
    let envelope = |mch_id: &str, req_info: &str| {
        format!(
            "<xml><return_code>SUCCESS</return_code><appid>wx8888888888888888</appid><mch_id>{mch_id}</mch_id>\
             <req_info>{req_info}</req_info></xml>"
        )
    };
    let read = |body: String| parse_and_decrypt(body.as_bytes(), &merchant(&our_key()), &[app_id()], NOW);
    let req_info = encrypt(inner("SUCCESS").as_bytes(), &our_key()).unwrap();
    assert_eq!(read(envelope("1900000109", &req_info)).unwrap().refund_fee.as_i64(), 30);
    assert_eq!(read(envelope("1900000110", &req_info)), Err(NotifyError::Foreign));
    let others = encrypt(inner("SUCCESS").as_bytes(), &key(&"0".repeat(32))).unwrap();
    assert_eq!(read(envelope("1900000109", &others)), Err(NotifyError::Undecipherable));
    let hostile = encrypt(b"<!DOCTYPE root><root/>", &our_key()).unwrap();
    assert_eq!(read(envelope("1900000109", &hostile)), Err(NotifyError::Undecipherable));
    let empty = NotifyError::Incomplete(Incomplete { field: "req_info" });
    assert_eq!(read(envelope("1900000109", "")), Err(empty));
    let new_status = encrypt(inner("NEW").as_bytes(), &our_key()).unwrap();
    let unknown = NotifyError::Incomplete(Incomplete { field: "refund_status" });
    assert_eq!(read(envelope("1900000109", &new_status)), Err(unknown));
    // A payment notification at the refund address says so instead of passing as an empty refund.
    assert_eq!(read(signed([("result_code", "SUCCESS")])), Err(empty));
}

/// A merchant whose key was changed at WeChat; the previous one is accepted until `until`.
fn rotated(until: Timestamp) -> wxpay_worker::config::Merchant {
    let newest = wxpay_worker::secret::V2Key::parse("n3wN3wn3wN3wn3wN3wn3wN3wn3wN3wn3").unwrap();
    let previous = wxpay_worker::config::PreviousKey { key: our_key(), until };
    wxpay_worker::config::Merchant { v2_key_previous: Some(previous), ..merchant(&newest) }
}

#[test]
fn what_the_previous_key_signed_is_accepted_while_wechat_may_repeat_it_and_no_longer() {
    let body = sealed(paid());
    let read = |merchant, at| parse_and_verify(body.as_bytes(), merchant, &[app_id()], at);
    let merchant = rotated(NOW);
    assert_eq!(read(&merchant, NOW).unwrap().key_fingerprint, our_key().fingerprint(), "the key that held is named");
    let later = NOW.after(std::time::Duration::from_millis(1));
    assert_eq!(read(&merchant, later), Err(NotifyError::WrongSignature));
    assert_eq!(read(&rotated(later), later).unwrap().key_fingerprint, our_key().fingerprint());
}

#[test]
fn what_we_send_is_signed_with_the_newest_key() {
    use wxpay_worker::wechat::v2::{close, sign, xml};
    let merchant = rotated(NOW);
    let number = wxpay_worker::ids::OutTradeNo::parse("A100001").unwrap();
    let body = close::write_request(&merchant, &app_id(), &number, "nonce".into());
    let fields = xml::parse(body.as_bytes()).unwrap();
    assert!(sign::verify(&fields, &merchant.v2_key).is_ok());
    assert!(sign::verify(&fields, &our_key()).is_err());
}
