//! Money that WeChat holds for the merchant, by class.
//!
//! Every payment that a verified source reports gets a row of its own and exactly one class; a class changes by
//! compare-and-set and every change appends to the ledger. What is not credited is not lost: it is listed, and accepted
//! or given back by request.

use crate::ids::{OutTradeNo, TransactionId};
use crate::money::Fen;

/// What a payment is to us. `unmatched → held | credited | returned`, `held → credited | returned`; nothing else
/// changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PaymentClass {
    /// It counts: `order.paid` was emitted for it, or a policy or an operator accepted it beside such a payment.
    Credited,
    /// It is an order's and does not count: late, a second one, older than the order, or of another amount, currency or
    /// recipient.
    Held,
    /// No order here has its number.
    Unmatched,
    /// It did not count, and all of it went back to the payer.
    Returned,
}

/// Why a payment is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HeldReason {
    /// Paid later than `orders.late_grace_s` after the order's expiry, or after it ended here.
    Late,
    /// Beside another payment of the order.
    Twice,
    /// Paid before the attempt was created, or given back before its order appeared: the number was used before.
    BeforeOrder,
    /// Of another amount, currency or recipient than the order's.
    Mismatched,
}

named!(PaymentClass { Credited = "credited", Held = "held", Unmatched = "unmatched", Returned = "returned" });
named!(HeldReason { Late = "late", Twice = "twice", BeforeOrder = "before_order", Mismatched = "mismatched" });

/// A payment of an order, as far as a decision needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderPayment {
    /// WeChat's number of it.
    pub transaction_id: TransactionId,
    /// The attempt that was paid.
    pub out_trade_no: OutTradeNo,
    /// How much.
    pub amount: Fen,
    /// WeChat's `fee_type`.
    pub currency: String,
    /// What it is to us.
    pub class: PaymentClass,
    /// Why it is held, or was before it was accepted or returned.
    pub reason: Option<HeldReason>,
    /// What its refunds that have not failed come to: money on its way back cannot be accepted.
    pub reserved: Fen,
}
