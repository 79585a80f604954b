//! Numbers of which no call can have been executed: what waits for its first call, and what that call may find.

use wxpay_worker::event::fact::Fact;
use wxpay_worker::order::{
    AttemptState, Decision, HeldReason, Order, OrderEvent, OrderState, PaymentClass, Policy, decide,
};

use super::support::{error, later, number, order, payment};

fn not_called() -> Fact {
    Fact::PlacementUnknown { why: "put off".into(), said: None, not_called: true }
}

fn after(order: &Order, fact: &Fact, policy: Policy) -> (Order, Vec<OrderEvent>) {
    match decide(order, &number(1), fact, later(20), policy) {
        Decision::Apply(change) => (change.next, change.news),
        other => panic!("{other:?}"),
    }
}

fn waiting() -> Order {
    after(&order(OrderState::Requested, AttemptState::Created), &not_called(), Policy::default()).0
}

#[test]
fn a_number_without_a_call_waits_and_is_refused_like_a_fresh_one() {
    let waiting = waiting();
    let attempt = &waiting.attempts[0];
    assert_eq!((attempt.state, attempt.setup_refusals), (AttemptState::Unknown, Some(0)));
    assert!(waiting.flags.outcome_unknown && waiting.queries.next_at.is_some());
    // Once more without a call: nothing changes.
    let again = decide(&waiting, &number(1), &not_called(), later(30), Policy::default());
    assert!(matches!(again, Decision::AskAgain { resubmit: false, .. }), "{again:?}");
    let (failed, news) = after(&waiting, &Fact::PlacementRefused(error("PARAM_ERROR")), Policy::default());
    assert_eq!((failed.state, failed.attempts[0].setup_refusals), (OrderState::Failed, None));
    assert!(matches!(news[..], [OrderEvent::Failed(_)]), "{news:?}");
}

#[test]
fn a_call_that_was_not_made_says_nothing_about_earlier_ones() {
    for state in [AttemptState::Unknown, AttemptState::Payable] {
        let before = order(OrderState::Requested, state);
        let decision = decide(&before, &number(1), &not_called(), later(20), Policy::default());
        assert!(matches!(decision, Decision::AskAgain { resubmit: false, .. }), "{state:?} {decision:?}");
    }
}

#[test]
fn what_the_first_call_finds_paid_is_held_and_what_another_call_may_have_placed_is_not() {
    let never_placed = Policy { never_placed: true, ..Policy::default() };
    let created = order(OrderState::Requested, AttemptState::Created);
    for (before, policy, held) in [
        (created.clone(), never_placed, true),
        (waiting(), never_placed, true),
        (created, Policy::default(), false),
        // Another process placed the number meanwhile.
        (order(OrderState::Requested, AttemptState::Unknown), never_placed, false),
        (order(OrderState::Payable, AttemptState::Payable), never_placed, false),
    ] {
        for fact in [Fact::Paid(payment(1, 1)), Fact::Refunded(payment(1, 1))] {
            let (next, news) = after(&before, &fact, policy);
            let paid = &next.payments[0];
            let expected = if held {
                (PaymentClass::Held, Some(HeldReason::BeforeOrder), OrderState::Requested)
            } else {
                (PaymentClass::Credited, None, OrderState::Paid)
            };
            assert_eq!((paid.class, paid.reason, next.state), expected, "{before:?}");
            let announced = matches!(news[..], [OrderEvent::PaymentHeld(_, HeldReason::BeforeOrder)]);
            assert_eq!((announced, next.flags.paid_before_order), (held, held), "{news:?}");
            assert_eq!(next.attempts[0].state, AttemptState::Paid);
        }
    }
}
