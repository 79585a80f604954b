//! Steps that decisions share, and what a unified order without a conclusive answer does to its order.

use super::decision::{Change, Decision, OrderEvent};
use super::schedule;
use super::state::{AttemptState, Order};
use crate::clock::Timestamp;
use crate::event::fact::WechatError;

/// The attempt may exist at WeChat or not; `said` is what WeChat answered, where an answer arrived.
pub(super) fn placement_unknown(order: &Order, i: usize, said: Option<&WechatError>, now: Timestamp) -> Decision {
    match order.attempts[i].state {
        AttemptState::Created => {
            let mut next = bump(order);
            next.attempts[i].state = AttemptState::Unknown;
            next.attempts[i].error = said.cloned();
            next.flags.outcome_unknown = true;
            next.queries.next_at = Some(now.after(schedule::UNKNOWN));
            apply(next, None)
        }
        AttemptState::Unknown if said.is_some() && order.attempts[i].error.as_ref() != said => {
            match ask_again(order, now, false) {
                Decision::AskAgain { at, .. } => {
                    let mut next = bump(order);
                    next.attempts[i].error = said.cloned();
                    // An earlier poll that is planned stays.
                    let planned = order.queries.next_at.filter(|planned| *planned > now);
                    next.queries.next_at = Some(planned.map_or(at, |planned| planned.min(at)));
                    apply(next, None)
                }
                other => other,
            }
        }
        AttemptState::Unknown | AttemptState::Payable => ask_again(order, now, false),
        AttemptState::Paid | AttemptState::Closed | AttemptState::Failed => Decision::AlreadyApplied,
    }
}

pub(super) fn ask_again(order: &Order, now: Timestamp, resubmit: bool) -> Decision {
    let done = order.queries.done + 1;
    match schedule::next_poll(order, done, now) {
        Some(at) if order.state.is_open() => Decision::AskAgain { at, resubmit },
        Some(_) | None => Decision::AlreadyApplied,
    }
}

pub(super) fn apply(next: Order, news: Option<OrderEvent>) -> Decision {
    Decision::Apply(Box::new(Change { next, ledger: None, news: news.into_iter().collect(), refund: None }))
}

pub(super) fn bump(order: &Order) -> Order {
    Order { version: order.version + 1, ..order.clone() }
}
