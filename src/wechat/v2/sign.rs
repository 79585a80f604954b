//! Signatures of API v2: sorted `name=value` pairs, the key, MD5 or HMAC-SHA256, upper-case hex.
//!
//! The string is built from **all** elements received, unknown ones included, and never from a struct of known ones:
//! WeChat adds fields without notice, and a struct would drop them and break the signature.

use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

use super::xml::Fields;
use crate::secret::{V2Key, hex_lower};
use crate::trade::SignType;

/// Why a message's signature is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// No `sign` element, or an empty one.
    #[error("signature missing")]
    Missing,
    /// Neither 32 nor 64 upper-case hex digits, or a `sign_type` that differs.
    #[error("signature malformed")]
    Malformed,
    /// Well formed, but not made with this key over these fields.
    #[error("signature wrong")]
    Wrong,
}

/// The text that is signed, without the key: non-empty fields except `sign`, sorted by byte order, raw values.
pub fn string_to_sign(fields: &Fields) -> String {
    let mut text = String::new();
    for (name, value) in fields.iter().filter(|(name, value)| !value.is_empty() && name.as_str() != "sign") {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        text.push_str(value);
    }
    text
}

/// Whether the text that is signed can be taken apart into other fields than these: a value holds `&name=`, which may
/// have been a field of its own. Who may choose a value, as `attach`, could move what is signed from one field to
/// another without a key.
pub fn is_ambiguous(fields: &Fields) -> bool {
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let values = fields.iter().filter(|(name, _)| name.as_str() != "sign").map(|(_, value)| value);
    let mut parts = values.flat_map(|value| value.split('&').skip(1));
    parts.any(|part| part.split_once('=').is_some_and(|(name, _)| is_name(name)))
}

/// The signature over `fields`.
pub fn sign(fields: &Fields, key: &V2Key, sign_type: SignType) -> String {
    let mut text = string_to_sign(fields);
    text.push_str("&key=");
    text.push_str(key.expose());
    let mut hex = match sign_type {
        SignType::Md5 => hex_lower(Md5::digest(text.as_bytes()).as_slice()),
        SignType::HmacSha256 => {
            let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key.expose().as_bytes());
            hex_lower(aws_lc_rs::hmac::sign(&key, text.as_bytes()).as_ref())
        }
    };
    hex.make_ascii_uppercase();
    hex
}

/// Verifies a received message and returns the algorithm.
///
/// The algorithm follows from the signature's length: notifications usually carry no `sign_type` even when the order
/// was signed with HMAC-SHA256. Both algorithms need the key, so this allows no downgrade without it. A `sign_type`
/// that is there is covered by the signature and must agree.
pub fn verify(fields: &Fields, key: &V2Key) -> Result<SignType, SignatureError> {
    let given = fields.get("sign").map(String::as_str).unwrap_or_default();
    let sign_type = match given.len() {
        0 => return Err(SignatureError::Missing),
        32 => SignType::Md5,
        64 => SignType::HmacSha256,
        _ => return Err(SignatureError::Malformed),
    };
    if !given.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F')) {
        return Err(SignatureError::Malformed);
    }
    match fields.get("sign_type").map(String::as_str) {
        None | Some("") => {}
        Some(name) if name == sign_type.as_str() => {}
        Some(_) => return Err(SignatureError::Malformed),
    }
    let expected = sign(fields, key, sign_type);
    if bool::from(expected.as_bytes().ct_eq(given.as_bytes())) { Ok(sign_type) } else { Err(SignatureError::Wrong) }
}

/// Adds `sign` to a message about to be sent.
pub fn seal(mut fields: Fields, key: &V2Key, sign_type: SignType) -> Fields {
    let signature = sign(&fields, key, sign_type);
    fields.insert("sign".into(), signature);
    fields
}
