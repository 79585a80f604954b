//! The signature by which a page is allowed to call WeChat's functions (`wx.config`).
//!
//! It covers the address of the page as the browser shows it: re-encoding, a slash more or a fragment left on make
//! another address and another signature. Whose pages are signed at all is for the caller to check; a signature must
//! not be kept for another address or time.
//!
//! Mind the names: `noncestr` here, `nonceStr` in the call of `wx.config`.

use sha1::{Digest, Sha1};

use crate::secret::{Secret, hex_lower};

/// The part of a page's address that is signed: everything before the fragment, unchanged.
pub fn signed_url(url: &str) -> &str {
    url.split('#').next().unwrap_or(url)
}

/// The text that is signed. Made with the true ticket it is a secret; to show it to a person, give it a mask for a
/// ticket.
pub fn string_to_sign(ticket: &str, noncestr: &str, timestamp_s: i64, url: &str) -> String {
    let url = signed_url(url);
    format!("jsapi_ticket={ticket}&noncestr={noncestr}&timestamp={timestamp_s}&url={url}")
}

/// The signature: SHA-1 in 40 lower-case hex digits.
pub fn signature(ticket: &Secret, noncestr: &str, timestamp_s: i64, url: &str) -> String {
    hex_lower(Sha1::digest(string_to_sign(ticket.expose(), noncestr, timestamp_s, url)).as_slice())
}
