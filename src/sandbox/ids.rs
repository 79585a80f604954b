//! Numbers in the shapes WeChat gives them, and the dice of the faults.
//!
//! All derive from the seed and a counter that the journal restores, so a restarted simulator never issues a number
//! twice. They are not secrets: this is a simulator.

use crate::clock::Timestamp;
use crate::ids::{AppId, IdError, OpenId, TransactionId};
use crate::secret::sha256_hex;

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64: for one seed, different serials give different results (each step is a bijection).
pub(super) fn mix(seed: u64, serial: u64) -> u64 {
    let mut z = seed.wrapping_add(serial.wrapping_add(1).wrapping_mul(GAMMA));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// `wx`, the Beijing time, twenty hex digits: 36 characters.
pub(super) fn prepay_id(seed: u64, serial: u64, now: Timestamp) -> String {
    format!("wx{}{:016x}{:04x}", now.to_beijing(), mix(seed, serial), serial & 0xffff)
}

/// The content of a NATIVE order's QR code.
pub(super) fn code_url(seed: u64, serial: u64) -> String {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut rest = mix(seed, serial);
    let mut url = String::from("weixin://wxpay/bizpayurl?pr=");
    for _ in 0..11 {
        let digit = usize::try_from(rest % 62).unwrap_or(0);
        url.push(char::from(ALPHABET[digit]));
        rest /= 62;
    }
    url
}

/// 28 digits: `4200`, six that tell simulators apart, the Beijing day, a counter.
pub(super) fn transaction_id(seed: u64, serial: u64, now: Timestamp) -> Result<TransactionId, IdError> {
    let day = &now.to_beijing()[..8];
    TransactionId::parse(format!("4200{:06}{day}{:010}", mix(seed, 0) % 1_000_000, serial % 10_000_000_000))
}

/// 28 digits in the shape of a `transaction_id`: `5030`, six that tell simulators apart, the Beijing day, a counter.
pub(super) fn refund_id(seed: u64, serial: u64, now: Timestamp) -> String {
    let day = &now.to_beijing()[..8];
    format!("5030{:06}{day}{:010}", mix(seed, 0) % 1_000_000, serial % 10_000_000_000)
}

/// What the merchant platform calls a refund that a person makes there: the merchant's program never chose it.
pub(super) fn console_refund_no(seed: u64, serial: u64, now: Timestamp) -> String {
    format!("V{}{:016x}", now.to_beijing(), mix(seed ^ 0xc0de, serial))
}

/// The payer of an order that names none: always the same person under one app.
pub(super) fn default_payer(appid: &AppId) -> Result<OpenId, IdError> {
    OpenId::parse(format!("o{}", &sha256_hex(appid.as_str().as_bytes())[..27]))
}
