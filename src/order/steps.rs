//! Steps that decisions share, and what a unified order without a conclusive answer does to its order.

use super::decision::{Change, Decision, OrderEvent};
use super::payment::PaymentClass;
use super::schedule;
use super::state::{AttemptState, Intent, Order, OrderState};
use crate::clock::Timestamp;
use crate::event::fact::WechatError;

/// No call reached WeChat, and no earlier one can have been executed: the number waits.
pub(super) fn not_called(order: &Order, i: usize, now: Timestamp) -> Decision {
    match order.attempts[i].state {
        AttemptState::Created => unknown(order, i, (None, Some(0)), now),
        AttemptState::Unknown | AttemptState::Payable => ask_again(order, now, false),
        AttemptState::Paid | AttemptState::Closed | AttemptState::Failed => Decision::AlreadyApplied,
    }
}

/// The first call has no conclusive answer; `setup_refusals` as of the attempt.
fn unknown(
    order: &Order,
    i: usize,
    (said, setup_refusals): (Option<&WechatError>, Option<u32>),
    now: Timestamp,
) -> Decision {
    let mut next = bump(order);
    next.attempts[i].state = AttemptState::Unknown;
    next.attempts[i].error = said.cloned();
    next.attempts[i].setup_refusals = setup_refusals;
    next.flags.outcome_unknown = true;
    next.queries.next_at = Some(now.after(schedule::UNKNOWN));
    apply(next, None)
}

/// The attempt may exist at WeChat or not; `said` is what WeChat answered, where an answer arrived.
pub(super) fn placement_unknown(order: &Order, i: usize, said: Option<&WechatError>, now: Timestamp) -> Decision {
    match order.attempts[i].state {
        AttemptState::Created => unknown(order, i, (said, None), now),
        // From now on a call may have been executed.
        AttemptState::Unknown if order.attempts[i].setup_refusals.is_some() => {
            let mut next = bump(order);
            next.attempts[i].error = said.cloned();
            next.attempts[i].setup_refusals = None;
            next.queries.next_at = next_answer_at(order, now);
            apply(next, None)
        }
        AttemptState::Unknown if said.is_some() && order.attempts[i].error.as_ref() != said => {
            match ask_again(order, now, false) {
                Decision::AskAgain { .. } => {
                    let mut next = bump(order);
                    next.attempts[i].error = said.cloned();
                    next.queries.next_at = next_answer_at(order, now);
                    apply(next, None)
                }
                other => other,
            }
        }
        AttemptState::Unknown | AttemptState::Payable => ask_again(order, now, false),
        AttemptState::Paid | AttemptState::Closed | AttemptState::Failed => Decision::AlreadyApplied,
    }
}

/// When to ask about an open outcome next; an earlier poll that is planned stays.
pub(super) fn next_answer_at(order: &Order, now: Timestamp) -> Option<Timestamp> {
    let at = schedule::next_poll(order, order.queries.done + 1, now);
    let planned = order.queries.next_at.filter(|planned| *planned > now);
    planned.into_iter().chain(at).min()
}

pub(super) fn ask_again(order: &Order, now: Timestamp, resubmit: bool) -> Decision {
    let done = order.queries.done + 1;
    match schedule::next_poll(order, done, now) {
        Some(at) if order.state.is_open() => Decision::AskAgain { at, resubmit },
        Some(_) | None => Decision::AlreadyApplied,
    }
}

pub(super) fn apply(next: Order, news: Option<OrderEvent>) -> Decision {
    let news = news.into_iter().collect();
    Decision::Apply(Box::new(Change { next, payment: None, reclassed: None, news, refund: None }))
}

pub(super) fn bump(order: &Order) -> Order {
    Order { version: order.version + 1, ..order.clone() }
}

pub(super) fn clear_unknown(order: &mut Order) {
    order.flags.outcome_unknown = order.attempts.iter().any(|a| a.state == AttemptState::Unknown);
}

/// Nothing of it can be paid. An earlier number that a payer was offered is asked about as after a close.
pub(super) fn fail(mut next: Order, error: WechatError, now: Timestamp) -> Decision {
    next.state = OrderState::Failed;
    next.intent = None;
    next.failure = Some(error.clone());
    next.queries.done = 0;
    next.queries.next_at = schedule::next_poll(&next, 0, now);
    apply(next, Some(OrderEvent::Failed(error)))
}

/// No attempt takes money any more. WeChat is asked twice more all the same: a payment may have been on its way.
pub(super) fn close(next: Order, now: Timestamp) -> Decision {
    apply(ended(next, now), Some(OrderEvent::Closed))
}

/// The order closed.
pub(super) fn ended(mut next: Order, now: Timestamp) -> Order {
    next.state = OrderState::Closed;
    // An order closed on request stays closed; the stored intent records that.
    next.intent = next.intent.filter(|intent| *intent == Intent::Close);
    next.queries.done = 0;
    next.queries.next_at = schedule::next_poll(&next, 0, now);
    next
}

/// Whether an order that holds money which does not fit it has come to its end: nothing can be paid on it any more, and
/// its time is over or its close was requested.
pub(super) fn held_and_over(order: &Order, now: Timestamp) -> bool {
    let over = order.intent == Some(Intent::Close) || now >= order.expires_at;
    order.is_blocked() && over && !order.any_live()
}

/// The order says so already. A held order that is over ends here: WeChat has nothing left to close.
pub(super) fn already(order: &Order, now: Timestamp) -> Decision {
    if held_and_over(order, now) { close(bump(order), now) } else { Decision::AlreadyApplied }
}

/// A held order without a live attempt is not closed or failed by WeChat's answers while an operator may accept what it
/// holds: it waits for its end.
pub(super) fn hold(mut next: Order, now: Timestamp) -> Decision {
    next.queries.done = 0;
    next.queries.next_at = schedule::next_poll(&next, 0, now);
    let holds = next.payments.iter().any(|p| p.class == PaymentClass::Held);
    if held_and_over(&next, now) || !holds { close(next, now) } else { apply(next, None) }
}
