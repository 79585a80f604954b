//! What a refund can be, and what deciding about one comes to.
//!
//! `requested → unknown | processing → succeeded | abnormal | failed`. A refund that WeChat took on is not refunded:
//! only WeChat's own word, asked for by ourselves, makes it that. Money that may be on its way back stays reserved
//! until WeChat says that it is not.

use crate::clock::Timestamp;
use crate::event::fact::WechatError;
use crate::ids::{MerchantKey, OrderNo, OutRefundNo, OutTradeNo, TransactionId};
use crate::money::Fen;
use crate::order::state::Queries;

/// Where a refund stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefundState {
    /// Entered when the refund is recorded; left by WeChat's answer to the call. It may wait here for the call slot or
    /// for the merchant's funds.
    Requested,
    /// WeChat was called and its answer is not known; left by a repeat that is answered, or a query. Never read as
    /// failed.
    Unknown,
    /// WeChat took it on; left by what a query says.
    Processing,
    /// The payer has the money. Never left.
    Succeeded,
    /// The payer's account cannot take the money: a person must act in the merchant platform. Left by what a query
    /// says.
    Abnormal,
    /// WeChat refused it, or closed it without moving money. Never left, and its number is never used again.
    Failed,
}

/// Who wanted a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefundOrigin {
    /// The business, over the API, the console or `wxpayctl`.
    Api,
    /// The merchant's policy for money that came late or twice.
    Policy,
    /// Created in WeChat's merchant platform and discovered through WeChat. Those of this service's own console are
    /// `Api`.
    MerchantPlatform,
}

named!(RefundState {
    Requested = "requested",
    Unknown = "unknown",
    Processing = "processing",
    Succeeded = "succeeded",
    Abnormal = "abnormal",
    Failed = "failed",
});
named!(RefundOrigin { Api = "api", Policy = "policy", MerchantPlatform = "console" });

impl RefundState {
    /// Whether nothing more is to be learnt about it.
    pub const fn is_final(self) -> bool {
        match self {
            RefundState::Succeeded | RefundState::Failed => true,
            RefundState::Requested | RefundState::Unknown | RefundState::Processing | RefundState::Abnormal => false,
        }
    }

    /// Whether WeChat is still to be called for it.
    pub const fn wants_call(self) -> bool {
        match self {
            RefundState::Requested | RefundState::Unknown => true,
            RefundState::Processing | RefundState::Succeeded | RefundState::Abnormal | RefundState::Failed => false,
        }
    }
}

/// Money on its way back to a payer: the unit of every change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// Our row number; 0 before it has one.
    pub id: i64,
    /// Counts changes; a change names the version it was decided on.
    pub version: i64,
    /// Whose.
    pub merchant: MerchantKey,
    /// Of which order; none where the payment is of no order.
    pub order_no: Option<OrderNo>,
    /// Its number at WeChat.
    pub refund_no: OutRefundNo,
    /// The attempt that was paid.
    pub out_trade_no: OutTradeNo,
    /// WeChat's number of the payment.
    pub transaction_id: TransactionId,
    /// What goes back.
    pub amount: Fen,
    /// What was paid.
    pub total: Fen,
    /// The payment's currency.
    pub currency: String,
    /// Where it stands.
    pub state: RefundState,
    /// Who wanted it.
    pub origin: RefundOrigin,
    /// WeChat's number of it, once WeChat took it on.
    pub refund_id: Option<String>,
    /// WeChat's last words against it: why it failed, or what it waits for.
    pub error: Option<WechatError>,
    /// Whether the delay was reported, i.e. that it waits for something only operators can resolve; reported once.
    pub delayed: bool,
    /// When a call of it last had no answer, or was found without a recorded end.
    pub unanswered_at: Option<Timestamp>,
    /// When it is polled next.
    pub queries: Queries,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// When the payer had the money.
    pub succeeded_at: Option<Timestamp>,
}

/// What a fact does to a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefundDecision {
    /// The refund changes.
    Apply(Box<RefundChange>),
    /// The refund says so already; nothing to do.
    AlreadyApplied,
    /// Nothing changed; poll again at this time.
    AskAgain {
        /// When.
        at: Timestamp,
    },
    /// The fact contradicts the stored refund unless it is older than the refund's end: an answer that was under way
    /// while another one ended it. Nothing changes; WeChat must be asked again.
    Doubtful(RefundRefusal),
    /// The fact contradicts the stored refund. Nothing changes; an operator must investigate.
    Refused(RefundRefusal),
}

/// A change of a refund, to be committed as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundChange {
    /// The refund afterwards; its version is one higher.
    pub next: Refund,
    /// Money that went back, to enter in the ledger.
    pub ledger: Option<RefundEntry>,
    /// Whether its amount may be refunded otherwise now.
    pub released: bool,
    /// The domain event to emit.
    pub news: Option<RefundEvent>,
}

/// A refund in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundEntry {
    /// WeChat's number of it.
    pub refund_id: String,
    /// How much.
    pub amount: Fen,
    /// When the payer had it.
    pub occurred_at: Timestamp,
}

/// What happened to a refund, for those who listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefundEvent {
    /// It is recorded and its amount reserved.
    Requested,
    /// It waits for something that operators must resolve: emitted once.
    Delayed,
    /// The payer has the money.
    Succeeded,
    /// The payer's account cannot take it.
    Abnormal,
    /// No money moved, and none will under this number.
    Failed,
}

named!(RefundEvent {
    Requested = "requested",
    Delayed = "delayed",
    Succeeded = "succeeded",
    Abnormal = "abnormal",
    Failed = "failed",
});

/// Why a fact is not believed of this refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefundRefusal {
    /// Another amount is named than the refund's.
    Differs,
    /// WeChat knows the number as a refund of another payment.
    AnotherPayment,
    /// WeChat knows the number under another refund_id than it gave us.
    RefundIdDiffers,
    /// WeChat says it is not done of a refund that it had called done.
    UndoneAfterSuccess,
    /// WeChat says it lives of a refund that had failed: its amount may have been refunded otherwise meanwhile.
    AliveAfterFailure,
}

impl RefundRefusal {
    /// A short stable name, for metrics and dead letters.
    pub const fn reason(self) -> &'static str {
        match self {
            RefundRefusal::Differs => "refund_differs",
            RefundRefusal::AnotherPayment => "another_payment",
            RefundRefusal::RefundIdDiffers => "refund_id_differs",
            RefundRefusal::UndoneAfterSuccess => "undone_after_success",
            RefundRefusal::AliveAfterFailure => "alive_after_failure",
        }
    }
}

impl std::fmt::Display for RefundRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            RefundRefusal::Differs => "WeChat names another amount than the refund's",
            RefundRefusal::AnotherPayment => "WeChat knows the number as a refund of another payment",
            RefundRefusal::RefundIdDiffers => "WeChat knows the number under another refund_id",
            RefundRefusal::UndoneAfterSuccess => "WeChat reports a refund that had succeeded as not succeeded",
            RefundRefusal::AliveAfterFailure => "WeChat reports a refund that had failed as alive",
        })
    }
}
