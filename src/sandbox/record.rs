//! What happened at the simulated WeChat, one record per change: the only way the ledger changes, and the lines of
//! the journal. It is not a wire format of WeChat's.

use serde::{Deserialize, Serialize};

use super::faults::Kind;
use crate::clock::Timestamp;
use crate::ids::{AppId, MchId, OpenId, OutTradeNo, TransactionId};
use crate::money::Fen;
use crate::order::TradeType;
use crate::wechat::v2::sign::SignType;

/// What the merchant asked for with a number's first unified order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Terms {
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
}

/// One payment session of an order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Prepay {
    pub prepay_id: String,
    pub code_url: Option<String>,
    pub issued_at: Timestamp,
}

/// Whether WeChat settles a coupon's part to the merchant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum CouponType {
    /// Charged beforehand: settled like money.
    #[serde(rename = "CASH")]
    Cash,
    /// Not charged beforehand: the settlement is smaller than the order.
    #[serde(rename = "NO_CASH")]
    NoCash,
}

/// Money that moved.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Payment {
    pub mch_id: MchId,
    pub appid: AppId,
    pub out_trade_no: OutTradeNo,
    pub transaction_id: TransactionId,
    pub total_fee: Fen,
    pub cash_fee: Fen,
    pub coupon_fee: Fen,
    pub coupon_type: Option<CouponType>,
    pub openid: OpenId,
    pub bank_type: String,
    pub paid_at: Timestamp,
    /// `paid_at` as WeChat writes it: Beijing time, whole seconds.
    pub time_end: String,
}

/// How one notification ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
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
pub(super) struct Delivery {
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
}

/// One change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub(super) enum Record {
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
}
