//! A fact on its way to its order, and the result of applying it.

use crate::clock::Timestamp;
use crate::event::fact::Fact;
use crate::ids::{MerchantKey, OutTradeNo};
use crate::order::Refusal;
use crate::store::{AttemptParams, EvidenceSource, NotificationRecord, StoredOrder};
use crate::trade::SignType;

/// A fact on its way to its order.
#[derive(Debug, Clone)]
pub struct Item {
    /// Whose.
    pub merchant: MerchantKey,
    /// About which attempt.
    pub out_trade_no: OutTradeNo,
    /// What was said.
    pub fact: Fact,
    /// By whom.
    pub source: EvidenceSource,
    /// When it reached us.
    pub received_at: Timestamp,
    /// The notification it came in, to be recorded with the verdict.
    pub notification: Option<NotificationRecord>,
    /// How the notification was signed.
    pub sign_type: Option<SignType>,
    /// What WeChat will be sent for the attempt that is asked for.
    pub wanted: Option<AttemptParams>,
}

impl Item {
    /// A fact that came by no notification.
    pub fn new(
        merchant: MerchantKey,
        out_trade_no: OutTradeNo,
        fact: Fact,
        source: EvidenceSource,
        at: Timestamp,
    ) -> Item {
        Item {
            merchant,
            out_trade_no,
            fact,
            source,
            received_at: at,
            notification: None,
            sign_type: None,
            wanted: None,
        }
    }
}

/// What became of a fact, after it is durable.
#[derive(Debug, Clone)]
pub enum Applied {
    /// The order changed; this is how it is now, with the parameters of its attempts.
    Changed(Box<StoredOrder>),
    /// The order said so already.
    Already,
    /// Nothing changed; the order is to be asked about again.
    AskAgain {
        /// The order as it is.
        order: Box<StoredOrder>,
        /// When.
        at: Timestamp,
        /// Whether the unified order must be repeated.
        place_again: bool,
    },
    /// The fact contradicts the order, or its transaction is another order's.
    Refused {
        /// How.
        refusal: Refusal,
        /// Whether the order had no such mark before: the first time somebody is told, later ones add nothing.
        first: bool,
    },
    /// No order has this attempt.
    UnknownOrder,
}
