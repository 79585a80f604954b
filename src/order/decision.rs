//! What deciding comes to: a change with everything that belongs to it, or why there is none.

use super::payment::{HeldReason, PaymentClass};
use super::state::{Order, Surplus};
use crate::clock::Timestamp;
use crate::event::fact::{Payment, WechatError};
use crate::ids::{AppId, MchId, OutTradeNo, TransactionId};
use crate::money::Fen;

/// No more numbers are tried for one order when WeChat keeps refusing them.
pub const MAX_ATTEMPTS: u32 = 5;
/// No more numbers are opened for one order because the business asks.
pub const MAX_REQUESTED_ATTEMPTS: u32 = 20;

/// How often WeChat refuses one order for the merchant's setup while it accepts the merchant's other calls, until the
/// order has failed.
pub const MAX_SETUP_REFUSALS: u32 = 3;

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
    /// Money that was not known before, to enter in the ledger.
    pub payment: Option<PaymentEntry>,
    /// A payment that is known and changes its class.
    pub reclassed: Option<PaymentChange>,
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

/// A payment that enters the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentEntry {
    /// The attempt that was paid.
    pub out_trade_no: OutTradeNo,
    /// WeChat's number of the payment.
    pub transaction_id: TransactionId,
    /// Who received it.
    pub mch_id: MchId,
    /// Through which app.
    pub appid: AppId,
    /// How much.
    pub amount: Fen,
    /// WeChat's `fee_type`.
    pub currency: String,
    /// When WeChat took it.
    pub occurred_at: Timestamp,
    /// What it is to us.
    pub class: PaymentClass,
    /// Why it is held.
    pub reason: Option<HeldReason>,
}

/// A payment that changes its class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentChange {
    /// WeChat's number of the payment.
    pub transaction_id: TransactionId,
    /// Its class so far.
    pub from: PaymentClass,
    /// Its class from now on.
    pub to: PaymentClass,
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
    /// An operator accepted a held payment as the order's: the order is paid, emitted once.
    PaidByAccept(Payment),
    /// An operator accepted a held payment of an order that had been credited before.
    PaymentAccepted(Payment),
    /// A payment does not count, until it is accepted or given back.
    PaymentHeld(Payment, HeldReason),
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
    /// To accept: the order has no such payment.
    UnknownPayment,
    /// To accept: all or some of it is on its way back to the payer, or went back.
    GivenBack,
    /// To accept: it is in another currency, or went to another merchant or app, and can only be given back.
    ForeignPayment,
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
            Refusal::UnknownPayment => "unknown_payment",
            Refusal::GivenBack => "given_back",
            Refusal::ForeignPayment => "foreign_payment",
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
            Refusal::UnknownPayment => f.write_str("the order has no such payment"),
            Refusal::GivenBack => f.write_str("the payment is on its way back to the payer, or went back"),
            Refusal::ForeignPayment => {
                f.write_str("the payment is in another currency, or went to another merchant or app")
            }
        }
    }
}
