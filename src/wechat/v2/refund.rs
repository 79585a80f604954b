//! `refund`: refunds a payment or a part of it. Needs a [`Client::with_certificate`].
//!
//! [`Refunding::Accepted`] is not refunded: a refund is done when its notification or a query says so. `out_refund_no`
//! is the idempotency key, so it and every parameter are stored before the first call and repeated unchanged; a new
//! number while one is unknown can pay twice. The order's `total_fee` comes from the stored order, never from the
//! request for the refund.

use super::coupon;
use super::coupon::Coupon;
use super::payment::Incomplete;
use super::reply;
use super::reply::{Expected, RawReply, text};
use super::request;
use super::xml::Fields;
use crate::event::fact::WechatError;
pub use crate::ids::OutRefundNo;
use crate::ids::{AppId, MchId, OutTradeNo, TransactionId};
use crate::money::Fen;
use crate::secret::V2Key;
use crate::trade::SignType;
use crate::wechat::outcome::{Api, Outcome};
use crate::wechat::transport::Client;

/// A refund as it is sent to WeChat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundOrder {
    /// The app the order was paid in.
    pub appid: AppId,
    /// The merchant that received the money.
    pub mch_id: MchId,
    /// How the call is signed.
    pub sign_type: SignType,
    /// WeChat's number of the payment. The order is named by it and not by `out_trade_no`: it exists only where money
    /// moved, and only it works for old orders.
    pub transaction_id: TransactionId,
    /// Our number of the refund.
    pub out_refund_no: OutRefundNo,
    /// The order's amount.
    pub total_fee: Fen,
    /// The amount to refund.
    pub refund_fee: Fen,
    /// The payment's currency; none for CNY, which WeChat assumes.
    pub refund_fee_type: Option<String>,
    /// The reason shown to the payer; at most 80 bytes.
    pub refund_desc: Option<String>,
    /// Where WeChat posts the result.
    pub notify_url: Option<String>,
}

/// The result of a refund call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refunding {
    /// WeChat accepted the refund; it is in progress.
    Accepted(Accepted, RawReply),
    /// Refused permanently, with WeChat's error.
    Refused(WechatError),
    /// WeChat's state of this number or order differs from ours: query both before anything else.
    Ask(WechatError),
    /// Refused inconclusively (unsigned, or denying a payment that is proven): query; if WeChat knows no such refund,
    /// the same number again, a minute later at the earliest.
    Doubt(WechatError),
    /// Not executed but valid (funds too low, not settled yet, a certificate or a permission to renew): the same
    /// number again, a minute later at the earliest.
    Later(WechatError),
    /// Too soon after the order's last refund, or the order is old: it may have been accepted. The same number
    /// again, a minute later at the earliest.
    TooFrequent(WechatError),
    /// It may be in progress or not: query by the number, then the same number and parameters again.
    Unknown {
        /// What was seen.
        why: String,
        /// What WeChat answered; none where no answer arrived.
        said: Option<WechatError>,
    },
}

/// A refund in progress, as WeChat reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// WeChat's number of the refund.
    pub refund_id: String,
    /// Our number of the refund.
    pub out_refund_no: OutRefundNo,
    /// WeChat's number of the payment.
    pub transaction_id: TransactionId,
    /// The attempt that was paid.
    pub out_trade_no: OutTradeNo,
    /// The amount to refund.
    pub refund_fee: Fen,
    /// The order's amount, where the reply names it.
    pub total_fee: Option<Fen>,
    /// The part refunded in cash.
    pub cash_refund_fee: Option<Fen>,
    /// What is settled less, when coupons make it differ.
    pub settlement_refund_fee: Option<Fen>,
    /// The part refunded to coupons.
    pub coupons: Vec<Coupon>,
}

/// Every parameter that is signed, except `nonce_str` and `sign`: to be stored before the first call.
pub fn params(order: &RefundOrder) -> Fields {
    let mut fields = Fields::from([
        ("appid".to_owned(), order.appid.as_str().to_owned()),
        ("mch_id".to_owned(), order.mch_id.as_str().to_owned()),
        ("sign_type".to_owned(), order.sign_type.as_str().to_owned()),
        ("transaction_id".to_owned(), order.transaction_id.as_str().to_owned()),
        ("out_refund_no".to_owned(), order.out_refund_no.as_str().to_owned()),
        ("total_fee".to_owned(), order.total_fee.to_string()),
        ("refund_fee".to_owned(), order.refund_fee.to_string()),
    ]);
    let optional = [
        ("refund_fee_type", &order.refund_fee_type),
        ("refund_desc", &order.refund_desc),
        ("notify_url", &order.notify_url),
    ];
    for (name, value) in optional {
        if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
            fields.insert(name.to_owned(), value.clone());
        }
    }
    fields
}

/// The body to send for these parameters.
pub fn write_request(params: &Fields, key: &V2Key, nonce: String) -> String {
    request::write(params, key, nonce)
}

/// Reads the reply to a call with these parameters.
pub fn parse_reply(params: &Fields, key: &V2Key, body: &[u8]) -> Refunding {
    let (mch_id, appid) = (text(params, "mch_id"), text(params, "appid"));
    refunding(params, reply::parse(Expected { api: Api::Refund, key, mch_id, appid }, body), body)
}

/// Requests the refund: one call, of one host.
pub async fn place(client: &Client, key: &V2Key, params: &Fields) -> Refunding {
    let body = write_request(params, key, request::nonce());
    match client.post_xml_once(Api::Refund.path(), body).await {
        Ok(body) => parse_reply(params, key, &body),
        Err(error) => refunding(params, reply::failed(Api::Refund, &error), &[]),
    }
}

fn refunding(params: &Fields, outcome: Outcome, body: &[u8]) -> Refunding {
    let misfit = |why: String| Refunding::Unknown { said: Some(reply::misfit(&why)), why };
    match outcome {
        Outcome::Done(fields) if !answers(params, &fields) => {
            misfit("the reply is about another refund or other amounts".into())
        }
        Outcome::Done(fields) => match accepted(&fields) {
            Ok(accepted) => Refunding::Accepted(accepted, RawReply::of(body)),
            Err(incomplete) => misfit(format!("the reply says accepted, but {incomplete}")),
        },
        Outcome::Refused(error) => Refunding::Refused(error),
        Outcome::Ask(error) => Refunding::Ask(error),
        Outcome::Doubt(error) => Refunding::Doubt(error),
        Outcome::Later(error) | Outcome::Setup(error) => Refunding::Later(error),
        Outcome::TooFrequent(error) => Refunding::TooFrequent(error),
        Outcome::Closed(error) | Outcome::NotFound(error) => {
            Refunding::Unknown { why: reply::line(&error), said: Some(error) }
        }
        Outcome::Unknown { why, said } => Refunding::Unknown { why, said },
    }
}

/// The accepted refund must be the requested one: the same number, payment and amounts.
fn answers(params: &Fields, fields: &Fields) -> bool {
    let same = |field: &&str| text(fields, field) == text(params, field);
    let total = text(fields, "total_fee").is_empty() || same(&"total_fee");
    total && ["out_refund_no", "transaction_id", "refund_fee"].iter().all(same)
}

fn accepted(fields: &Fields) -> Result<Accepted, Incomplete> {
    let amount = |field: &'static str| Fen::parse_field(text(fields, field)).map_err(|_| Incomplete { field });
    Ok(Accepted {
        refund_id: refund_id(fields, "refund_id").ok_or(Incomplete { field: "refund_id" })?,
        out_refund_no: OutRefundNo::parse(text(fields, "out_refund_no"))
            .map_err(|_| Incomplete { field: "out_refund_no" })?,
        transaction_id: TransactionId::parse(text(fields, "transaction_id"))
            .map_err(|_| Incomplete { field: "transaction_id" })?,
        out_trade_no: super::payment::out_trade_no(fields)?,
        refund_fee: amount("refund_fee")?,
        total_fee: amount("total_fee").ok(),
        cash_refund_fee: amount("cash_refund_fee").ok(),
        settlement_refund_fee: amount("settlement_refund_fee").ok(),
        coupons: coupon::of_refund(fields),
    })
}

/// WeChat's number of a refund: 1 to 32 letters or digits.
pub(super) fn refund_id(fields: &Fields, name: &str) -> Option<String> {
    let id = text(fields, name);
    let plain = (1..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric());
    plain.then(|| id.to_owned())
}
