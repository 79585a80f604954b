//! One line of the log when money moved or an order ended.
//!
//! It names the order and the merchant, and nothing of the payer.

/// Events with a line, and its words.
const LINES: &[(&str, &str)] = &[
    ("wxpay.order.paid.v1", "An order is paid"),
    ("wxpay.order.paid_late.v1", "An order was paid late"),
    ("wxpay.order.paid_twice.v1", "An order was paid twice"),
    ("wxpay.order.closed.v1", "An order is closed"),
    ("wxpay.order.failed.v1", "An order failed"),
    ("wxpay.refund.succeeded.v1", "A refund succeeded"),
    ("wxpay.refund.failed.v1", "A refund failed"),
    ("wxpay.refund.abnormal.v1", "A refund did not reach its payer"),
];

/// A line that is written once its event is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    words: &'static str,
    merchant: String,
    order_no: Option<String>,
}

impl Announcement {
    /// Of an event of this type, where it has a line.
    pub fn of(event_type: &str, merchant: &str, order_no: Option<&str>) -> Option<Announcement> {
        let (_, words) = LINES.iter().find(|(known, _)| *known == event_type)?;
        Some(Announcement { words, merchant: merchant.to_owned(), order_no: order_no.map(str::to_owned) })
    }

    /// Writes it.
    pub fn log(&self) {
        let Announcement { words, merchant, order_no } = self;
        tracing::info!(order_no = order_no.as_deref().unwrap_or("-"), merchant, "{words}");
    }
}
