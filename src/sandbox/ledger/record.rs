//! What happened at the simulated WeChat, one record per change: the only way the ledger changes, and the lines of
//! the journal. It is not a wire format of WeChat's.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::{AppId, MchId, OpenId, OutTradeNo, TransactionId};
use crate::money::Fen;
use crate::sandbox::faults::Kind;
use crate::trade::{SignType, TradeType};

/// What the merchant asked for with a number's first unified order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::sandbox) struct Terms {
    pub mch_id: MchId,
    pub appid: AppId,
    pub out_trade_no: OutTradeNo,
    pub trade_type: TradeType,
    pub total_fee: Fen,
    pub body: String,
    pub attach: String,
    pub device_info: String,
    pub notify_url: String,
    pub openid: Option<OpenId>,
    pub time_expire: Option<Timestamp>,
    pub sign_type: SignType,
    /// Over every business parameter (all elements except `nonce_str` and `sign`): a later call with another hash is
    /// another order under the same number, which WeChat refuses.
    pub parameters_sha256: String,
    /// Placed in the test environment, whose key signs what tells of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_test: bool,
    /// The shop's site, of an H5 order that names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wap_url: Option<String>,
}

/// One payment session of an order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::sandbox) struct Prepay {
    pub prepay_id: String,
    pub code_url: Option<String>,
    pub issued_at: Timestamp,
}

/// Whether WeChat settles a coupon's part to the merchant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox) enum CouponType {
    /// Charged beforehand: settled like money.
    #[serde(rename = "CASH")]
    Cash,
    /// Not charged beforehand: the settlement is smaller than the order.
    #[serde(rename = "NO_CASH")]
    NoCash,
}

/// Money that moved.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::sandbox) struct Payment {
    pub mch_id: MchId,
    pub appid: AppId,
    pub out_trade_no: OutTradeNo,
    pub transaction_id: TransactionId,
    pub total_fee: Fen,
    #[serde(default = "cny")]
    pub fee_type: String,
    pub cash_fee: Fen,
    pub coupon_fee: Fen,
    pub coupon_type: Option<CouponType>,
    pub openid: OpenId,
    pub bank_type: String,
    pub paid_at: Timestamp,
    /// `paid_at` as WeChat writes it: Beijing time, whole seconds.
    pub time_end: String,
}

/// The currency of payments that a journal of before holds.
fn cny() -> String {
    "CNY".to_owned()
}

/// Where a refund stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(in crate::sandbox) enum RefundStatus {
    /// Accepted, on its way.
    Processing,
    /// The payer has the money.
    Success,
    /// The payer's account cannot take it: the money went back to the merchant. May still succeed.
    Change,
    /// Closed without moving money.
    RefundClose,
}

impl RefundStatus {
    /// WeChat's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            RefundStatus::Processing => "PROCESSING",
            RefundStatus::Success => "SUCCESS",
            RefundStatus::Change => "CHANGE",
            RefundStatus::RefundClose => "REFUNDCLOSE",
        }
    }
}

/// Who asked for a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox) enum RefundSource {
    /// The merchant's program.
    #[serde(rename = "API")]
    Api,
    /// A person in the merchant platform.
    #[serde(rename = "VENDOR_PLATFORM")]
    VendorPlatform,
}

impl RefundSource {
    /// WeChat's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            RefundSource::Api => "API",
            RefundSource::VendorPlatform => "VENDOR_PLATFORM",
        }
    }
}

/// Money on its way back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::sandbox) struct Refund {
    pub mch_id: MchId,
    pub appid: AppId,
    pub out_trade_no: OutTradeNo,
    pub transaction_id: TransactionId,
    pub out_refund_no: String,
    pub refund_id: String,
    pub total_fee: Fen,
    pub refund_fee: Fen,
    /// The coupon's share of `refund_fee`; the rest is cash.
    pub coupon_refund_fee: Fen,
    /// What leaves the merchant's account: without a coupon that WeChat never settled.
    pub settlement_refund_fee: Fen,
    pub refund_desc: String,
    pub refund_account: String,
    pub source: RefundSource,
    /// The request's own, or else the one the merchant has set; without either nothing is sent.
    pub notify_url: Option<String>,
    /// Over every business parameter, as in [`Terms`]; empty for one of the merchant platform.
    pub parameters_sha256: String,
    pub accepted_at: Timestamp,
    /// How it ends unless the control API interferes.
    pub ends_as: RefundStatus,
    pub status: RefundStatus,
    pub ended_at: Option<Timestamp>,
}

/// The extra fields of a refund notification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox) struct RefundNews {
    pub out_refund_no: String,
    pub refund_status: RefundStatus,
}

/// How one notification ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::sandbox) enum Outcome {
    /// HTTP 200 and `return_code` SUCCESS: no more repeats.
    Acknowledged,
    /// HTTP 200 with anything else.
    Refused,
    /// Another status, redirects included.
    HttpError,
    /// No whole answer within five seconds.
    Timeout,
    /// No connection, or it broke.
    Unreachable,
    /// A fault: never sent.
    Dropped,
    /// A fault: sent, but the merchant's answer was thrown away unread.
    AnswerLost,
}

/// One notification and what became of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::sandbox) struct Delivery {
    pub mch_id: MchId,
    pub out_trade_no: OutTradeNo,
    pub transaction_id: TransactionId,
    pub notify_url: String,
    /// 1 to 16 on WeChat's schedule; nothing when the control API asked for it.
    pub attempt: Option<u32>,
    pub fault: Option<Kind>,
    pub sent_at: Timestamp,
    pub answered_at: Timestamp,
    pub outcome: Outcome,
    pub http_status: Option<u16>,
    /// The beginning of the merchant's answer.
    pub answer: Option<String>,
    /// The refund it reports; none for a payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund: Option<RefundNews>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub(in crate::sandbox) enum Record {
    /// A new number.
    Placed { at: Timestamp, terms: Box<Terms>, prepay: Prepay },
    /// The same order once more: a fresh session.
    Reissued { mch_id: MchId, out_trade_no: OutTradeNo, prepay: Prepay },
    /// The payer left the cashier.
    Cancelled { mch_id: MchId, out_trade_no: OutTradeNo },
    /// The merchant closed it.
    Closed { at: Timestamp, mch_id: MchId, out_trade_no: OutTradeNo },
    /// The payer paid.
    Paid(Box<Payment>),
    /// A notification ended.
    Delivered(Box<Delivery>),
    /// WeChat took a refund on.
    RefundAccepted(Box<Refund>),
    /// A refund came to its end, or from CHANGE to SUCCESS.
    RefundEnded { at: Timestamp, mch_id: MchId, out_refund_no: String, status: RefundStatus },
    /// How refunds of an order, or the one with a number, shall end.
    RefundPlanned { mch_id: String, number: String, status: RefundStatus },
    /// What the merchant has in its account (nothing: without limit) and where it hears of refunds.
    MerchantSet { mch_id: String, balance: Option<Fen>, refund_notify_url: Option<String> },
}
