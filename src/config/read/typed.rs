//! What became of `[web]`, and of a merchant's settings of what is believed as it comes.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::money::Fen;
use crate::secret::Secret;

/// `[web]`: the browser side.
#[derive(Debug, Clone)]
pub struct Web {
    /// Origins where OAuth may return to and whose pages may be signed.
    pub callback_origins: Vec<String>,
    /// Key of the session cookie.
    pub session_key: Option<Secret>,
    /// The key before: sessions that it sealed still count.
    pub session_key_previous: Option<Secret>,
    /// Sessions that began before do not count.
    pub sessions_not_before: Option<Timestamp>,
    /// Smallest wallet payment, in fen.
    pub wallet_min_fen: i64,
    /// Largest wallet payment, in fen.
    pub wallet_max_fen: i64,
    /// How many of a payer's wallet orders of a day may be open and unpaid at once.
    pub wallet_open_max: u32,
    /// What a wallet payment is called on the payer's bill.
    pub wallet_description: String,
    /// How long a login lasts.
    pub session_lifetime: Duration,
    /// What a signed page may ask of WeChat: `jsApiList` of `wx.config`.
    pub js_api_list: Vec<String>,
    /// Whether rejections of the browser side use HTTP 200 and only the envelope's `code` distinguishes them.
    pub status_always_200: bool,
}

/// Which notifications are believed without a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settling {
    /// Whether a notification may be signed with MD5.
    pub accept_md5: bool,
    /// WeChat is asked before a larger payment is entered.
    pub query_above: Option<Fen>,
}

impl Default for Settling {
    fn default() -> Settling {
        Settling { accept_md5: true, query_above: None }
    }
}
