//! A payment that goes back as one of no order, when its order appears.

use wxpay_worker::event::fact::Fact;
use wxpay_worker::order::{
    AttemptState, Decision, HeldReason, OrderEvent, OrderState, PaymentClass, Policy, Surplus, decide,
};

use super::support::{later, number, order, payment};

fn appears(class: Option<PaymentClass>, fact: Fact) -> (PaymentClass, Option<HeldReason>, OrderState, Vec<OrderEvent>) {
    let order = order(OrderState::Payable, AttemptState::Payable);
    let accepts = Policy { paid_late: Surplus::Accept, paid_twice: Surplus::Accept, ..Policy::default() };
    let policy = Policy { goes_back: class, ..accepts };
    let Decision::Apply(change) = decide(&order, &number(1), &fact, later(20), policy) else { panic!("nothing") };
    let entry = change.payment.unwrap();
    assert_eq!(change.next.flags.paid_before_order, class.is_some());
    assert_eq!(change.next.payments[0].class, entry.class);
    (entry.class, entry.reason, change.next.state, change.news)
}

#[test]
fn it_is_held_and_never_credited() {
    for fact in [Fact::Paid(payment(1, 1)), Fact::Refunded(payment(1, 1))] {
        let (class, reason, state, news) = appears(Some(PaymentClass::Unmatched), fact.clone());
        assert_eq!((class, reason), (PaymentClass::Held, Some(HeldReason::BeforeOrder)));
        assert_eq!(state, OrderState::Payable);
        assert!(matches!(news[..], [OrderEvent::PaymentHeld(_, HeldReason::BeforeOrder)]), "{news:?}");
        // Nothing is left of it that an operator could decide on.
        let (class, _, state, news) = appears(Some(PaymentClass::Returned), fact.clone());
        assert_eq!((class, state, news), (PaymentClass::Returned, OrderState::Payable, Vec::new()));
        let (class, _, state, _) = appears(None, fact);
        assert_eq!((class, state), (PaymentClass::Credited, OrderState::Paid));
    }
}
