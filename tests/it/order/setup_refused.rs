//! Refusals of the merchant's setup: the number waits, unless WeChat refuses this order alone.

use wxpay_worker::event::fact::Fact;
use wxpay_worker::order::{AttemptState, Decision, MAX_SETUP_REFUSALS, Order, OrderEvent, OrderState};

use super::support::*;

fn refused(alone: bool) -> Fact {
    Fact::SetupRefused { error: error("SIGNERROR"), alone }
}

/// The order after a fact, which must change it.
fn after(order: &Order, fact: &Fact, seconds: u64) -> (Order, Vec<OrderEvent>) {
    match decide(order, &number(1), fact, later(seconds)) {
        Decision::Apply(change) => (change.next, change.news),
        other => panic!("{other:?}"),
    }
}

fn waiting(alone: bool) -> Order {
    after(&order(OrderState::Requested, AttemptState::Created), &refused(alone), 1).0
}

#[test]
fn a_refusal_of_the_setup_leaves_the_order_unknown_for_as_long_as_it_lasts() {
    let mut stored = waiting(false);
    let attempt = &stored.attempts[0];
    assert_eq!((stored.state, attempt.state), (OrderState::Requested, AttemptState::Unknown));
    assert!(stored.flags.outcome_unknown);
    assert_eq!(attempt.error, Some(error("SIGNERROR")));
    assert_eq!(stored.queries.next_at, Some(later(6)));
    for n in 1..50 {
        let now = later(n * 7200);
        match decide(&stored, &number(1), &refused(false), now) {
            Decision::AskAgain { at, .. } => {
                assert!(at > now && at <= now.after(std::time::Duration::from_secs(86_400)))
            }
            other => panic!("also long after the expiry, nothing ends: {other:?}"),
        }
        stored.queries.done += 1;
    }
    let (payable, news) = after(&stored, &Fact::PrepayIssued(prepay("wx2")), 100);
    assert_eq!((payable.state, payable.attempts.len()), (OrderState::Payable, 1), "under the same number");
    assert_eq!((payable.attempts[0].setup_refusals, payable.flags.outcome_unknown), (None, false));
    assert!(matches!(news[..], [OrderEvent::Payable(_)]));
}

#[test]
fn an_order_that_is_refused_alone_fails_at_the_third_time_in_a_row() {
    let mut stored = waiting(true);
    for n in 2..MAX_SETUP_REFUSALS {
        stored = after(&stored, &refused(true), 10 * u64::from(n)).0;
        assert_eq!(stored.attempts[0].setup_refusals, Some(n));
    }
    // WeChat refused the whole merchant in between: that says nothing of the order.
    let reset = after(&stored, &refused(false), 50).0;
    assert_eq!(reset.attempts[0].setup_refusals, Some(0));
    let (failed, news) = after(&stored, &refused(true), 60);
    assert_eq!((failed.state, failed.attempts[0].state), (OrderState::Failed, AttemptState::Failed));
    assert_eq!((failed.failure, failed.flags.outcome_unknown), (Some(error("SIGNERROR")), false));
    assert!(matches!(news[..], [OrderEvent::Failed(_)]));
}

#[test]
fn after_the_setup_is_corrected_a_refusal_counts_as_of_a_fresh_number() {
    let (failed, _) = after(&waiting(false), &Fact::PlacementRefused(error("PARAM_ERROR")), 60);
    assert_eq!((failed.state, failed.failure), (OrderState::Failed, Some(error("PARAM_ERROR"))));
}

#[test]
fn a_call_that_may_have_been_executed_is_not_forgotten() {
    let silent = Fact::PlacementUnknown { why: "timeout".into(), said: None, not_called: false };
    // A call without an answer after a refusal, and one before it.
    let (first, _) = after(&waiting(true), &silent, 20);
    assert_eq!((first.attempts[0].setup_refusals, first.attempts[0].error.clone()), (None, None));
    let (unanswered, _) = after(&order(OrderState::Requested, AttemptState::Created), &silent, 1);
    for mut stored in [first, unanswered] {
        for n in 0..2 * u64::from(MAX_SETUP_REFUSALS) {
            for fact in [refused(true), Fact::PlacementRefused(error("PARAM_ERROR"))] {
                if let Decision::Apply(change) = decide(&stored, &number(1), &fact, later(30 + n)) {
                    stored = change.next;
                }
                assert_eq!((stored.state, stored.attempts[0].state), (OrderState::Requested, AttemptState::Unknown));
                assert_eq!(stored.attempts[0].setup_refusals, None);
            }
        }
    }
}

#[test]
fn a_number_that_was_offered_or_has_ended_stays_what_it_is() {
    for (state, attempt) in [
        (OrderState::Payable, AttemptState::Payable),
        (OrderState::Paid, AttemptState::Paid),
        (OrderState::Closed, AttemptState::Closed),
        (OrderState::Failed, AttemptState::Failed),
    ] {
        let decision = decide(&order(state, attempt), &number(1), &refused(true), later(30));
        assert!(matches!(decision, Decision::AskAgain { .. } | Decision::AlreadyApplied), "{state:?} {decision:?}");
    }
}
