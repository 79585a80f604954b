//! Secrets, digests and randomness.
//!
//! A secret prints as `***` wherever `Debug` or a log could meet it and is wiped from memory when dropped. Everything
//! random here comes from the operating system: nonces and order tokens must not be guessable.

use std::fmt;

use aws_lc_rs::rand::SecureRandom;
use secrecy::{ExposeSecret, SecretString};

/// A text that must not be printed or logged: keys, passwords, tokens.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(SecretString::from(text.into()))
    }

    /// The text itself. The name is long so that a reader stops at each use.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A merchant's APIv2 key: exactly 32 letters or digits.
#[derive(Clone, Debug)]
pub struct V2Key(Secret);

impl V2Key {
    /// Checks the shape WeChat's merchant platform enforces.
    pub fn parse(text: &str) -> Result<V2Key, &'static str> {
        if text.len() == 32 && text.bytes().all(|b| b.is_ascii_alphanumeric()) {
            Ok(V2Key(Secret::new(text)))
        } else {
            Err("an APIv2 key is exactly 32 letters or digits")
        }
    }

    /// The key's text, for signing only.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// A short name of the key for evidence and logs: a digest's beginning, which tells keys apart and nothing else.
    pub fn fingerprint(&self) -> String {
        sha256_hex(self.expose().as_bytes())[..12].to_owned()
    }
}

/// Lower-case hex SHA-256.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex_lower(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref())
}

/// Lower-case hex.
pub fn hex_lower(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for b in bytes {
        text.push(char::from(DIGITS[usize::from(b >> 4)]));
        text.push(char::from(DIGITS[usize::from(b & 15)]));
    }
    text
}

/// `len` random characters of `[0-9a-zA-Z]` (5.95 bits each), for nonces and tokens.
pub fn random_text(len: usize) -> String {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text = String::with_capacity(len);
    let mut pool = [0u8; 64];
    while text.len() < len {
        fill(&mut pool);
        // 248 = 4 × 62: larger bytes are thrown away so that every character is equally likely.
        text.extend(
            pool.iter().filter(|b| **b < 248).take(len - text.len()).map(|b| char::from(ALPHABET[usize::from(b % 62)])),
        );
    }
    text
}

/// Random bytes, for keys.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill(&mut bytes);
    bytes
}

/// HMAC-SHA-256.
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
    sign(&Key::new(HMAC_SHA256, key), message).as_ref().to_vec()
}

#[allow(clippy::expect_used)]
fn fill(bytes: &mut [u8]) {
    // A host without randomness cannot sign anything safely; there is no caller who could go on.
    aws_lc_rs::rand::SystemRandom::new().fill(bytes).expect("the operating system gives random bytes");
}
