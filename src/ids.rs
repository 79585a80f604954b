//! Identifiers: parsed once at the edge, never just a `String` afterwards.
//!
//! The alphabets are WeChat's where the number goes to WeChat, and ours where it does not. Every
//! type here can stand in a NATS subject or a URL path without escaping: no dot, blank, wildcard or slash gets in.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a text is not the identifier it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {rule}")]
pub struct IdError {
    /// The field's name.
    pub what: &'static str,
    /// The rule it breaks, in words.
    pub rule: &'static str,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $len:expr, $alphabet:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Parses an untrusted text.
            pub fn parse(text: impl Into<String>) -> Result<Self, IdError> {
                let text = text.into();
                let alphabet: fn(u8) -> bool = $alphabet;
                if ($len).contains(&text.len()) && text.bytes().all(alphabet) {
                    Ok(Self(text))
                } else {
                    Err(IdError { what: $what, rule: $rule })
                }
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

macro_rules! shown {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "{:?}", self.0) }
        }
    )*};
}

fn word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b == b'-'
}

fn key(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'
}

text_id!(
    /// The business's own order number.
    OrderNo, "order_no", "1 to 32 characters of 0-9 A-Z a-z _ -", 1..=32, word
);
text_id!(
    /// One attempt's number at WeChat (`out_trade_no`), unique per merchant for ever.
    OutTradeNo, "out_trade_no", "6 to 32 characters of 0-9 A-Z a-z _ - | *", 6..=32,
    |b| word(b) || b == b'|' || b == b'*'
);
text_id!(
    /// A merchant's number of a refund (`out_refund_no`), unique per merchant for ever. Ours are shorter and plainer;
    /// the merchant platform makes its own.
    OutRefundNo, "out_refund_no", "1 to 64 characters of 0-9 A-Z a-z _ - | * @", 1..=64,
    |b| word(b) || matches!(b, b'|' | b'*' | b'@')
);
text_id!(
    /// WeChat's own payment number; exists only once money moved.
    TransactionId, "transaction_id", "1 to 32 letters or digits", 1..=32, |b| b.is_ascii_alphanumeric()
);
text_id!(
    /// A payer under one app. Personal data: [`fmt::Debug`] and logs show only its last characters.
    OpenId, "openid", "1 to 128 characters of 0-9 A-Z a-z _ -", 1..=128, word
);
text_id!(
    /// Our short name of a merchant, used in URLs and subjects.
    MerchantKey, "merchant", "1 to 32 characters of a-z 0-9 -", 1..=32, key
);
text_id!(
    /// Our short name of an app.
    AppKey, "app", "1 to 32 characters of a-z 0-9 -", 1..=32, key
);
text_id!(
    /// WeChat's number of an official account, mini program or mobile app.
    AppId, "appid", "1 to 32 letters or digits", 1..=32, |b| b.is_ascii_alphanumeric()
);
text_id!(
    /// WeChat's merchant number.
    MchId, "mch_id", "1 to 32 digits", 1..=32, |b| b.is_ascii_digit()
);
shown!(OrderNo, OutTradeNo, OutRefundNo, TransactionId, MerchantKey, AppKey, AppId, MchId);

impl fmt::Debug for OpenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "…{}", &self.0[self.0.len().saturating_sub(4)..])
    }
}

impl OutTradeNo {
    /// The number of an order's `n`-th attempt (from 1).
    ///
    /// The first attempt uses the order number itself where WeChat's minimum of six characters allows it, so that
    /// people find their own number in WeChat's bills. Every other number is the order number, an underscore, `n` and
    /// twelve hex digits of a hash over both: without the hash, attempt 2 of `ABCDEF` would be the first of an order
    /// called `ABCDEF_2`.
    pub fn for_attempt(order_no: &OrderNo, n: u32) -> OutTradeNo {
        let base = order_no.as_str();
        if n == 1 && base.len() >= 6 {
            return OutTradeNo(base.to_owned());
        }
        let hash = crate::secret::sha256_hex(format!("{base}\n{n}").as_bytes());
        let tail = format!("_{n}{}", &hash[..12]);
        OutTradeNo(format!("{}{tail}", &base[..base.len().min(32 - tail.len())]))
    }

    /// Whether it has the form of a number that was made for an attempt and is not the order's own.
    pub fn is_derived(&self) -> bool {
        let Some((_, tail)) = self.0.rsplit_once('_') else { return false };
        tail.len() > 12 && tail.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    }
}

impl OutRefundNo {
    /// Parses a number of ours: what a business may choose, and what fits a URL's path as it is.
    pub fn parse_own(text: impl Into<String>) -> Result<OutRefundNo, IdError> {
        let text = text.into();
        if (1..=32).contains(&text.len()) && text.bytes().all(word) {
            Ok(OutRefundNo(text))
        } else {
            Err(IdError { what: "refund_no", rule: "1 to 32 characters of 0-9 A-Z a-z _ -" })
        }
    }

    /// The number of the refund that a merchant's policy makes of a payment: the same however often it is made.
    pub fn of_policy(merchant: &MerchantKey, transaction_id: &TransactionId) -> OutRefundNo {
        OutRefundNo::derived("policy", &[merchant.as_str(), transaction_id.as_str()])
    }

    /// The number of the refund that a caller names by its own key: the same for the same key.
    pub fn of_key(merchant: &MerchantKey, api_key: &str, key: &str) -> OutRefundNo {
        OutRefundNo::derived("key", &[merchant.as_str(), api_key, key])
    }

    /// The number of a refund of all that is left of an order's payment, where the caller gives neither a number nor a
    /// key: the same however often it is requested.
    pub fn of_all(merchant: &MerchantKey, order_no: &OrderNo, transaction_id: Option<&TransactionId>) -> OutRefundNo {
        let transaction_id = transaction_id.map(TransactionId::as_str).unwrap_or_default();
        OutRefundNo::derived("all", &[merchant.as_str(), order_no.as_str(), transaction_id])
    }

    /// The same of a payment that is named itself, whether it has an order or not.
    pub fn of_payment(merchant: &MerchantKey, transaction_id: &TransactionId) -> OutRefundNo {
        OutRefundNo::derived("payment", &[merchant.as_str(), transaction_id.as_str()])
    }

    fn derived(kind: &str, parts: &[&str]) -> OutRefundNo {
        let hash = crate::secret::sha256_hex(format!("{kind}\n{}", parts.join("\n")).as_bytes());
        OutRefundNo(format!("R-{}", &hash[..30]))
    }
}

/// The id of an event: unique for ever, sortable by time; also the `Nats-Msg-Id`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(uuid::Uuid);

impl EventId {
    /// A fresh id.
    pub fn new() -> EventId {
        EventId(uuid::Uuid::now_v7())
    }

    /// The id of bytes that have none: the same for the same bytes of a merchant.
    pub fn of_bytes(merchant: &str, bytes: &[u8]) -> EventId {
        let hash = crate::secret::sha256_hex(&[merchant.as_bytes(), b"\n", bytes].concat());
        let mut first = [0_u8; 16];
        for (byte, pair) in first.iter_mut().zip(hash.as_bytes().chunks(2)) {
            *byte = std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()).unwrap_or(0);
        }
        EventId(uuid::Builder::from_custom_bytes(first).into_uuid())
    }

    /// Parses the canonical text form.
    pub fn parse(text: &str) -> Result<EventId, IdError> {
        text.parse().map(EventId).map_err(|_| IdError { what: "event id", rule: "a UUID" })
    }
}

impl Default for EventId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
