//! The one function that says what a fact does to an order.
//!
//! Pure and exhaustive: no clock, no database, no default arm. The same fact twice gives [`Decision::AlreadyApplied`] the
//! second time, so a handler may run as often as it likes. States never go back, and money that WeChat took is never
//! turned away: it makes any order paid, with a flag that says how.

use super::schedule;
use super::state::{Attempt, AttemptState, CNY, Order, OrderState, PaidBy};
use crate::clock::Timestamp;
use crate::event::fact::{Fact, Payment, Prepay, WechatError};
use crate::ids::{OutTradeNo, TransactionId};
use crate::money::Fen;

/// No more numbers are tried for one order when WeChat keeps refusing them.
pub const MAX_ATTEMPTS: u32 = 5;

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
        place_again: bool,
    },
    /// The fact cannot belong to this order as we know it. Nothing changes; a person looks.
    Refused(Refusal),
}

/// A change of an order, to be committed as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The order afterwards; its version is one higher.
    pub next: Order,
    /// Money to enter in the ledger.
    pub ledger: Option<LedgerEntry>,
    /// What others are told.
    pub news: Option<News>,
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
pub enum News {
    /// A payer can pay this attempt.
    Payable(OutTradeNo),
    /// The order was paid in time.
    Paid(Payment),
    /// The order was paid after it was closed, refused or expired.
    PaidLate(Payment),
    /// A second payment arrived.
    PaidTwice(Payment),
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
            Refusal::ClosedAfterPaid => f.write_str("WeChat says closed of an attempt it had said paid"),
            Refusal::TransactionElsewhere => f.write_str("the transaction is in the ledger of another order"),
        }
    }
}

/// Says what `fact` about the attempt `out_trade_no`, learnt at `now`, does to `order`.
pub fn decide(order: &Order, out_trade_no: &OutTradeNo, fact: &Fact, now: Timestamp) -> Decision {
    let Some(i) = order.attempts.iter().position(|a| a.out_trade_no == *out_trade_no) else {
        return Decision::Refused(Refusal::UnknownAttempt);
    };
    match fact {
        Fact::PrepayIssued(prepay) => prepay_issued(order, i, prepay, now),
        Fact::PlacementRefused(error) => placement_refused(order, i, error, now),
        Fact::PlacementUnknown { .. } => placement_unknown(order, i, now),
        Fact::Closed => closed(order, i, now),
        Fact::Paid(payment) => paid(order, i, payment),
        Fact::Unpaid { .. } => unpaid(order, i, now),
        Fact::NotFound => not_found(order, i, now),
    }
}

/// What a verified message that contradicts the order leaves on it: a flag for people and a question to WeChat at once.
/// Nothing when the flag is there already.
pub fn flag_mismatch(order: &Order, now: Timestamp) -> Option<Change> {
    if order.flags.amount_mismatch {
        return None;
    }
    let mut next = bump(order);
    next.flags.amount_mismatch = true;
    if is_open(next.state) {
        next.queries.next_at = Some(now);
    }
    Some(Change { next, ledger: None, news: None })
}

fn prepay_issued(order: &Order, i: usize, prepay: &Prepay, now: Timestamp) -> Decision {
    let attempt = &order.attempts[i];
    match attempt.state {
        AttemptState::Payable if attempt.prepay.as_ref() == Some(prepay) => Decision::AlreadyApplied,
        AttemptState::Created | AttemptState::Unknown | AttemptState::Payable => {
            let mut next = bump(order);
            next.attempts[i].state = AttemptState::Payable;
            next.attempts[i].prepay = Some(prepay.clone());
            clear_unknown(&mut next);
            let news = match next.state {
                OrderState::Requested => {
                    next.state = OrderState::Payable;
                    Some(News::Payable(attempt.out_trade_no.clone()))
                }
                OrderState::Payable | OrderState::Paid | OrderState::Closed | OrderState::Failed => None,
            };
            if next.state == OrderState::Payable {
                next.queries.done = 0;
                next.queries.next_at = Some(schedule::next_query(&next, 0, now));
            }
            apply(next, None, news)
        }
        // An answer that arrives after the attempt was decided otherwise offers nothing to a payer.
        AttemptState::Paid | AttemptState::Closed | AttemptState::Failed => Decision::AlreadyApplied,
    }
}

fn placement_refused(order: &Order, i: usize, error: &WechatError, now: Timestamp) -> Decision {
    match order.attempts[i].state {
        AttemptState::Created => {
            let mut next = bump(order);
            next.attempts[i].state = AttemptState::Failed;
            next.attempts[i].error = Some(error.clone());
            if next.state == OrderState::Requested && !any_live(&next) {
                return fail(next, error.clone());
            }
            apply(next, None, None)
        }
        // An earlier call may have been executed: a refusal of the repeat does not say that it was not.
        AttemptState::Unknown | AttemptState::Payable => ask_again(order, i, now, false),
        AttemptState::Paid | AttemptState::Closed | AttemptState::Failed => Decision::AlreadyApplied,
    }
}

fn placement_unknown(order: &Order, i: usize, now: Timestamp) -> Decision {
    match order.attempts[i].state {
        AttemptState::Created => {
            let mut next = bump(order);
            next.attempts[i].state = AttemptState::Unknown;
            next.flags.outcome_unknown = true;
            if is_open(next.state) {
                next.queries.next_at = Some(now.after(schedule::UNKNOWN));
            }
            apply(next, None, None)
        }
        AttemptState::Unknown | AttemptState::Payable => ask_again(order, i, now, false),
        AttemptState::Paid | AttemptState::Closed | AttemptState::Failed => Decision::AlreadyApplied,
    }
}

fn closed(order: &Order, i: usize, now: Timestamp) -> Decision {
    let attempt = &order.attempts[i];
    match attempt.state {
        AttemptState::Created | AttemptState::Unknown | AttemptState::Payable => {
            let was_offered = attempt.state == AttemptState::Payable;
            let mut next = bump(order);
            next.attempts[i].state = AttemptState::Closed;
            clear_unknown(&mut next);
            if !is_open(next.state) || any_live(&next) {
                return apply(next, None, None);
            }
            if was_offered || now >= next.expires_at {
                next.state = OrderState::Closed;
                next.queries.next_at = None;
                return apply(next, None, Some(News::Closed));
            }
            // The number was used up before we could offer it: the order goes on under another one.
            let n = next.attempts.len() as u32 + 1;
            if n > MAX_ATTEMPTS {
                let message = format!("WeChat closed {MAX_ATTEMPTS} numbers of this order");
                return fail(next, WechatError { code: "ORDERCLOSED".into(), message });
            }
            next.attempts.push(Attempt {
                out_trade_no: OutTradeNo::for_attempt(&next.order_no, n),
                n,
                state: AttemptState::Created,
                prepay: None,
                transaction_id: None,
                error: None,
                ..attempt.clone()
            });
            next.queries.next_at = Some(now.after(schedule::UNKNOWN));
            apply(next, None, None)
        }
        AttemptState::Closed | AttemptState::Failed => Decision::AlreadyApplied,
        AttemptState::Paid => Decision::Refused(Refusal::ClosedAfterPaid),
    }
}

fn paid(order: &Order, i: usize, payment: &Payment) -> Decision {
    let attempt = &order.attempts[i];
    if payment.mch_id != attempt.mch_id || payment.appid != attempt.appid {
        return Decision::Refused(Refusal::RecipientDiffers);
    }
    if payment.fee_type != CNY {
        return Decision::Refused(Refusal::CurrencyDiffers);
    }
    if payment.total_fee != order.amount {
        return Decision::Refused(Refusal::AmountDiffers { ours: order.amount, theirs: payment.total_fee });
    }
    if order.transactions.contains(&payment.transaction_id) {
        return Decision::AlreadyApplied;
    }
    let mut next = bump(order);
    next.transactions.push(payment.transaction_id.clone());
    if next.attempts[i].state != AttemptState::Paid {
        next.attempts[i].state = AttemptState::Paid;
        next.attempts[i].transaction_id = Some(payment.transaction_id.clone());
        next.attempts[i].error = None;
    }
    clear_unknown(&mut next);
    next.queries.next_at = None;
    let news = match order.state {
        OrderState::Paid => {
            next.flags.paid_twice = true;
            News::PaidTwice(payment.clone())
        }
        OrderState::Requested | OrderState::Payable if payment.time_end <= order.expires_at => {
            News::Paid(payment.clone())
        }
        OrderState::Requested | OrderState::Payable | OrderState::Closed | OrderState::Failed => {
            next.flags.paid_late = true;
            News::PaidLate(payment.clone())
        }
    };
    if order.state != OrderState::Paid {
        next.state = OrderState::Paid;
        next.failure = None;
        next.paid_by = Some(PaidBy { transaction_id: payment.transaction_id.clone(), paid_at: payment.time_end });
    }
    let entry = LedgerEntry {
        out_trade_no: payment.out_trade_no.clone(),
        transaction_id: payment.transaction_id.clone(),
        amount: payment.total_fee,
        occurred_at: payment.time_end,
    };
    apply(next, Some(entry), Some(news))
}

fn unpaid(order: &Order, i: usize, now: Timestamp) -> Decision {
    match order.attempts[i].state {
        AttemptState::Created | AttemptState::Unknown => ask_again(order, i, now, now < order.expires_at),
        AttemptState::Payable => ask_again(order, i, now, false),
        // A query that raced with a payment or a close is simply older than what we know.
        AttemptState::Paid | AttemptState::Closed | AttemptState::Failed => Decision::AlreadyApplied,
    }
}

fn not_found(order: &Order, i: usize, now: Timestamp) -> Decision {
    let never_offered = matches!(order.attempts[i].state, AttemptState::Created | AttemptState::Unknown);
    // A call that is still on its way may yet create the order, but not after the expiry that it carries.
    if never_offered && schedule::is_past_expiry(order, now) {
        return closed(order, i, now);
    }
    unpaid(order, i, now)
}

fn ask_again(order: &Order, i: usize, now: Timestamp, place_again: bool) -> Decision {
    if !is_open(order.state) {
        return Decision::AlreadyApplied;
    }
    let done = order.queries.done + 1;
    let at = match order.attempts[i].state {
        AttemptState::Created | AttemptState::Unknown => schedule::next_unknown(order, done, now),
        AttemptState::Payable | AttemptState::Paid | AttemptState::Closed | AttemptState::Failed => {
            schedule::next_query(order, done, now)
        }
    };
    Decision::AskAgain { at, place_again }
}

fn fail(mut next: Order, error: WechatError) -> Decision {
    next.state = OrderState::Failed;
    next.failure = Some(error.clone());
    next.queries.next_at = None;
    apply(next, None, Some(News::Failed(error)))
}

fn apply(next: Order, ledger: Option<LedgerEntry>, news: Option<News>) -> Decision {
    Decision::Apply(Box::new(Change { next, ledger, news }))
}

fn bump(order: &Order) -> Order {
    Order { version: order.version + 1, ..order.clone() }
}

fn is_open(state: OrderState) -> bool {
    match state {
        OrderState::Requested | OrderState::Payable => true,
        OrderState::Paid | OrderState::Closed | OrderState::Failed => false,
    }
}

fn any_live(order: &Order) -> bool {
    order.attempts.iter().any(|a| match a.state {
        AttemptState::Created | AttemptState::Unknown | AttemptState::Payable => true,
        AttemptState::Paid | AttemptState::Closed | AttemptState::Failed => false,
    })
}

fn clear_unknown(order: &mut Order) {
    order.flags.outcome_unknown = order.attempts.iter().any(|a| a.state == AttemptState::Unknown);
}
