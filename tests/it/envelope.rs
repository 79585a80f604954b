//! What is reported of a message that cannot be read.

use serde_json::{Value, json};
use wxpay_worker::clock::Timestamp;
use wxpay_worker::event::command::{NoticeKind, NotifyReceived, QueryDue};
use wxpay_worker::event::envelope::{Envelope, EnvelopeError, EventData};
use wxpay_worker::ids::{EventId, MerchantKey, OrderNo};

const PERSONAL: &str = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o";

fn sound() -> Value {
    let data = QueryDue { order_no: OrderNo::parse("A100001").unwrap(), refresh: false };
    let merchant = MerchantKey::parse("main").unwrap();
    let envelope = Envelope::new(&merchant, QueryDue::TYPE, None, Timestamp::from_ms(1_735_787_045_123), data);
    serde_json::from_str(&envelope.to_json().unwrap()).unwrap()
}

#[test]
fn a_malformed_message_is_described_without_a_word_of_it() {
    let with = |name: &str, value: Value| {
        let mut message = sound();
        message[name] = value;
        message.to_string()
    };
    assert!(Envelope::<QueryDue>::parse(sound().to_string().as_bytes()).is_ok());
    let messages = [
        json!(PERSONAL).to_string(),
        format!("{{\"type\":\"{PERSONAL}"),
        with("data", json!(PERSONAL)),
        with("data", json!({"order_no": [PERSONAL]})),
        with("data", json!({"order_no": format!("{PERSONAL} and more")})),
        with("time", json!(PERSONAL)),
        with("id", json!(PERSONAL)),
    ];
    for message in messages {
        let error = Envelope::<QueryDue>::parse(message.as_bytes()).map(|_| ()).unwrap_err();
        assert!(matches!(error, EnvelopeError::Malformed(_)), "{error}");
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(!text.contains("oUpF8u"), "{text}");
            assert!(text.contains("at line 1 column "), "{text} does not say where");
        }
    }
}

#[test]
fn a_notification_is_read_from_the_log_as_it_was_published_to_the_queue() {
    let (merchant, at) = (MerchantKey::parse("main").unwrap(), Timestamp::from_ms(1_735_787_045_123));
    for kind in [NoticeKind::Pay, NoticeKind::Refund] {
        let data = NotifyReceived {
            body: b"<xml>\n\xff\0</xml>\n".to_vec(),
            headers: vec![("user-agent".into(), "two\nlines \"and\" more".into())],
            remote_addr: "203.0.113.9".into(),
            received_at: at,
            kind,
        };
        let event = Envelope::new(&merchant, NotifyReceived::TYPE, None, at, data);
        let stored = event.to_stored().unwrap();
        let read = Envelope::from_stored(event.id, &stored).unwrap();
        assert_eq!(read.to_json(), event.to_json());
    }
}

#[test]
fn bytes_that_are_no_notification_of_the_log_are_refused_without_a_word_of_them() {
    let head = r#"{"source":"wxpay/main","time":"2026-11-29T10:00:00.000Z","headers":[],"remote_addr":"",
        "received_at":"2026-11-29T10:00:00.000Z","kind":"pay","of_later":1}"#;
    for bytes in [format!("{PERSONAL}\n{PERSONAL}"), String::new(), head.replace('\n', "")] {
        let error = Envelope::from_stored(EventId::new(), bytes.as_bytes()).map(|_| ()).unwrap_err();
        assert!(!error.to_string().contains("oUpF8u"), "{error}");
    }
}
