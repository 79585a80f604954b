//! The refund notification: an unsigned envelope around contents encrypted with the merchant's key.
//!
//! There is no signature. The encryption is AES-256-ECB, whose blocks an attacker who saw other notifications could
//! rearrange, so the contents are a hint: match them with a refund of ours, then query before booking anything.
//! WeChat also sends it for refunds of the merchant platform and of API v3, if the address is set there.

use aws_lc_rs::cipher::{
    AES_256, DecryptionContext, PaddedBlockDecryptingKey, PaddedBlockEncryptingKey, UnboundCipherKey,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};

use super::notify::{NotifyError, ours};
use super::payment;
use super::payment::Incomplete;
use super::refund::{OutRefundNo, refund_id};
use super::refund_query::RefundStatus;
use super::reply::text;
use super::xml;
use super::xml::Fields;
use crate::clock::Timestamp;
use crate::config::Merchant;
use crate::ids::{AppId, OutTradeNo, TransactionId};
use crate::money::Fen;
use crate::secret::{V2Key, hex_lower};

/// A hint that a refund became final. Not verified: [`super::refund_query`] confirms it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundHint {
    /// Our number of the refund; the merchant platform makes its own.
    pub out_refund_no: OutRefundNo,
    /// WeChat's number of the refund.
    pub refund_id: String,
    /// The attempt that was paid.
    pub out_trade_no: OutTradeNo,
    /// WeChat's number of the payment.
    pub transaction_id: TransactionId,
    /// The order's amount.
    pub total_fee: Fen,
    /// The amount refunded.
    pub refund_fee: Fen,
    /// Its outcome.
    pub status: RefundStatus,
    /// When it succeeded.
    pub success_time: Option<Timestamp>,
}

/// Parses and decrypts a notification that came to this merchant's refund address at `received_at`.
pub fn parse_and_decrypt(
    body: &[u8],
    merchant: &Merchant,
    apps: &[AppId],
    received_at: Timestamp,
) -> Result<RefundHint, NotifyError> {
    let envelope = xml::parse(body)?;
    if text(&envelope, "return_code") != "SUCCESS" {
        return Err(NotifyError::NoSuccess);
    }
    ours(&envelope, merchant, apps)?;
    let req_info = text(&envelope, ENCRYPTED);
    if req_info.trim().is_empty() {
        return Err(Incomplete { field: ENCRYPTED }.into());
    }
    // Undecryptable and malformed contents get the same answer, so that it is no decryption oracle.
    let open = |key| xml::parse(&decrypt(req_info, key)?).ok();
    let fields = merchant.inbound_keys(received_at).find_map(open).ok_or(NotifyError::Undecipherable)?;
    Ok(hint(&fields)?)
}

/// The element that holds everything a refund's notification says.
const ENCRYPTED: &str = "req_info";

/// Whether a body is a refund's notification, or a payment's, whichever address it came to: merchants set the one
/// address of the merchant platform to either. None where it is neither.
pub fn is_refund(body: &[u8]) -> Option<bool> {
    let fields = xml::parse(body).ok()?;
    let has = |name: &str| !text(&fields, name).trim().is_empty();
    if has(ENCRYPTED) { Some(true) } else { has("sign").then_some(false) }
}

/// Whether a body may be a refund's notification at all: without parsing it.
pub fn may_be_refund(body: &[u8]) -> bool {
    body.windows(ENCRYPTED.len()).any(|bytes| bytes == ENCRYPTED.as_bytes())
}

/// Decrypts `req_info`, which may be broken into lines. None if it is not base64, not whole blocks, or made with
/// another key.
pub fn decrypt(req_info: &str, key: &V2Key) -> Option<Vec<u8>> {
    let encoded: Vec<u8> = req_info.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let mut bytes = STANDARD.decode(encoded).ok()?;
    let key = PaddedBlockDecryptingKey::ecb_pkcs7(cipher_key(key)?).ok()?;
    let plain = key.decrypt(&mut bytes, DecryptionContext::None).ok()?;
    Some(plain.to_vec())
}

/// Makes a `req_info`, as WeChat does.
pub fn encrypt(plain: &[u8], key: &V2Key) -> Option<String> {
    let mut bytes = plain.to_vec();
    PaddedBlockEncryptingKey::ecb_pkcs7(cipher_key(key)?).ok()?.encrypt(&mut bytes).ok()?;
    Some(STANDARD.encode(bytes))
}

/// The 32 characters (not the 16 bytes) of the key's lower-case hex MD5 are the AES key.
fn cipher_key(key: &V2Key) -> Option<UnboundCipherKey> {
    let hex = hex_lower(Md5::digest(key.expose().as_bytes()).as_slice());
    UnboundCipherKey::new(&AES_256, hex.as_bytes()).ok()
}

fn hint(fields: &Fields) -> Result<RefundHint, Incomplete> {
    let amount = |field: &'static str| Fen::parse_field(text(fields, field)).map_err(|_| Incomplete { field });
    Ok(RefundHint {
        out_refund_no: OutRefundNo::parse(text(fields, "out_refund_no"))
            .map_err(|_| Incomplete { field: "out_refund_no" })?,
        refund_id: refund_id(fields, "refund_id").ok_or(Incomplete { field: "refund_id" })?,
        out_trade_no: payment::out_trade_no(fields)?,
        transaction_id: TransactionId::parse(text(fields, "transaction_id"))
            .map_err(|_| Incomplete { field: "transaction_id" })?,
        total_fee: amount("total_fee")?,
        refund_fee: amount("refund_fee")?,
        status: RefundStatus::parse(text(fields, "refund_status")).ok_or(Incomplete { field: "refund_status" })?,
        success_time: Timestamp::parse_beijing_spaced(text(fields, "success_time")).ok(),
    })
}
