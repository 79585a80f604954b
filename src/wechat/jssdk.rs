//! The signature by which a page is allowed to call WeChat's functions (`wx.config`).
//!
//! It covers the address of the page as the browser shows it: re-encoding, a slash more or a fragment left on make
//! another address and another signature. The caller checks which pages may be signed; a signature must not be reused
//! for another address or time.
//!
//! The names differ: `noncestr` here, `nonceStr` in the call of `wx.config`.

use sha1::{Digest, Sha1};

use crate::secret::{Secret, hex_lower};

/// The part of a page's address that is signed: everything before the fragment, unchanged.
pub fn signed_url(url: &str) -> &str {
    url.split('#').next().unwrap_or(url)
}

/// The text that is signed. Made with the real ticket it is a secret; to display it, pass a mask as the
/// ticket.
pub fn string_to_sign(ticket: &str, noncestr: &str, timestamp_s: i64, url: &str) -> String {
    let url = signed_url(url);
    format!("jsapi_ticket={ticket}&noncestr={noncestr}&timestamp={timestamp_s}&url={url}")
}

/// The signature: SHA-1 in 40 lower-case hex digits.
pub fn signature(ticket: &Secret, noncestr: &str, timestamp_s: i64, url: &str) -> String {
    hex_lower(Sha1::digest(string_to_sign(ticket.expose(), noncestr, timestamp_s, url)).as_slice())
}
