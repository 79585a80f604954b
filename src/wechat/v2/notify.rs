//! The payment notification: what WeChat posts to us, and the two answers it understands.
//!
//! Read in this order, and nothing is believed before its check: XML, `return_code`, signature over all elements
//! received, merchant and app of the address it came to, then the contents. Amount and number are compared with the
//! order later, by the code that has the order. What must stay true: a notification whose signature does not hold never
//! gets past here.

use super::payment;
use super::payment::Incomplete;
use super::reply::{business_error, text};
use super::sign;
use super::sign::SignatureError;
use super::xml;
use super::xml::{Fields, XmlError};
use crate::clock::Timestamp;
use crate::config::Merchant;
use crate::event::fact::{Payment, WechatError};
use crate::ids::{AppId, OutTradeNo};
use crate::secret::V2Key;
use crate::trade::SignType;

/// The content type of both answers.
pub const REPLY_CONTENT_TYPE: &str = "text/xml; charset=utf-8";

/// A verified notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The attempt it is about.
    pub out_trade_no: OutTradeNo,
    /// Its content.
    pub result: NoticeResult,
    /// The algorithm of its signature; one that differs from the order's is counted.
    pub sign_type: SignType,
    /// Which key verified it: [`crate::secret::V2Key::fingerprint`].
    pub key_fingerprint: String,
    /// Whether its signature is that of another message, too: [`sign::is_ambiguous`].
    pub is_ambiguous: bool,
}

/// The content of a verified notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoticeResult {
    /// The payer paid.
    Paid(Payment),
    /// `result_code=FAIL`. Not final: the payer may try again, only a query is conclusive.
    Failed(WechatError),
}

/// Why a body is not a notification for this merchant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotifyError {
    /// Not the XML that WeChat sends: definitely bad.
    #[error("{0}")]
    HostileXml(#[from] XmlError),
    /// `return_code` is not SUCCESS: an unsigned message without content.
    #[error("return_code is not SUCCESS")]
    NoSuccess,
    /// No signature: definitely bad.
    #[error("signature missing")]
    Unsigned,
    /// A signature that this merchant's key did not make: definitely bad.
    #[error("signature malformed or wrong")]
    WrongSignature,
    /// Encrypted contents that this merchant's key does not open (refund notifications): definitely bad.
    #[error("cannot be decrypted")]
    Undecipherable,
    /// Signed, but for another merchant or app than the address belongs to: definitely bad here.
    #[error("for another merchant or app")]
    Foreign,
    /// Signed and ours, but without a required element: WeChat's fault or an unknown format.
    #[error("{0}")]
    Incomplete(#[from] Incomplete),
}

impl NotifyError {
    /// Whether another configuration (a newer key, another app) could accept it.
    pub const fn is_a_matter_of_configuration(&self) -> bool {
        match self {
            NotifyError::WrongSignature | NotifyError::Undecipherable | NotifyError::Foreign => true,
            NotifyError::HostileXml(_)
            | NotifyError::NoSuccess
            | NotifyError::Unsigned
            | NotifyError::Incomplete(_) => false,
        }
    }

    /// A short stable word for metrics.
    pub const fn reason(&self) -> &'static str {
        match self {
            NotifyError::HostileXml(_) => "xml",
            NotifyError::NoSuccess => "return_code",
            NotifyError::Unsigned => "unsigned",
            NotifyError::WrongSignature => "signature",
            NotifyError::Undecipherable => "decrypt",
            NotifyError::Foreign => "foreign",
            NotifyError::Incomplete(_) => "incomplete",
        }
    }

    /// What [`reply_fail`] reports to the sender: enough for WeChat's support, nothing for an attacker.
    pub const fn reply_text(&self) -> &'static str {
        match self {
            NotifyError::HostileXml(_) => "XML",
            NotifyError::NoSuccess => "RETURN_CODE",
            NotifyError::Unsigned | NotifyError::WrongSignature | NotifyError::Undecipherable => "SIGN",
            NotifyError::Foreign => "MERCHANT",
            NotifyError::Incomplete(_) => "PARAM",
        }
    }
}

/// Parses and verifies a notification that came to this merchant's address at `received_at`. `apps` are the apps whose
/// orders it takes.
pub fn parse_and_verify(
    body: &[u8],
    merchant: &Merchant,
    apps: &[AppId],
    received_at: Timestamp,
) -> Result<Notice, NotifyError> {
    let fields = xml::parse(body)?;
    if text(&fields, "return_code") != "SUCCESS" {
        return Err(NotifyError::NoSuccess);
    }
    let (sign_type, key) = verify(&fields, merchant, received_at)?;
    ours(&fields, merchant, apps)?;
    let out_trade_no = payment::out_trade_no(&fields)?;
    let result = match text(&fields, "result_code") {
        "SUCCESS" => NoticeResult::Paid(payment::parse(&fields)?),
        "FAIL" => NoticeResult::Failed(business_error(&fields)),
        _ => return Err(Incomplete { field: "result_code" }.into()),
    };
    Ok(Notice {
        out_trade_no,
        result,
        sign_type,
        key_fingerprint: key.fingerprint(),
        is_ambiguous: sign::is_ambiguous(&fields),
    })
}

/// The algorithm and the key that verify the signature.
fn verify<'m>(fields: &Fields, merchant: &'m Merchant, at: Timestamp) -> Result<(SignType, &'m V2Key), NotifyError> {
    let mut worst = NotifyError::WrongSignature;
    for key in merchant.inbound_keys(at) {
        match sign::verify(fields, key) {
            Ok(SignType::Md5) if !merchant.settling.accept_md5 => {}
            Ok(sign_type) => return Ok((sign_type, key)),
            Err(SignatureError::Missing) => worst = NotifyError::Unsigned,
            Err(SignatureError::Malformed | SignatureError::Wrong) => {}
        }
    }
    Err(worst)
}

/// Two merchants may share a key, so a valid signature alone does not identify the merchant.
pub(super) fn ours(fields: &Fields, merchant: &Merchant, apps: &[AppId]) -> Result<(), NotifyError> {
    let appid = text(fields, "appid");
    if text(fields, "mch_id") == merchant.mch_id.as_str() && apps.iter().any(|app| app.as_str() == appid) {
        Ok(())
    } else {
        Err(NotifyError::Foreign)
    }
}

/// The only answer that stops WeChat's repeats: these bytes and no other.
pub const fn reply_success() -> &'static str {
    "<xml><return_code><![CDATA[SUCCESS]]></return_code><return_msg><![CDATA[OK]]></return_msg></xml>"
}

/// An answer after which WeChat repeats. Of `reason`, only letters, digits, blanks and `_-.` are sent, 32 at most.
pub fn reply_fail(reason: &str) -> String {
    let sent = |c: &char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '_' | '-' | '.');
    let reason: String = reason.chars().filter(sent).take(32).collect();
    format!("<xml><return_code><![CDATA[FAIL]]></return_code><return_msg><![CDATA[{reason}]]></return_msg></xml>")
}
