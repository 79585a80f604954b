//! Percent-encoding of a value in a URL: everything but RFC 3986's unreserved characters.
//!
//! Not the form encoding of queries, where a space is a plus: WeChat compares some encoded URLs as text.

/// Appends `value`, encoded once, to `url`.
pub(super) fn push(url: &mut String, value: &str) {
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => url.push(char::from(byte)),
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
}
