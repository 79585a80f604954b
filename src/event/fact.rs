//! Facts: what an external source reported about one attempt, after that source was verified.
//!
//! Notifications and query replies all become a [`Fact`], and so does what the business asks of its own order;
//! [`crate::order::decide`] alone says what a fact does to an order. A fact is what was reported, never a conclusion
//! from it. A line of a bill never is one: to repair it WeChat is asked, and that answer is a fact.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::{AppId, MchId, OpenId, OutTradeNo, TransactionId};
use crate::money::Fen;
use crate::trade::TradeType;

/// One statement about one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    /// The unified order succeeded: the payer can pay.
    PrepayIssued(Prepay),
    /// WeChat refused the unified order for good: parameters, permissions.
    PlacementRefused(WechatError),
    /// WeChat refused the unified order before any business, because of the merchant's setup: the number is not used,
    /// and no earlier call of it can have been executed.
    SetupRefused {
        /// What WeChat said.
        error: WechatError,
        /// Whether WeChat accepts the merchant's other calls: then it is the order that does not fit the setup.
        alone: bool,
    },
    /// The unified order's outcome is not known: it may or may not exist at WeChat.
    PlacementUnknown {
        /// What was seen, for people.
        why: String,
        /// What WeChat answered, where an answer arrived.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        said: Option<WechatError>,
        /// No call reached WeChat: this one was put off, or had no connection, and no earlier one can have been
        /// executed.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        not_called: bool,
    },
    /// WeChat takes no money on this number any more (`ORDERCLOSED`, `CLOSED`, `REVOKED`).
    Closed,
    /// The payer paid.
    Paid(Payment),
    /// The payer paid, and some or all of it went back since (`REFUND`): what went back, only a question about refunds
    /// tells.
    Refunded(Payment),
    /// An operator accepts a held payment, in WeChat's words of it.
    PaymentAccepted(Payment),
    /// WeChat knows the number and no payment has been made yet (`NOTPAY`, `USERPAYING`, `ACCEPT`, `PAYERROR`).
    Unpaid {
        /// WeChat's word.
        trade_state: String,
    },
    /// WeChat does not know the number (`ORDERNOTEXIST`).
    NotFound,
    /// The business wants no money for this order any more.
    CloseRequested,
    /// The business wants its payer to pay in another way, or until later: a new attempt, once the old one takes no
    /// money.
    AttemptRequested {
        /// How the payer will pay.
        trade_type: TradeType,
        /// Until when the order may be paid then.
        expires_at: Timestamp,
    },
}

/// What a payer's client needs to pay.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepay {
    /// WeChat's handle of the payment session, good for two hours.
    pub prepay_id: String,
    /// NATIVE: the content of the QR code.
    pub code_url: Option<String>,
    /// MWEB: where to send the browser.
    pub mweb_url: Option<String>,
    /// When WeChat issued it.
    pub issued_at: Timestamp,
}

/// A payment handle lets its holder pay, nothing else; still it has no place in a log.
impl std::fmt::Debug for Prepay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepay").field("issued_at", &self.issued_at).finish_non_exhaustive()
    }
}

/// Money that moved, in WeChat's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// Who received it.
    pub mch_id: MchId,
    /// Through which app.
    pub appid: AppId,
    /// For which attempt.
    pub out_trade_no: OutTradeNo,
    /// WeChat's number of the payment.
    pub transaction_id: TransactionId,
    /// `total_fee`: the order's amount, whatever coupons paid of it.
    pub total_fee: Fen,
    /// `fee_type`; CNY when absent.
    pub fee_type: String,
    /// `time_end`: when WeChat took the money.
    pub time_end: Timestamp,
    /// The payer, under `appid`.
    pub openid: Option<OpenId>,
    /// `bank_type`, opaque.
    pub bank_type: Option<String>,
    /// `cash_fee`: what the payer paid in cash.
    pub cash_fee: Option<Fen>,
    /// `settlement_total_fee`: what will be settled, when coupons make it differ.
    pub settlement_total_fee: Option<Fen>,
    /// The coupons that paid a part, where WeChat names them. Facts of earlier versions have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub coupons: Vec<CouponPart>,
}

/// What one coupon paid of a payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CouponPart {
    /// `coupon_id`.
    pub id: String,
    /// `coupon_type`: `CASH` (paid for in advance, so it is settled) or `NO_CASH`; not every merchant gets it.
    pub kind: Option<String>,
    /// `coupon_fee`.
    pub fee: Fen,
}

/// WeChat's own words about a refusal, for developers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WechatError {
    /// `err_code`; of words that WeChat did not sign, or that are no error code, one of the constants here.
    pub code: String,
    /// `err_code_des`, or the words themselves.
    pub message: String,
}

impl WechatError {
    /// `return_code` FAIL, which WeChat never signs.
    pub const FAIL: &str = "FAIL";
    /// A reply of WeChat's form without a valid signature.
    pub const UNSIGNED: &str = "UNSIGNED";
    /// Not WeChat's form at all: an HTTP status, a page, an empty body.
    pub const HTTP: &str = "HTTP";
    /// A signed reply that does not fit the call.
    pub const UNUSABLE: &str = "UNUSABLE";

    /// Whether anyone between here and WeChat may have written the words.
    pub fn is_unsigned(&self) -> bool {
        [WechatError::FAIL, WechatError::UNSIGNED, WechatError::HTTP].contains(&self.code.as_str())
    }
}

/// One statement about one refund.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum RefundFact {
    /// WeChat took the refund on: it is in progress, and not refunded.
    Accepted {
        /// WeChat's number of it.
        refund_id: String,
    },
    /// WeChat refused the call for good and, where an earlier call may have been executed, also knows no such refund.
    Refused(WechatError),
    /// The call's outcome is not known: the refund may be in progress or not.
    Unknown {
        /// What was seen, for people.
        why: String,
        /// What WeChat answered, where an answer arrived.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        said: Option<WechatError>,
    },
    /// Not executed, and not wrong: the merchant's funds are too low, the payment is not settled yet, the certificate
    /// is not accepted.
    NotYet(WechatError),
    /// Too soon after another refund of the order: perhaps executed all the same.
    TooFrequent(WechatError),
    /// WeChat, asked by ourselves, says how it stands.
    Status(RefundSeen),
    /// WeChat, asked by ourselves, knows no such refund.
    NotFound,
}

/// A refund in WeChat's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundSeen {
    /// WeChat's number of it.
    pub refund_id: String,
    /// WeChat's number of the payment.
    pub transaction_id: TransactionId,
    /// `refund_fee`: what goes back.
    pub refund_fee: Fen,
    /// How it stands.
    pub status: RefundStanding,
}

/// How a refund stands at WeChat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum RefundStanding {
    /// `PROCESSING`.
    Processing,
    /// `SUCCESS`: the payer has the money.
    Success {
        /// `refund_success_time`, where WeChat says it.
        at: Option<Timestamp>,
    },
    /// `CHANGE`: the payer's account cannot take it. A person must act; it may still succeed.
    Change,
    /// `REFUNDCLOSE`: closed without moving money.
    Closed,
}
