//! What does not agree, both sides of it, and its mend.

use serde::{Deserialize, Serialize};

/// Which equality is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BookRule {
    /// A row of the ledger and the payment that it is of.
    Payment,
    /// The newest row of the ledger and the payment's class.
    Class,
    /// A row of the ledger and its order.
    Order,
    /// A payment or a paid order that is in no ledger.
    NotEntered,
    /// A credited order and its one event `order.paid`.
    PaidEvent,
    /// An event and the row of the ledger that it announces.
    Announced,
    /// A row of the refunds' ledger and its refund.
    Refund,
    /// What went back, in the totals of the payment or of the order.
    RefundTotal,
    /// A refund that succeeded and is in no ledger.
    RefundNotEntered,
    /// A refund that succeeded and its one event.
    RefundEvent,
    /// The outbox and the feed.
    Feed,
}

named!(BookRule {
    Payment = "payment",
    Class = "class",
    Order = "order",
    NotEntered = "not_entered",
    PaidEvent = "paid_event",
    Announced = "announced",
    Refund = "refund",
    RefundTotal = "refund_total",
    RefundNotEntered = "refund_not_entered",
    RefundEvent = "refund_event",
    Feed = "feed",
});

impl BookRule {
    /// What to do about it. The service makes none of these: a table was changed beside it, or restored in part.
    pub const fn mend(self) -> &'static str {
        match self {
            BookRule::Payment | BookRule::Class => {
                "the ledger cannot be changed: set the row of payments to what the ledger says, after comparing both \
                 with WeChat (`wxpayctl orders show --refresh`)"
            }
            BookRule::Order => {
                "compare the order with WeChat (`wxpayctl orders show --refresh`), then set its row to what the ledger \
                 says"
            }
            BookRule::NotEntered | BookRule::RefundNotEntered => {
                "a row of the ledger is missing: restore it from a backup, or reconcile the day with WeChat's bill"
            }
            BookRule::PaidEvent | BookRule::RefundEvent => {
                "its consumers may not have got it, or twice: restore the row of the outbox from a backup, or inform \
                 them"
            }
            BookRule::Announced => {
                "an event was emitted for money that is not in the ledger: compare both with WeChat, restore the row \
                 of the ledger from a backup"
            }
            BookRule::Refund | BookRule::RefundTotal => {
                "compare the refund with WeChat, then set the row to what the refunds' ledger says"
            }
            BookRule::Feed => {
                "no relay has given it a position (`wxpayctl jobs`), or rows of the outbox were removed: restore them \
                 from a backup"
            }
        }
    }
}

/// One disagreement. Names numbers and amounts alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookFinding {
    pub rule: BookRule,
    pub order_no: Option<String>,
    /// The payment's, refund's or event's number.
    pub number: String,
    /// What the ledger or the outbox says.
    pub here: String,
    /// What the other side says.
    pub there: String,
}

impl BookFinding {
    pub fn new(
        rule: BookRule,
        (order_no, number): (Option<&str>, &str),
        here: impl Into<String>,
        there: impl Into<String>,
    ) -> BookFinding {
        let (here, there) = (here.into(), there.into());
        BookFinding { rule, order_no: order_no.map(str::to_owned), number: number.to_owned(), here, there }
    }

    /// Both sides in one sentence.
    pub fn text(&self) -> String {
        let about = match &self.order_no {
            Some(order_no) => format!("order {order_no}, {}", self.number),
            None => self.number.clone(),
        };
        format!("{about}: {}; {}", self.here, self.there)
    }
}
