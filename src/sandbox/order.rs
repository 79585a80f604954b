//! One order as WeChat sees it, and how long things live. Expiry is a question of the moment, never an event.

use std::time::Duration;

use super::record::{Delivery, Outcome, Payment, Prepay, Terms};
use crate::clock::Timestamp;

/// WeChat's own durations, already scaled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lifetimes {
    /// Of a `prepay_id` and a `code_url`: two hours.
    pub prepay: Duration,
    /// Of an `mweb_url`: five minutes.
    pub mweb_url: Duration,
    /// Of an order without `time_expire`: seven days.
    pub order: Duration,
    /// Between placing and closing, as WeChat recommends: five minutes.
    pub before_close: Duration,
}

impl Lifetimes {
    /// WeChat's durations divided by `scale`.
    pub fn scaled(scale: u32) -> Lifetimes {
        let minutes = |n: u64| Duration::from_secs(n * 60) / scale.max(1);
        Lifetimes { prepay: minutes(120), mweb_url: minutes(5), order: minutes(7 * 24 * 60), before_close: minutes(5) }
    }
}

/// One order.
pub(super) struct Order {
    pub terms: Terms,
    pub created_at: Timestamp,
    /// `time_expire`, or WeChat's own limit: nobody can pay from then on.
    pub expires_at: Timestamp,
    pub prepays: Vec<Prepay>,
    pub closed_at: Option<Timestamp>,
    /// How often a payer left the cashier.
    pub cancels: u32,
    pub payment: Option<Payment>,
    pub deliveries: Vec<Delivery>,
}

/// `trade_state` as far as these trade types have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TradeState {
    Success,
    NotPay,
    Closed,
}

impl TradeState {
    /// WeChat's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            TradeState::Success => "SUCCESS",
            TradeState::NotPay => "NOTPAY",
            TradeState::Closed => "CLOSED",
        }
    }
}

impl Order {
    /// The state at a moment: expiry needs no event of its own.
    pub fn state(&self, now: Timestamp) -> TradeState {
        if self.payment.is_some() {
            TradeState::Success
        } else if self.closed_at.is_some() || now >= self.expires_at {
            TradeState::Closed
        } else {
            TradeState::NotPay
        }
    }

    /// Whether the merchant has taken note: no more repeats.
    pub fn acknowledged(&self) -> bool {
        self.deliveries.iter().any(|d| d.outcome == Outcome::Acknowledged)
    }

    /// The last attempt made on the schedule; 0 when none was.
    pub fn attempts(&self) -> u32 {
        self.deliveries.iter().filter_map(|d| d.attempt).max().unwrap_or(0)
    }
}
