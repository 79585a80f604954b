//! What WeChat is answered, and what is kept of what it said.

use wxpay_worker::bus::ConsumerName;
use wxpay_worker::event::command::NotifyReceived;
use wxpay_worker::event::envelope::Envelope;
use wxpay_worker::secret::V2Key;
use wxpay_worker::store::entity::quarantine;
use wxpay_worker::trade::SignType;
use wxpay_worker::wechat::v2::sign::seal;
use wxpay_worker::wechat::v2::xml;
use wxpay_worker::wechat::v2::xml::Fields;

use super::stage::{OTHER_MERCHANT, Stage, eventually};
use crate::harness::service::{KEY as V2_KEY, MCH_ID};
use crate::harness::within_timeout;

const SUCCESS: &str =
    "<xml><return_code><![CDATA[SUCCESS]]></return_code><return_msg><![CDATA[OK]]></return_msg></xml>";

fn fields(more: &[(&str, &str)]) -> Fields {
    let mut fields: Fields = [
        ("return_code", "SUCCESS"),
        ("result_code", "SUCCESS"),
        ("appid", "wx8888888888888888"),
        ("mch_id", MCH_ID),
        ("nonce_str", "5K8264ILTKCH16CQ2502SI8ZNMTM67VS"),
        ("out_trade_no", "A100001"),
        ("transaction_id", "4200001234202603011234567890"),
        ("total_fee", "100"),
        ("cash_fee", "100"),
        ("time_end", "20260301100304"),
        ("trade_type", "JSAPI"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    fields.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    fields
}

fn signed(more: &[(&str, &str)], sign_type: SignType) -> String {
    xml::write(&seal(fields(more), &V2Key::parse(V2_KEY).unwrap(), sign_type))
}

async fn post(stage: &Stage, body: &str) -> super::client::Reply {
    stage.send("POST", "/notify/main/pay", &[("Content-Type", "text/xml")], body.as_bytes()).await
}

#[tokio::test]
async fn the_tutorials_callback_is_the_first_merchants_notification_address() {
    let stage = Stage::with("", OTHER_MERCHANT).await;
    let target = "/api/wechat/pay/callback";
    // Neither where it comes from nor a missing session matters: WeChat's signature does.
    let headers = [("Content-Type", "text/xml"), ("Origin", "https://evil.com"), ("Sec-Fetch-Site", "cross-site")];
    let body = signed(&[], SignType::HmacSha256);
    let reply = stage.send("POST", target, &headers, body.as_bytes()).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, SUCCESS));
    let mut kept = stage.deliveries(ConsumerName::SETTLE);
    let kept = within_timeout("the notification", kept.recv()).await.unwrap();
    assert!(kept.message.subject.contains(".main."), "{}", kept.message.subject);
    let reply = stage.send("POST", target, &headers, body.replace("A100001", "A100002").as_bytes()).await;
    assert!(
        reply.text().contains("FAIL") && reply.header("content-type").unwrap().starts_with("text/xml"),
        "{reply:?}"
    );
    stage.finish().await;
}

/// The refusal, in the bytes that WeChat reads.
fn fail(reason: &str) -> String {
    format!("<xml><return_code><![CDATA[FAIL]]></return_code><return_msg><![CDATA[{reason}]]></return_msg></xml>")
}

#[tokio::test]
async fn a_verified_notification_is_kept_whole_and_then_answered_with_success() {
    let stage = Stage::start().await;
    let body = signed(&[("a_new_element", "1")], SignType::HmacSha256);
    let headers =
        [("Content-Type", "text/xml"), ("Cookie", "session=secret"), ("traceparent", "00-abc-01"), ("X-Trace", "abc")];
    let reply = stage.send("POST", "/notify/main/pay", &headers, body.as_bytes()).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, SUCCESS));
    assert_eq!(reply.header("content-type"), Some("text/xml; charset=utf-8"));
    let mut kept = stage.deliveries(ConsumerName::SETTLE);
    let kept = within_timeout("the notification", kept.recv()).await.unwrap();
    let kept = Envelope::<NotifyReceived>::parse(&kept.message.payload).unwrap();
    assert_eq!(kept.source, "wxpay/main");
    assert_eq!(kept.data.body, body.as_bytes());
    assert_eq!((kept.data.remote_addr.as_str(), kept.data.received_at), ("127.0.0.1", stage.clock.now()));
    assert!(kept.data.headers.contains(&("traceparent".into(), "00-abc-01".into())), "{:?}", kept.data.headers);
    assert!(!kept.data.headers.iter().any(|(name, _)| name == "cookie" || name == "x-trace"));
    stage.finish().await;
}

#[tokio::test]
async fn either_algorithm_with_the_right_key_is_accepted() {
    let stage = Stage::start().await;
    for sign_type in [SignType::Md5, SignType::HmacSha256] {
        assert_eq!(post(&stage, &signed(&[], sign_type)).await.text(), SUCCESS);
    }
    stage.finish().await;
}

#[tokio::test]
async fn whatever_is_definitely_bad_is_failed_and_never_reaches_the_bus() {
    let stage = Stage::start().await;
    let good = signed(&[], SignType::HmacSha256);
    let other_key = xml::write(&seal(fields(&[]), &V2Key::parse(&"x".repeat(32)).unwrap(), SignType::HmacSha256));
    let sign = &good[good.find("<sign>").unwrap()..good.find("</sign>").unwrap() + 7];
    let nested = format!("<xml>{}{}</xml>", "<a>".repeat(9_000), "</a>".repeat(9_000));
    let attributes: String = (0..6000).map(|n| format!(" a{n}=''")).collect();
    let entities =
        "<!DOCTYPE xml [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><xml><return_code>&b;</return_code></xml>";
    let external = "<!DOCTYPE xml [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><xml><a>&x;</a></xml>";
    let bad: Vec<(String, &str)> = vec![
        (good.replace("<![CDATA[A100001]]>", "<![CDATA[A100002]]>"), "SIGN"),
        (good.replace(">100<", ">1<"), "SIGN"),
        (good.replace("</xml>", "<extra>1</extra></xml>"), "SIGN"),
        (good.replace(sign, ""), "SIGN"),
        (good.replace(sign, "<sign></sign>"), "SIGN"),
        (good.replace(sign, &sign.to_lowercase().replace("[cdata[", "[CDATA[")), "SIGN"),
        (other_key, "SIGN"),
        (signed(&[("mch_id", "1900000110")], SignType::HmacSha256), "MERCHANT"),
        (signed(&[("appid", "wx0000000000000000")], SignType::HmacSha256), "MERCHANT"),
        ("<xml><return_code>FAIL</return_code></xml>".into(), "RETURN_CODE"),
        (good.replace("</xml>", "<mch_id>1900000109</mch_id></xml>"), "XML"),
        (entities.into(), "XML"),
        (external.into(), "XML"),
        (nested, "XML"),
        (format!("<xml{attributes}></xml>"), "XML"),
        (format!("<?evil x?>{good}"), "XML"),
        (format!("\u{feff}{good}"), "XML"),
        (good.replace("A100001", "A\0"), "XML"),
        (String::new(), "XML"),
        ("{}".into(), "XML"),
    ];
    for (body, reason) in &bad {
        let reply = post(&stage, body).await;
        assert_eq!((reply.status, reply.text()), (200, fail(reason)), "{body:.60}");
    }
    for bytes in
        [&b"<xml><a>\xc4\xe3\xba\xc3</a></xml>"[..], b"\xff\xfe<\0x\0m\0l\0>\0", b"<xml><a>\xed\xa0\x80</a></xml>"]
    {
        let reply = stage.send("POST", "/notify/main/pay", &[], bytes).await;
        assert_eq!((reply.status, reply.text()), (200, fail("XML")));
    }
    assert!(stage.bus.lag().await.unwrap().iter().all(|lag| lag.pending == 0), "something was published");
    stage.finish().await;
}

#[tokio::test]
async fn refused_bodies_are_sampled_and_a_flood_is_not() {
    use sea_orm::{EntityTrait, PaginatorTrait};
    let stage = Stage::start().await;
    let count = || quarantine::Entity::find().count(stage.store.db().read());
    for _ in 0..50 {
        assert_eq!(post(&stage, "<xml>").await.text(), fail("XML"));
    }
    eventually("a sample", || async { count().await.unwrap() > 0 }).await;
    let sample = quarantine::Entity::find().one(stage.store.db().read()).await.unwrap().unwrap();
    assert_eq!(
        (sample.merchant.as_str(), sample.reason.as_str(), sample.body.as_slice()),
        ("main", "xml", &b"<xml>"[..])
    );
    assert!(count().await.unwrap() < 50, "a flood fills the table");
    stage.finish().await;
}

#[tokio::test]
async fn a_signed_notification_in_an_unknown_form_is_kept_and_repeated() {
    let stage = Stage::start().await;
    let reply = post(&stage, &signed(&[("time_end", "yesterday")], SignType::HmacSha256)).await;
    assert_eq!((reply.status, reply.text()), (200, fail("PARAM")));
    let mut kept = stage.deliveries(ConsumerName::SETTLE);
    within_timeout("the notification", kept.recv()).await.unwrap();
    stage.finish().await;
}

#[tokio::test]
async fn without_a_durable_acknowledgement_wechat_is_asked_to_repeat() {
    let stage = Stage::with("notify_ack_timeout_ms = 300", "").await;
    let body = signed(&[], SignType::HmacSha256);
    let blocked = stage.blocked().await;
    let reply = post(&stage, &body).await;
    assert_eq!((reply.status, reply.text()), (503, fail("BUSY")));
    drop(blocked);
    eventually("success after the repeat", || async { post(&stage, &body).await.text() == SUCCESS }).await;
    stage.finish().await;
}

#[tokio::test]
async fn a_notification_for_no_merchant_or_of_another_method_or_coding_is_refused() {
    let stage = Stage::with("", OTHER_MERCHANT).await;
    let body = signed(&[], SignType::HmacSha256);
    let unknown = stage.send("POST", "/notify/unknown/pay", &[], body.as_bytes()).await;
    assert_eq!((unknown.status, unknown.text()), (404, fail("MERCHANT")));
    let other = stage.send("POST", "/notify/other/pay", &[], body.as_bytes()).await;
    assert_eq!((other.status, other.text()), (200, fail("SIGN")));
    let get = stage.send("GET", "/notify/main/pay", &[], b"").await;
    assert_eq!((get.status, get.problem().as_str(), get.header("allow")), (405, "method_not_allowed", Some("POST")));
    let gzip = stage.send("POST", "/notify/main/pay", &[("Content-Encoding", "gzip")], body.as_bytes()).await;
    assert_eq!((gzip.status, gzip.text()), (415, fail("ENCODING")));
    let large = stage.send("POST", "/notify/main/pay", &[], &vec![b'x'; 64 * 1024 + 1]).await;
    assert_eq!((large.status, large.header("connection")), (413, Some("close")));
    stage.finish().await;
}
