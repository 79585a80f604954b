//! The one function that says what a fact does to a refund.
//!
//! Pure and exhaustive, like its neighbour for orders. A missing response is never a failure; a refusal is one only
//! where no unanswered call may still be carried out; a terminal state is final, and an operator must investigate a
//! contradiction by WeChat.

use super::schedule::{CLOCKS_DIFFER, SETTLING, next_refund_poll, not_yet};
use super::state::{Refund, RefundChange, RefundDecision, RefundEntry, RefundEvent, RefundRefusal, RefundState};
use crate::clock::Timestamp;
use crate::event::fact::{RefundFact, RefundSeen, RefundStanding, WechatError};

/// Says what `fact`, learnt at `now`, does to `refund`.
pub fn decide_refund(refund: &Refund, fact: &RefundFact, now: Timestamp) -> RefundDecision {
    match fact {
        RefundFact::Accepted { refund_id } => accepted(refund, refund_id, now),
        RefundFact::Refused(error) => refused(refund, error, now),
        RefundFact::Unknown { said, .. } => unknown(refund, said.as_ref(), now),
        RefundFact::NotYet(error) => waits(refund, error, now),
        RefundFact::TooFrequent(error) => too_frequent(refund, error, now),
        RefundFact::Status(seen) => status(refund, seen, now),
        RefundFact::NotFound => not_found(refund, now),
    }
}

fn accepted(refund: &Refund, refund_id: &str, now: Timestamp) -> RefundDecision {
    if id_differs(refund, refund_id) {
        return RefundDecision::Refused(RefundRefusal::RefundIdDiffers);
    }
    match refund.state {
        RefundState::Requested | RefundState::Unknown => taken_on(refund, refund_id, now),
        // The answer to a repeat that crossed another one's.
        RefundState::Processing | RefundState::Abnormal | RefundState::Succeeded => RefundDecision::AlreadyApplied,
        RefundState::Failed => RefundDecision::Doubtful(RefundRefusal::AliveAfterFailure),
    }
}

fn refused(refund: &Refund, error: &WechatError, now: Timestamp) -> RefundDecision {
    match refund.state {
        RefundState::Requested | RefundState::Unknown => {
            match unanswered_at(refund, now).map(|at| at.after(SETTLING)) {
                // The unanswered call may still be on its way to where WeChat was asked.
                Some(settled) if now < settled => RefundDecision::AskAgain { at: settled },
                Some(_) | None => failed(refund, None, error.clone()),
            }
        }
        RefundState::Processing | RefundState::Abnormal | RefundState::Succeeded | RefundState::Failed => {
            RefundDecision::AlreadyApplied
        }
    }
}

/// When a call last went unanswered. A time in the future comes from clock skew and is not waited for.
fn unanswered_at(refund: &Refund, now: Timestamp) -> Option<Timestamp> {
    refund.unanswered_at.map(|at| if at > now.after(CLOCKS_DIFFER) { now } else { at })
}

fn unknown(refund: &Refund, said: Option<&WechatError>, now: Timestamp) -> RefundDecision {
    match refund.state {
        RefundState::Requested | RefundState::Unknown => {
            let mut next = bump(refund);
            next.state = RefundState::Unknown;
            next.unanswered_at = Some(now);
            next.error = said.cloned().or(next.error);
            let done = if refund.state == RefundState::Unknown { refund.queries.done + 1 } else { 0 };
            again(&mut next, done, now);
            apply(next, None)
        }
        RefundState::Processing | RefundState::Abnormal | RefundState::Succeeded | RefundState::Failed => {
            RefundDecision::AlreadyApplied
        }
    }
}

fn waits(refund: &Refund, error: &WechatError, now: Timestamp) -> RefundDecision {
    match refund.state {
        RefundState::Requested | RefundState::Unknown => {
            let at = not_yet(refund, refund.queries.done, now);
            if refund.delayed && refund.error.as_ref() == Some(error) {
                return RefundDecision::AskAgain { at };
            }
            // Another reason is reported again: operators may have resolved the one reported before.
            let reported = refund.delayed && refund.error.as_ref().is_some_and(|known| known.code == error.code);
            let mut next = bump(refund);
            next.delayed = true;
            next.error = Some(error.clone());
            next.queries.done += 1;
            next.queries.next_at = Some(at);
            apply(next, (!reported).then_some(RefundEvent::Delayed))
        }
        RefundState::Processing | RefundState::Abnormal | RefundState::Succeeded | RefundState::Failed => {
            RefundDecision::AlreadyApplied
        }
    }
}

fn too_frequent(refund: &Refund, error: &WechatError, now: Timestamp) -> RefundDecision {
    match refund.state {
        RefundState::Requested => {
            let mut next = bump(refund);
            next.state = RefundState::Unknown;
            next.unanswered_at = Some(now);
            next.error = Some(error.clone());
            next.queries.done = 0;
            next.queries.next_at = Some(not_yet(refund, 0, now));
            apply(next, None)
        }
        RefundState::Unknown if refund.error.as_ref() == Some(error) => {
            RefundDecision::AskAgain { at: not_yet(refund, refund.queries.done, now) }
        }
        RefundState::Unknown => {
            let mut next = bump(refund);
            next.error = Some(error.clone());
            next.queries.done += 1;
            next.queries.next_at = Some(not_yet(refund, refund.queries.done, now));
            apply(next, None)
        }
        RefundState::Processing | RefundState::Abnormal | RefundState::Succeeded | RefundState::Failed => {
            RefundDecision::AlreadyApplied
        }
    }
}

fn status(refund: &Refund, seen: &RefundSeen, now: Timestamp) -> RefundDecision {
    if seen.transaction_id != refund.transaction_id {
        return RefundDecision::Refused(RefundRefusal::AnotherPayment);
    }
    if seen.refund_fee != refund.amount {
        return RefundDecision::Refused(RefundRefusal::Differs);
    }
    if id_differs(refund, &seen.refund_id) {
        return RefundDecision::Refused(RefundRefusal::RefundIdDiffers);
    }
    use RefundStanding as Says;
    use RefundState as State;
    match (seen.status, refund.state) {
        (Says::Processing, State::Requested | State::Unknown) => taken_on(refund, &seen.refund_id, now),
        (Says::Processing, State::Processing | State::Abnormal) | (Says::Change, State::Abnormal) => {
            ask_again(refund, now)
        }
        (Says::Success { at }, State::Requested | State::Unknown | State::Processing | State::Abnormal) => {
            succeeded(refund, seen, at.unwrap_or(now))
        }
        (Says::Change, State::Requested | State::Unknown | State::Processing) => abnormal(refund, seen, now),
        (Says::Closed, State::Requested | State::Unknown | State::Processing | State::Abnormal) => {
            let message = "WeChat closed the refund without moving money".to_owned();
            failed(refund, Some(&seen.refund_id), WechatError { code: "REFUNDCLOSE".into(), message })
        }
        (Says::Success { .. }, State::Succeeded) | (Says::Closed, State::Failed) => RefundDecision::AlreadyApplied,
        (Says::Processing | Says::Change, State::Succeeded) => {
            RefundDecision::Doubtful(RefundRefusal::UndoneAfterSuccess)
        }
        (Says::Closed, State::Succeeded) => RefundDecision::Refused(RefundRefusal::UndoneAfterSuccess),
        (Says::Processing | Says::Change, State::Failed) => RefundDecision::Doubtful(RefundRefusal::AliveAfterFailure),
        (Says::Success { .. }, State::Failed) => RefundDecision::Refused(RefundRefusal::AliveAfterFailure),
    }
}

fn abnormal(refund: &Refund, seen: &RefundSeen, now: Timestamp) -> RefundDecision {
    let mut next = bump(refund);
    next.state = RefundState::Abnormal;
    next.refund_id = Some(seen.refund_id.clone());
    next.error = None;
    next.unanswered_at = None;
    again(&mut next, 0, now);
    apply(next, Some(RefundEvent::Abnormal))
}

/// WeChat is known to forget refunds for moments, also such as it took on: nothing is concluded from it.
fn not_found(refund: &Refund, now: Timestamp) -> RefundDecision {
    match refund.state {
        RefundState::Requested | RefundState::Unknown | RefundState::Processing | RefundState::Abnormal => {
            ask_again(refund, now)
        }
        RefundState::Succeeded | RefundState::Failed => RefundDecision::AlreadyApplied,
    }
}

fn id_differs(refund: &Refund, refund_id: &str) -> bool {
    refund.refund_id.as_deref().is_some_and(|ours| ours != refund_id)
}

fn taken_on(refund: &Refund, refund_id: &str, now: Timestamp) -> RefundDecision {
    let mut next = bump(refund);
    next.state = RefundState::Processing;
    next.refund_id = Some(refund_id.to_owned());
    next.error = None;
    next.unanswered_at = None;
    again(&mut next, 0, now);
    apply(next, None)
}

fn succeeded(refund: &Refund, seen: &RefundSeen, at: Timestamp) -> RefundDecision {
    let mut next = bump(refund);
    next.state = RefundState::Succeeded;
    next.refund_id = Some(seen.refund_id.clone());
    next.error = None;
    next.unanswered_at = None;
    next.succeeded_at = Some(at);
    next.queries.next_at = None;
    let ledger = Some(RefundEntry { refund_id: seen.refund_id.clone(), amount: refund.amount, occurred_at: at });
    let news = Some(RefundEvent::Succeeded);
    RefundDecision::Apply(Box::new(RefundChange { next, ledger, released: false, news }))
}

fn failed(refund: &Refund, refund_id: Option<&str>, error: WechatError) -> RefundDecision {
    let mut next = bump(refund);
    next.state = RefundState::Failed;
    next.refund_id = refund_id.map(str::to_owned).or(next.refund_id);
    next.error = Some(error);
    next.unanswered_at = None;
    next.queries.next_at = None;
    let news = Some(RefundEvent::Failed);
    RefundDecision::Apply(Box::new(RefundChange { next, ledger: None, released: true, news }))
}

fn ask_again(refund: &Refund, now: Timestamp) -> RefundDecision {
    match next_refund_poll(refund, refund.queries.done + 1, now) {
        Some(at) => RefundDecision::AskAgain { at },
        None => RefundDecision::AlreadyApplied,
    }
}

fn again(next: &mut Refund, done: u32, now: Timestamp) {
    next.queries.done = done;
    next.queries.next_at = next_refund_poll(next, done, now);
}

fn apply(next: Refund, news: Option<RefundEvent>) -> RefundDecision {
    RefundDecision::Apply(Box::new(RefundChange { next, ledger: None, released: false, news }))
}

fn bump(refund: &Refund) -> Refund {
    Refund { version: refund.version + 1, ..refund.clone() }
}
