//! The one function that says what a fact does to an order.
//!
//! Pure and exhaustive: no clock, no database, no default arm. The same fact twice gives [`Decision::AlreadyApplied`]
//! the second time, so a handler may run as often as it likes. States never go back. What money does is in `money`.

use super::decision::{
    Change, Decision, MAX_ATTEMPTS, MAX_REQUESTED_ATTEMPTS, MAX_SETUP_REFUSALS, OrderEvent, Refusal,
};
use super::money::{accepted, paid, refunded};
use super::schedule;
use super::state::{Attempt, AttemptState, Intent, Order, OrderState, Policy};
use super::steps::{
    already, apply, ask_again, bump, clear_unknown, close, fail, held_and_over, hold, next_answer_at, not_called,
    placement_unknown,
};
use crate::clock::Timestamp;
use crate::event::fact::{Fact, Prepay, WechatError};
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
        Fact::PlacementUnknown { not_called: true, .. } => not_called(order, i, now),
        Fact::PlacementUnknown { said, .. } => placement_unknown(order, i, said.as_ref(), now),
        Fact::SetupRefused { error, alone } => setup_refused(order, i, error, *alone, now),
        Fact::Closed => closed(order, i, now),
        Fact::Paid(payment) => paid(order, i, payment, now, policy),
        Fact::Refunded(payment) => refunded(order, i, payment, now, policy),
        Fact::PaymentAccepted(payment) => accepted(order, i, payment, now),
        Fact::Unpaid { .. } => unpaid(order, i, now),
        Fact::NotFound => not_found(order, i, now),
        Fact::CloseRequested => wanted(order, i, Intent::Close, now),
        Fact::AttemptRequested { trade_type, expires_at } => {
            wanted(order, i, Intent::NewAttempt { trade_type: *trade_type, expires_at: *expires_at }, now)
        }
    }
}

/// What a verified message that contradicts the order leaves on it: a flag for people and a question to WeChat at once,
/// each time. Nothing when both are there already.
pub fn flag_mismatch(order: &Order, now: Timestamp) -> Option<Change> {
    if order.flags.amount_mismatch && order.queries.next_at.is_some_and(|at| at <= now) {
        return None;
    }
    let mut next = bump(order);
    next.flags.amount_mismatch = true;
    next.queries.done = 0;
    next.queries.next_at = Some(now);
    Some(Change { next, payment: None, reclassed: None, news: Vec::new(), refund: None })
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
    // Money that does not fit the order is dealt with before more is paid on it.
    if order.has_misfit() && intent != Intent::Close {
        return Decision::AlreadyApplied;
    }
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
    if held_and_over(&next, now) { close(next, now) } else { apply(next, None) }
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
            next.attempts[i].setup_refusals = None;
            clear_unknown(&mut next);
            if !next.state.is_open() || next.is_blocked() {
                // It can be paid although nothing more is to be: it must be closed at WeChat.
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
    let attempt = &order.attempts[i];
    match attempt.state {
        AttemptState::Created => refused_for_good(order, i, error, now),
        // No call of it can have been executed.
        AttemptState::Unknown if attempt.setup_refusals.is_some() => refused_for_good(order, i, error, now),
        // An earlier call may have been executed: a refusal of the repeat does not say that it was not.
        AttemptState::Unknown | AttemptState::Payable => ask_again(order, now, false),
        AttemptState::Paid | AttemptState::Closed | AttemptState::Failed => Decision::AlreadyApplied,
    }
}

fn refused_for_good(order: &Order, i: usize, error: &WechatError, now: Timestamp) -> Decision {
    let mut next = bump(order);
    next.attempts[i].state = AttemptState::Failed;
    next.attempts[i].error = Some(error.clone());
    next.attempts[i].setup_refusals = None;
    clear_unknown(&mut next);
    if !next.state.is_open() || next.any_live() {
        return apply(next, None);
    }
    if next.is_blocked() {
        return hold(next, now);
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

/// The number waits for the merchant's setup to be corrected, and is not used up. An order that WeChat refuses so while
/// it accepts the merchant's other calls fails after a few tries.
fn setup_refused(order: &Order, i: usize, error: &WechatError, alone: bool, now: Timestamp) -> Decision {
    let attempt = &order.attempts[i];
    let first = attempt.state == AttemptState::Created;
    match (attempt.state, attempt.setup_refusals) {
        (AttemptState::Created, _) | (AttemptState::Unknown, Some(_)) => {
            let refusals = if alone { attempt.setup_refusals.unwrap_or(0) + 1 } else { 0 };
            if refusals >= MAX_SETUP_REFUSALS {
                return refused_for_good(order, i, error, now);
            }
            if attempt.setup_refusals == Some(refusals) && attempt.error.as_ref() == Some(error) {
                return ask_again(order, now, false);
            }
            let mut next = bump(order);
            next.attempts[i].state = AttemptState::Unknown;
            next.attempts[i].error = Some(error.clone());
            next.attempts[i].setup_refusals = Some(refusals);
            next.flags.outcome_unknown = true;
            next.queries.next_at = if first { Some(now.after(schedule::UNKNOWN)) } else { next_answer_at(order, now) };
            apply(next, None)
        }
        (AttemptState::Unknown, None) | (AttemptState::Payable, _) => placement_unknown(order, i, Some(error), now),
        (AttemptState::Paid | AttemptState::Closed | AttemptState::Failed, _) => Decision::AlreadyApplied,
    }
}

fn closed(order: &Order, i: usize, now: Timestamp) -> Decision {
    let attempt = &order.attempts[i];
    match attempt.state {
        AttemptState::Created | AttemptState::Unknown | AttemptState::Payable => {
            let was_offered = attempt.state == AttemptState::Payable;
            let mut next = bump(order);
            next.attempts[i].state = AttemptState::Closed;
            next.attempts[i].setup_refusals = None;
            clear_unknown(&mut next);
            if !next.state.is_open() || next.any_live() {
                return apply(next, None);
            }
            if next.is_blocked() {
                return hold(next, now);
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
        AttemptState::Closed | AttemptState::Failed => already(order, now),
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
        setup_refusals: None,
        ..like.clone()
    });
    next.queries.done = 0;
    next.queries.next_at = Some(now.after(schedule::UNKNOWN));
    apply(next, None)
}

fn unpaid(order: &Order, i: usize, now: Timestamp) -> Decision {
    match order.attempts[i].state {
        AttemptState::Created | AttemptState::Unknown => ask_again(order, now, !order.wants_close(now)),
        AttemptState::Payable => ask_again(order, now, false),
        // A query that raced with a payment or a close is simply older than what we know.
        AttemptState::Paid | AttemptState::Closed | AttemptState::Failed => already(order, now),
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
