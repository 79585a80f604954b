//! What an order and its attempts can be.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::payment::{OrderPayment, PaymentClass};
use crate::clock::Timestamp;
use crate::event::fact::{Prepay, WechatError};
use crate::ids::{AppId, AppKey, MchId, MerchantKey, OrderNo, OutTradeNo, TransactionId};
use crate::money::Fen;
use crate::trade::TradeType;

/// The only currency of domestic merchants.
pub const CNY: &str = "CNY";

/// Where an order stands. `requested → payable → paid | closed | failed`; money that arrives later still makes it paid,
/// and an order that ran out of time may be given more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// Entered when the order is recorded; left by WeChat's answer to the unified order.
    Requested,
    /// A payer can pay; left by a payment or a close.
    Payable,
    /// WeChat says money arrived. Never left.
    Paid,
    /// WeChat takes no money on any attempt; left by money that arrived all the same, and, after its expiry, by a new
    /// attempt that the business asks for.
    Closed,
    /// WeChat refused the order for good; left only by money that arrived all the same.
    Failed,
}

/// Where one attempt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptState {
    /// Recorded with its parameters; WeChat may or may not have been called.
    Created,
    /// WeChat was called and its answer is not known, or it waits for a call that WeChat takes.
    Unknown,
    /// WeChat issued a prepay id.
    Payable,
    /// WeChat says it was paid.
    Paid,
    /// WeChat takes no money on it.
    Closed,
    /// WeChat refused it for good.
    Failed,
}

named!(OrderState {
    Requested = "requested",
    Payable = "payable",
    Paid = "paid",
    Closed = "closed",
    Failed = "failed",
});
named!(AttemptState {
    Created = "created",
    Unknown = "unknown",
    Payable = "payable",
    Paid = "paid",
    Closed = "closed",
    Failed = "failed",
});

/// What a person should know beside the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    /// Paid after it was closed, refused or expired.
    pub paid_late: bool,
    /// More than one payment arrived.
    pub paid_twice: bool,
    /// An attempt's outcome at WeChat is not known.
    pub outcome_unknown: bool,
    /// A verified message named another amount, currency, merchant or app than the order's.
    pub amount_mismatch: bool,
    /// A payment is older than its attempt: the number was used before.
    pub paid_before_order: bool,
}

impl Flags {
    /// The names of the flags that are set.
    pub fn names(self) -> Vec<&'static str> {
        let all = [
            (self.paid_late, "paid_late"),
            (self.paid_twice, "paid_twice"),
            (self.paid_before_order, "paid_before_order"),
            (self.outcome_unknown, "outcome_unknown"),
            (self.amount_mismatch, "amount_mismatch"),
        ];
        all.into_iter().filter(|(set, _)| *set).map(|(_, name)| name).collect()
    }
}

/// One try at WeChat for an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Its number at WeChat.
    pub out_trade_no: OutTradeNo,
    /// Counted from 1.
    pub n: u32,
    /// How the payer pays.
    pub trade_type: TradeType,
    /// Who receives the money.
    pub mch_id: MchId,
    /// Through which app.
    pub appid: AppId,
    /// When it was recorded; WeChat wants five minutes between placing a number and closing it.
    pub created_at: Timestamp,
    /// Where it stands.
    pub state: AttemptState,
    /// What the payer's client needs, once WeChat issued it.
    pub prepay: Option<Prepay>,
    /// WeChat's number of its payment.
    pub transaction_id: Option<TransactionId>,
    /// What WeChat last said against it: why it refused it, or did not say whether it took it.
    pub error: Option<WechatError>,
    /// Present while no call of the number can have been executed, because each was put off, had no connection or was
    /// refused for the merchant's setup: how many were refused in a row while WeChat accepted
    /// the merchant's other calls.
    pub setup_refusals: Option<u32>,
}

/// The payment that counts for an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaidBy {
    /// WeChat's number of it.
    pub transaction_id: TransactionId,
    /// When WeChat took the money.
    pub paid_at: Timestamp,
}

/// When WeChat is asked about the order next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Queries {
    /// How many were asked since the payer could pay, or since the order was closed.
    pub done: u32,
    /// When the next one is due; none when there is nothing left to learn.
    pub next_at: Option<Timestamp>,
    /// When WeChat last answered one.
    pub answered_at: Option<Timestamp>,
}

/// What the business asked of an open order; carried out as soon as WeChat takes no money on the attempts there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// It is to be closed.
    Close,
    /// It is to be offered under a new number.
    NewAttempt {
        /// How the payer will pay.
        trade_type: TradeType,
        /// Until when.
        expires_at: Timestamp,
    },
}

/// What happens with money that arrives when it should not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Surplus {
    /// It is kept, and a late payment counts as the order's payment.
    Accept,
    /// It is sent back at once.
    Refund,
    /// Nothing happens until a person decides.
    #[default]
    Hold,
}

named!(Surplus { Accept = "accept", Refund = "refund", Hold = "hold" });

/// A merchant's rules for such money, and which money counts as such.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Money after the order was closed, refused or expired.
    pub paid_late: Surplus,
    /// Money beside an earlier payment of the same order.
    pub paid_twice: Surplus,
    /// A payment by so much older than its attempt is held: it covers the difference between our clock and WeChat's.
    pub paid_before_slack: Duration,
    /// A payment so long after the expiry is in time while the order has not ended here.
    pub late_grace: Duration,
    /// The payment goes back, or went back ([`PaymentClass::Returned`]), as one of no order: it is held or returned,
    /// and never credited.
    pub goes_back: Option<PaymentClass>,
    /// The payment was found by a call before which none of the number can have been executed: it is not the order's.
    pub never_placed: bool,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            paid_late: Surplus::Hold,
            paid_twice: Surplus::Hold,
            paid_before_slack: Duration::from_secs(600),
            late_grace: Duration::from_secs(60),
            goes_back: None,
            never_placed: false,
        }
    }
}

/// An order with its attempts: the unit of every change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Our row number; 0 before it has one.
    pub id: i64,
    /// Counts changes; a change names the version it was decided on.
    pub version: i64,
    /// Whose order.
    pub merchant: MerchantKey,
    /// The business's number of it.
    pub order_no: OrderNo,
    /// Through which app it is paid.
    pub app: AppKey,
    /// What is to be paid.
    pub amount: Fen,
    /// Where it stands.
    pub state: OrderState,
    /// What a person should know.
    pub flags: Flags,
    /// Why WeChat refused it.
    pub failure: Option<WechatError>,
    /// The payment that counts: the first one, unless that was late and one in time arrived.
    pub paid_by: Option<PaidBy>,
    /// Whether `order.paid` was emitted; it is emitted once.
    pub paid_reported: bool,
    /// What the business asked for and is not done yet; on a closed order, that it was closed because it was asked for.
    pub intent: Option<Intent>,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// Until when it may be paid.
    pub expires_at: Timestamp,
    /// When WeChat is asked next.
    pub queries: Queries,
    /// Its attempts, oldest first.
    pub attempts: Vec<Attempt>,
    /// Every payment that WeChat reported for it, oldest first.
    pub payments: Vec<OrderPayment>,
}

impl AttemptState {
    /// Whether WeChat may still take money for it, as far as is known here.
    pub const fn is_live(self) -> bool {
        match self {
            AttemptState::Created | AttemptState::Unknown | AttemptState::Payable => true,
            AttemptState::Paid | AttemptState::Closed | AttemptState::Failed => false,
        }
    }
}

impl OrderState {
    /// Whether the order still waits for its money.
    pub const fn is_open(self) -> bool {
        match self {
            OrderState::Requested | OrderState::Payable => true,
            OrderState::Paid | OrderState::Closed | OrderState::Failed => false,
        }
    }
}

impl Order {
    /// Whether its live attempts are to be closed at WeChat: it was asked for, the time is over, or the order has its
    /// money or holds some that does not count.
    pub fn wants_close(&self, now: Timestamp) -> bool {
        !self.state.is_open() || self.intent.is_some() || now >= self.expires_at || self.is_blocked()
    }

    /// Whether it is open and nothing more may be paid on it, because money was reported that does not fit it. Late and
    /// second payments may be held too, but leave their order paid: that is not this.
    pub fn is_blocked(&self) -> bool {
        self.state.is_open() && self.has_misfit()
    }

    /// Whether money was reported that does not fit it.
    pub fn has_misfit(&self) -> bool {
        self.flags.amount_mismatch || self.flags.paid_before_order
    }

    /// The payment with this number.
    pub fn payment(&self, transaction_id: &TransactionId) -> Option<&OrderPayment> {
        self.payments.iter().find(|p| p.transaction_id == *transaction_id)
    }

    /// Whether WeChat may still take money on any attempt.
    pub fn any_live(&self) -> bool {
        self.attempts.iter().any(|a| a.state.is_live())
    }

    /// The attempt that a payer is offered: the newest.
    pub fn current(&self) -> Option<&Attempt> {
        self.attempts.last()
    }

    /// What WeChat said against the order: why it failed, or what is known of a newest attempt that cannot be paid yet.
    pub fn said(&self) -> Option<&WechatError> {
        let open = self.current().filter(|a| self.state != OrderState::Paid && a.state != AttemptState::Failed);
        self.failure.as_ref().or_else(|| open?.error.as_ref())
    }

    /// The attempt with this number.
    pub fn attempt(&self, out_trade_no: &OutTradeNo) -> Option<&Attempt> {
        self.attempts.iter().find(|a| a.out_trade_no == *out_trade_no)
    }
}
