//! The one function that says what a fact does to an order.
//!
//! Pure and exhaustive: no clock, no database, no default arm. The same fact twice gives [`Decision::AlreadyApplied`]
//! the second time, so a handler may run as often as it likes. States never go back, and money that WeChat took is
//! never rejected: it makes any order paid, with a flag that says how. What is done with money that came too late or
//! twice is the merchant's policy, applied in the same change that enters it, so once.

use super::decision::{
    AutoRefund, Change, Decision, LedgerEntry, MAX_ATTEMPTS, MAX_REQUESTED_ATTEMPTS, OrderEvent, Received, Refusal,
};
use super::schedule;
use super::state::{Attempt, AttemptState, CNY, Intent, Order, OrderState, PaidBy, Policy, Surplus};
use super::steps::{apply, ask_again, bump, placement_unknown};
use crate::clock::Timestamp;
use crate::event::fact::{Fact, Payment, Prepay, WechatError};
use crate::ids::OutTradeNo;
use crate::trade::TradeType;

/// Says what `fact` about the attempt `out_trade_no`, learnt at `now`, does to `order` of a merchant with `policy`.
pub fn decide(order: &Order, out_trade_no: &OutTradeNo, fact: &Fact, now: Timestamp, policy: Policy) -> Decision {
    let Some(i) = order.attempts.iter().position(|a| a.out_trade_no == *out_trade_no) else {
        return Decision::Refused(Refusal::UnknownAttempt);
    };
    match fact {
        Fact::PrepayIssued(prepay) => prepay_issued(order, i, prepay, now),
        Fact::PlacementRefused(error) => placement_refused(order, i, error, now),
        Fact::PlacementUnknown { said, .. } => placement_unknown(order, i, said.as_ref(), now),
        Fact::Closed => closed(order, i, now),
        Fact::Paid(payment) => paid(order, i, payment, now, policy),
        Fact::Refunded(payment) => refunded(order, i, payment, now, policy),
        Fact::Unpaid { .. } => unpaid(order, i, now),
        Fact::NotFound => not_found(order, i, now),
        Fact::CloseRequested => wanted(order, i, Intent::Close, now),
        Fact::AttemptRequested { trade_type, expires_at } => {
            wanted(order, i, Intent::NewAttempt { trade_type: *trade_type, expires_at: *expires_at }, now)
        }
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
    next.queries.next_at = Some(now);
    Some(Change { next, ledger: None, news: Vec::new(), refund: None })
}

/// Records the requested intent and schedules a query to WeChat at once. `i` is the newest attempt at the time of the
/// request: if it is no longer the newest, its replacement has already been opened.
fn wanted(order: &Order, i: usize, intent: Intent, now: Timestamp) -> Decision {
    let done_with = match intent {
        Intent::Close => false,
        Intent::NewAttempt { .. } => {
            i + 1 < order.attempts.len() || order.attempts.len() >= MAX_REQUESTED_ATTEMPTS as usize
        }
    };
    // A close is irrevocable: a caller has already been informed that it is under way or done.
    if order.intent == Some(intent) || order.intent == Some(Intent::Close) || done_with {
        return Decision::AlreadyApplied;
    }
    if !order.state.is_open() {
        return reopened(order, intent, now);
    }
    let mut next = bump(order);
    next.intent = Some(intent);
    next.queries.done = 0;
    next.queries.next_at = Some(now);
    apply(next, None)
}

/// An order that ended because its time was over goes on under a new number, when the business gives it more time.
/// Nothing else that has ended begins again.
fn reopened(order: &Order, intent: Intent, now: Timestamp) -> Decision {
    let expired = order.state == OrderState::Closed && now >= order.expires_at && !order.any_live();
    match (intent, order.current()) {
        (Intent::NewAttempt { trade_type, expires_at }, Some(like)) if expired && has_time(expires_at, now) => {
            let mut next = bump(order);
            next.state = OrderState::Requested;
            next.expires_at = expires_at;
            open_attempt(next, like, trade_type, now)
        }
        _ => Decision::AlreadyApplied,
    }
}

/// WeChat takes no order that expires within a minute.
fn has_time(expires_at: Timestamp, now: Timestamp) -> bool {
    now.after(schedule::LEAST_TIME) < expires_at
}

fn prepay_issued(order: &Order, i: usize, prepay: &Prepay, now: Timestamp) -> Decision {
    let attempt = &order.attempts[i];
    match attempt.state {
        AttemptState::Payable if attempt.prepay.as_ref() == Some(prepay) => Decision::AlreadyApplied,
        AttemptState::Created | AttemptState::Unknown | AttemptState::Payable => {
            let first = attempt.prepay.is_none();
            let mut next = bump(order);
            next.attempts[i].state = AttemptState::Payable;
            next.attempts[i].prepay = Some(prepay.clone());
            next.attempts[i].error = None;
            clear_unknown(&mut next);
            if !next.state.is_open() {
                // It can be paid although the order has ended: it must be closed at WeChat.
                next.queries.next_at = Some(now);
                return apply(next, None);
            }
            next.state = OrderState::Payable;
            next.queries.done = 0;
            next.queries.next_at = Some(match next.intent {
                Some(_) => now,
                None => schedule::next_query(&next, 0, now),
            });
            apply(next, first.then(|| OrderEvent::Payable(attempt.out_trade_no.clone())))
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
            if !next.state.is_open() || next.any_live() {
                return apply(next, None);
            }
            // No attempt can be paid any more, so every other intent is fulfilled.
            match next.intent {
                Some(Intent::Close) => close(next, now),
                Some(Intent::NewAttempt { trade_type, expires_at }) if has_time(expires_at, now) => {
                    switch(next, &order.attempts[i], trade_type, expires_at, now)
                }
                Some(Intent::NewAttempt { .. }) | None => fail(next, error.clone(), now),
            }
        }
        // An earlier call may have been executed: a refusal of the repeat does not say that it was not.
        AttemptState::Unknown | AttemptState::Payable => ask_again(order, now, false),
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
            if !next.state.is_open() || next.any_live() {
                return apply(next, None);
            }
            match next.intent {
                Some(Intent::NewAttempt { trade_type, expires_at }) if has_time(expires_at, now) => {
                    switch(next, attempt, trade_type, expires_at, now)
                }
                None if !was_offered && now < next.expires_at => {
                    // The number was used up before we could offer it: the order goes on under another one.
                    let used_up = next.attempts.iter().filter(|a| a.prepay.is_none()).count();
                    if used_up >= MAX_ATTEMPTS as usize {
                        let message = format!("WeChat closed {MAX_ATTEMPTS} numbers of this order");
                        return fail(next, WechatError { code: "ORDERCLOSED".into(), message }, now);
                    }
                    open_attempt(next, attempt, attempt.trade_type, now)
                }
                Some(Intent::Close | Intent::NewAttempt { .. }) | None => close(next, now),
            }
        }
        AttemptState::Closed | AttemptState::Failed => Decision::AlreadyApplied,
        AttemptState::Paid => Decision::Refused(Refusal::ClosedAfterPaid),
    }
}

/// The attempt that the business asked for.
fn switch(mut next: Order, like: &Attempt, trade_type: TradeType, expires_at: Timestamp, now: Timestamp) -> Decision {
    next.intent = None;
    next.expires_at = expires_at;
    open_attempt(next, like, trade_type, now)
}

/// The next number of an order whose older ones take no money any more.
fn open_attempt(mut next: Order, like: &Attempt, trade_type: TradeType, now: Timestamp) -> Decision {
    let n = next.attempts.len() as u32 + 1;
    next.attempts.push(Attempt {
        out_trade_no: OutTradeNo::for_attempt(&next.order_no, n),
        n,
        trade_type,
        created_at: now,
        state: AttemptState::Created,
        prepay: None,
        transaction_id: None,
        error: None,
        ..like.clone()
    });
    next.queries.done = 0;
    next.queries.next_at = Some(now.after(schedule::UNKNOWN));
    apply(next, None)
}

fn paid(order: &Order, i: usize, payment: &Payment, now: Timestamp, policy: Policy) -> Decision {
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
    next.intent = None;
    clear_unknown(&mut next);
    next.queries.done = 0;
    let (news, refund) = received(order, &mut next, payment, policy);
    // What else of it can be paid must be closed, or it will be paid twice.
    next.queries.next_at = if next.any_live() { Some(now) } else { schedule::next_poll(&next, 0, now) };
    let ledger = Some(LedgerEntry {
        out_trade_no: payment.out_trade_no.clone(),
        transaction_id: payment.transaction_id.clone(),
        amount: payment.total_fee,
        occurred_at: payment.time_end,
    });
    Decision::Apply(Box::new(Change { next, ledger, news, refund }))
}

/// Applies the payment and schedules a query in the same change, so that a crash cannot lose the refunds still to be
/// discovered.
fn refunded(order: &Order, i: usize, payment: &Payment, now: Timestamp, policy: Policy) -> Decision {
    // What went back already is not sent back once more.
    let keep = |surplus| if surplus == Surplus::Refund { Surplus::Hold } else { surplus };
    let policy = Policy { paid_late: keep(policy.paid_late), paid_twice: keep(policy.paid_twice) };
    match paid(order, i, payment, now, policy) {
        Decision::Apply(mut change) => {
            change.next.queries.next_at = Some(now);
            Decision::Apply(change)
        }
        other @ (Decision::AlreadyApplied | Decision::AskAgain { .. } | Decision::Refused(_)) => other,
    }
}

/// What a payment is to its order: the payment, a late one, or one too many.
fn received(order: &Order, next: &mut Order, payment: &Payment, policy: Policy) -> Received {
    let in_time = payment.time_end <= order.expires_at;
    let counts = |next: &mut Order| {
        next.state = OrderState::Paid;
        next.failure = None;
        next.paid_by = Some(PaidBy { transaction_id: payment.transaction_id.clone(), paid_at: payment.time_end });
    };
    match order.state {
        OrderState::Requested | OrderState::Payable if in_time => {
            counts(next);
            next.paid_reported = true;
            (vec![OrderEvent::Paid(payment.clone())], None)
        }
        OrderState::Requested | OrderState::Payable | OrderState::Closed | OrderState::Failed => {
            counts(next);
            next.flags.paid_late = true;
            let mut news = vec![OrderEvent::PaidLate(payment.clone(), policy.paid_late)];
            if policy.paid_late == Surplus::Accept {
                next.paid_reported = true;
                news.push(OrderEvent::Paid(payment.clone()));
            }
            (news, sent_back(payment, policy.paid_late, "paid_late"))
        }
        // The late payment was recorded first and `order.paid` was not emitted for it; this payment was in time.
        OrderState::Paid if in_time && !order.paid_reported => {
            let earlier = counted(order, payment);
            counts(next);
            next.flags.paid_late = false;
            next.flags.paid_twice = true;
            next.paid_reported = true;
            let mut news = vec![OrderEvent::Paid(payment.clone())];
            news.extend(earlier.clone().map(|earlier| OrderEvent::PaidTwice(earlier, policy.paid_twice)));
            // One that was sent back as late has the same number for its refund, and is not sent back once more.
            (news, earlier.and_then(|earlier| sent_back(&earlier, policy.paid_twice, "paid_twice")))
        }
        OrderState::Paid => {
            next.flags.paid_twice = true;
            let news = vec![OrderEvent::PaidTwice(payment.clone(), policy.paid_twice)];
            (news, sent_back(payment, policy.paid_twice, "paid_twice"))
        }
    }
}

/// The payment that counted so far, in the words of the one that takes its place.
fn counted(order: &Order, like: &Payment) -> Option<Payment> {
    let paid_by = order.paid_by.as_ref()?;
    let attempt = order.attempts.iter().find(|a| a.transaction_id.as_ref() == Some(&paid_by.transaction_id))?;
    Some(Payment {
        mch_id: attempt.mch_id.clone(),
        appid: attempt.appid.clone(),
        out_trade_no: attempt.out_trade_no.clone(),
        transaction_id: paid_by.transaction_id.clone(),
        time_end: paid_by.paid_at,
        openid: None,
        bank_type: None,
        cash_fee: None,
        settlement_total_fee: None,
        ..like.clone()
    })
}

fn sent_back(payment: &Payment, surplus: Surplus, reason: &'static str) -> Option<AutoRefund> {
    (surplus == Surplus::Refund).then(|| AutoRefund {
        out_trade_no: payment.out_trade_no.clone(),
        transaction_id: payment.transaction_id.clone(),
        amount: payment.total_fee,
        reason,
    })
}

fn unpaid(order: &Order, i: usize, now: Timestamp) -> Decision {
    match order.attempts[i].state {
        AttemptState::Created | AttemptState::Unknown => ask_again(order, now, !order.wants_close(now)),
        AttemptState::Payable => ask_again(order, now, false),
        // A query that raced with a payment or a close is simply older than what we know.
        AttemptState::Paid | AttemptState::Closed | AttemptState::Failed => Decision::AlreadyApplied,
    }
}

fn not_found(order: &Order, i: usize, now: Timestamp) -> Decision {
    let attempt = &order.attempts[i];
    let never_offered = matches!(attempt.state, AttemptState::Created | AttemptState::Unknown);
    // A call still in flight may yet create the order, but not after the expiry that it carries. An order to be closed
    // is no longer submitted: the prepay id of a late call would reach no payer.
    let too_late = schedule::is_past_expiry(order, now)
        || order.intent.is_some() && now >= attempt.created_at.after(schedule::CLOSABLE_AFTER);
    if never_offered && too_late {
        return closed(order, i, now);
    }
    unpaid(order, i, now)
}

/// Nothing of it can be paid. An earlier number that a payer was offered is asked about as after a close.
fn fail(mut next: Order, error: WechatError, now: Timestamp) -> Decision {
    next.state = OrderState::Failed;
    next.intent = None;
    next.failure = Some(error.clone());
    next.queries.done = 0;
    next.queries.next_at = schedule::next_poll(&next, 0, now);
    apply(next, Some(OrderEvent::Failed(error)))
}

/// No attempt takes money any more. WeChat is asked twice more all the same: a payment may have been on its way.
fn close(mut next: Order, now: Timestamp) -> Decision {
    next.state = OrderState::Closed;
    // An order closed on request stays closed; the stored intent records that.
    next.intent = next.intent.filter(|intent| *intent == Intent::Close);
    next.queries.done = 0;
    next.queries.next_at = schedule::next_poll(&next, 0, now);
    apply(next, Some(OrderEvent::Closed))
}

fn clear_unknown(order: &mut Order) {
    order.flags.outcome_unknown = order.attempts.iter().any(|a| a.state == AttemptState::Unknown);
}
