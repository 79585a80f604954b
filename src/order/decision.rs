//! What deciding comes to: a change with everything that belongs to it, or why there is none.

use super::state::{Order, Surplus};
use crate::clock::Timestamp;
use crate::event::fact::{Payment, WechatError};
use crate::ids::{OutTradeNo, TransactionId};
use crate::money::Fen;

/// No more numbers are tried for one order when WeChat keeps refusing them.
pub const MAX_ATTEMPTS: u32 = 5;
/// No more numbers are opened for one order because the business asks.
pub const MAX_REQUESTED_ATTEMPTS: u32 = 20;

/// What a fact does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The order changes.
    Apply(Box<Change>),
    /// The order says so already; nothing to do.
    AlreadyApplied,
    /// Nothing changed; ask again at this time.
    AskAgain {
        /// When.
        at: Timestamp,
        /// Whether the unified order must be repeated with the same number and parameters: WeChat either does not have
        /// it or its answer, with the prepay id, never reached us.
        resubmit: bool,
    },
    /// The fact contradicts the stored order. Nothing changes; an operator must investigate.
    Refused(Refusal),
}

/// A change of an order, to be committed as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The order afterwards; its version is one higher.
    pub next: Order,
    /// Money to enter in the ledger.
    pub ledger: Option<LedgerEntry>,
    /// Domain events to emit, in this order.
    pub news: Vec<OrderEvent>,
    /// Money to send back, because the merchant's policy says so.
    pub refund: Option<AutoRefund>,
}

/// An automatic refund: a payment returned without a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutoRefund {
    /// The attempt that was paid.
    pub out_trade_no: OutTradeNo,
    /// WeChat's number of the payment.
    pub transaction_id: TransactionId,
    /// All of it.
    pub amount: Fen,
    /// `paid_late` or `paid_twice`.
    pub reason: &'static str,
}

/// A payment in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerEntry {
    /// The attempt that was paid.
    pub out_trade_no: OutTradeNo,
    /// WeChat's number of the payment.
    pub transaction_id: TransactionId,
    /// How much.
    pub amount: Fen,
    /// When WeChat took it.
    pub occurred_at: Timestamp,
}

/// What happened, for those who listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderEvent {
    /// A payer can pay this attempt.
    Payable(OutTradeNo),
    /// The order is paid: emitted once.
    Paid(Payment),
    /// The order was paid after it was closed, refused or expired.
    PaidLate(Payment, Surplus),
    /// A second payment arrived.
    PaidTwice(Payment, Surplus),
    /// WeChat takes no more money on it.
    Closed,
    /// WeChat refused it.
    Failed(WechatError),
}

/// Why a fact is not believed of this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The order has no such attempt.
    UnknownAttempt,
    /// The amount is not the order's.
    AmountDiffers {
        /// The order's.
        ours: Fen,
        /// WeChat's.
        theirs: Fen,
    },
    /// The currency is not the order's.
    CurrencyDiffers,
    /// Another merchant or app took the money.
    RecipientDiffers,
    /// WeChat says closed of an attempt that it had said paid.
    ClosedAfterPaid,
    /// The transaction is in the ledger of another order.
    TransactionElsewhere,
}

impl Refusal {
    /// A short stable name, for metrics and dead letters.
    pub const fn reason(&self) -> &'static str {
        match self {
            Refusal::UnknownAttempt => "unknown_attempt",
            Refusal::AmountDiffers { .. } => "amount_differs",
            Refusal::CurrencyDiffers => "currency_differs",
            Refusal::RecipientDiffers => "recipient_differs",
            Refusal::ClosedAfterPaid => "closed_after_paid",
            Refusal::TransactionElsewhere => "transaction_elsewhere",
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::UnknownAttempt => f.write_str("the order has no such attempt"),
            Refusal::AmountDiffers { ours, theirs } => {
                write!(f, "the order is {ours} fen, the message says {theirs} fen")
            }
            Refusal::CurrencyDiffers => f.write_str("the currency is not CNY"),
            Refusal::RecipientDiffers => f.write_str("another merchant or app is named than the attempt's"),
            Refusal::ClosedAfterPaid => f.write_str("WeChat reports an attempt as closed that it had reported as paid"),
            Refusal::TransactionElsewhere => f.write_str("the transaction is in the ledger of another order"),
        }
    }
}

/// What a payment leads to: the events to emit, and what is sent back of it.
pub(super) type Received = (Vec<OrderEvent>, Option<AutoRefund>);
