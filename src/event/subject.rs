//! Every subject of the bus, in one place.
//!
//! A merchant key holds no dot, wildcard or blank (see [`crate::ids`]), so nothing a caller sends can reach another
//! merchant's subjects.

use crate::ids::MerchantKey;

/// An order to be placed.
pub fn order_requested(merchant: &MerchantKey) -> String {
    format!("pay.in.{merchant}.order.requested")
}

/// An order whose prepay id must be fetched anew.
pub fn order_prepay_due(merchant: &MerchantKey) -> String {
    format!("pay.in.{merchant}.order.prepay_due")
}

/// An order that the business wants closed.
pub fn order_close_requested(merchant: &MerchantKey) -> String {
    format!("pay.in.{merchant}.order.close_requested")
}

/// An order that the business wants paid in another way, or until later.
pub fn order_attempt_requested(merchant: &MerchantKey) -> String {
    format!("pay.in.{merchant}.order.attempt_requested")
}

/// A notification that was received.
pub fn notify_received(merchant: &MerchantKey) -> String {
    format!("pay.in.{merchant}.notify.received")
}

/// A notification about a refund that was received.
pub fn notify_refund(merchant: &MerchantKey) -> String {
    format!("pay.in.{merchant}.notify.refund")
}

/// A refund to be called for.
pub fn refund_requested(merchant: &MerchantKey) -> String {
    format!("pay.in.{merchant}.refund.requested")
}

/// A refund to be called for again, or to be asked about.
pub fn refund_due(merchant: &MerchantKey) -> String {
    format!("pay.in.{merchant}.refund.due")
}

/// An order about which WeChat must be asked.
pub fn query_due(merchant: &MerchantKey) -> String {
    format!("pay.in.{merchant}.query.due")
}

/// An event for others: `entity.fact`, like `order.paid`.
pub fn news(merchant: &MerchantKey, entity_fact: &str) -> String {
    format!("pay.event.{merchant}.{entity_fact}")
}
