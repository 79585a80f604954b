//! What is reported of a message that cannot be read.

use serde_json::{Value, json};
use wxpay_worker::clock::Timestamp;
use wxpay_worker::event::command::QueryDue;
use wxpay_worker::event::envelope::{Envelope, EnvelopeError, EventData};
use wxpay_worker::ids::{MerchantKey, OrderNo};

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
