//! Finding a payer in texts, and putting another name in the openid's place.
//!
//! An openid counts as a whole word of letters, digits, `_` and `-`, wherever it stands: in JSON, in XML, and in what a
//! business wrote into its own members.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// Whether the text has this word.
pub fn has_word(text: &str, word: &str) -> bool {
    places(text, word).next().is_some()
}

/// The same of bytes that should be text.
pub fn bytes_have_word(bytes: &[u8], word: &str) -> bool {
    has_word(&String::from_utf8_lossy(bytes), word)
}

/// The text with `by` in the place of the word.
pub fn replaced(text: &str, word: &str, by: &str) -> String {
    let (mut whole, mut end) = (String::with_capacity(text.len()), 0);
    for at in places(text, word) {
        whole.push_str(text.get(end..at).unwrap_or_default());
        whole.push_str(by);
        end = at + word.len();
    }
    whole.push_str(text.get(end..).unwrap_or_default());
    whole
}

/// Whether a message of the queue has this word, in its JSON or in a body that it carries in base64.
pub fn message_has_word(payload: &[u8], word: &str) -> bool {
    bytes_have_word(payload, word) || serde_json::from_slice(payload).is_ok_and(|json| carries(&json, word))
}

fn carries(json: &Value, word: &str) -> bool {
    match json {
        Value::Object(members) => members.values().any(|member| carries(member, word)),
        Value::Array(items) => items.iter().any(|item| carries(item, word)),
        Value::String(text) => STANDARD.decode(text).is_ok_and(|bytes| bytes_have_word(&bytes, word)),
        _ => false,
    }
}

fn places<'t>(text: &'t str, word: &'t str) -> impl Iterator<Item = usize> + 't {
    let bytes = text.as_bytes();
    text.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = at.checked_sub(1).and_then(|before| bytes.get(before));
        let after = bytes.get(at + word.len());
        !word.is_empty() && ![before, after].into_iter().flatten().any(|byte| is_of_word(*byte))
    })
}

const fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}
