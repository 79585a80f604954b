//! One order as WeChat sees it, and how long things live. Expiry is a question of the moment, never an event.

use std::time::Duration;

use super::record::{Delivery, Outcome, Payment, Prepay, Refund, RefundNews, RefundStatus, Terms};
use crate::clock::Timestamp;
use crate::money::Fen;

/// WeChat's own durations, already scaled.
#[derive(Debug, Clone, Copy)]
pub(in crate::sandbox) struct Lifetimes {
    /// Of a `prepay_id` and a `code_url`: two hours.
    pub prepay: Duration,
    /// Of an `mweb_url`: five minutes.
    pub mweb_url: Duration,
    /// Of an order without `time_expire`: seven days.
    pub order: Duration,
    /// Between placing and closing, as WeChat recommends: five minutes.
    pub before_close: Duration,
    /// Between two refunds of one order, at least: a minute.
    pub between_refunds: Duration,
    /// From a refund's acceptance to its end: five minutes, as with a refund to the payer's change.
    pub refund: Duration,
    /// After a payment, while it can be refunded: a year.
    pub refundable: Duration,
    /// After a payment, while refunds can be asked for without its `transaction_id`: a year and a half.
    pub refunds_shown: Duration,
}

impl Lifetimes {
    /// WeChat's durations divided by `scale`.
    pub fn scaled(scale: u32) -> Lifetimes {
        let minutes = |n: u64| Duration::from_secs(n * 60) / scale.max(1);
        let days = |n: u64| minutes(n * 24 * 60);
        Lifetimes {
            prepay: minutes(120),
            mweb_url: minutes(5),
            order: days(7),
            before_close: minutes(5),
            between_refunds: minutes(1),
            refund: minutes(5),
            refundable: days(365),
            refunds_shown: days(547),
        }
    }
}

pub(in crate::sandbox) struct Order {
    pub terms: Terms,
    pub created_at: Timestamp,
    /// `time_expire`, or WeChat's own limit: it cannot be paid from then on.
    pub expires_at: Timestamp,
    pub prepays: Vec<Prepay>,
    pub closed_at: Option<Timestamp>,
    /// How often a payer left the cashier.
    pub cancels: u32,
    pub payment: Option<Payment>,
    pub deliveries: Vec<Delivery>,
    /// Oldest first, closed ones included.
    pub refunds: Vec<Refund>,
}

/// `trade_state` as far as these trade types have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox) enum TradeState {
    Success,
    /// Paid, and a refund was accepted, also of a part.
    Refund,
    NotPay,
    Closed,
}

impl TradeState {
    /// WeChat's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            TradeState::Success => "SUCCESS",
            TradeState::Refund => "REFUND",
            TradeState::NotPay => "NOTPAY",
            TradeState::Closed => "CLOSED",
        }
    }
}

impl Order {
    /// The state at a moment: expiry needs no event of its own.
    pub fn state(&self, now: Timestamp) -> TradeState {
        if self.payment.is_some() {
            if self.live_refunds().next().is_some() { TradeState::Refund } else { TradeState::Success }
        } else if self.closed_at.is_some() || now >= self.expires_at {
            TradeState::Closed
        } else {
            TradeState::NotPay
        }
    }

    /// The refunds that were not closed.
    pub fn live_refunds(&self) -> impl Iterator<Item = &Refund> {
        self.refunds.iter().filter(|r| r.status != RefundStatus::RefundClose)
    }

    /// Whether the merchant has taken note of the payment, or of this about a refund: no more repeats.
    pub fn acknowledged(&self, news: Option<&RefundNews>) -> bool {
        self.deliveries_of(news).any(|d| d.outcome == Outcome::Acknowledged)
    }

    /// The last attempt to tell the merchant that was made on the schedule.
    pub fn last_attempt(&self, news: Option<&RefundNews>) -> Option<&Delivery> {
        self.deliveries_of(news).filter(|d| d.attempt.is_some()).max_by_key(|d| d.attempt)
    }

    fn deliveries_of(&self, news: Option<&RefundNews>) -> impl Iterator<Item = &Delivery> {
        self.deliveries.iter().filter(move |d| d.refund.as_ref() == news)
    }
}

impl Refund {
    /// What goes back in money: the refund without the coupon's share.
    pub fn cash_refund_fee(&self) -> Fen {
        Fen::from_i64(self.refund_fee.as_i64() - self.coupon_refund_fee.as_i64())
    }

    /// What its notification tells.
    pub fn news(&self) -> RefundNews {
        RefundNews { out_refund_no: self.out_refund_no.clone(), refund_status: self.status }
    }
}
