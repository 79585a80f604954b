//! Whatever arrives, in whatever order and however often: money is entered once, and states do not go back.

use proptest::prelude::*;
use wxpay_worker::event::fact::Fact;
use wxpay_worker::order::{AttemptState, Decision, OrderEvent, OrderState};

use super::support::*;

fn any_fact() -> impl Strategy<Value = (u32, Fact)> {
    let known = facts().into_iter().map(|(_, fact)| fact).collect::<Vec<_>>();
    (1u32..=3, prop::sample::select(known)).prop_map(|(n, fact)| match fact {
        Fact::Paid(p) => {
            let transaction = if p.transaction_id == transaction(1) { n } else { n + 10 };
            (n, Fact::Paid(payment(n, transaction)))
        }
        other => (n, other),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_transaction_is_entered_once_and_paid_is_never_left(history in prop::collection::vec(any_fact(), 1..40)) {
        let mut now = order(OrderState::Requested, AttemptState::Created);
        let mut ledger = Vec::new();
        let mut paid_events = 0;
        for (i, (n, fact)) in history.iter().enumerate() {
            let Decision::Apply(change) = decide(&now, &number(*n), fact, later(20 + i as u64)) else { continue };
            prop_assert_eq!(change.next.version, now.version + 1);
            prop_assert!(now.state != OrderState::Paid || change.next.state == OrderState::Paid);
            ledger.extend(change.payment.iter().map(|l| l.transaction_id.clone()));
            paid_events += change.news.iter().filter(|n| matches!(n, OrderEvent::Paid(_))).count();
            for a in &change.next.attempts {
                prop_assert_eq!(a.state == AttemptState::Paid, a.transaction_id.is_some());
                prop_assert!(a.state != AttemptState::Payable || a.prepay.is_some());
            }
            let open = matches!(change.next.state, OrderState::Requested | OrderState::Payable);
            let wants = change.next.intent.filter(|i| open || *i != wxpay_worker::order::Intent::Close);
            prop_assert!(open || wants.is_none(), "an order that has ended wants nothing");
            prop_assert!(!open || change.next.any_live() || change.next.is_blocked(), "open, and cannot be paid");
            prop_assert_eq!(change.next.state == OrderState::Failed, change.next.failure.is_some());
            now = change.next;
        }
        let distinct: std::collections::HashSet<_> = ledger.iter().collect();
        prop_assert_eq!(distinct.len(), ledger.len());
        prop_assert_eq!(paid_events, usize::from(now.paid_reported));
        prop_assert!(now.state != OrderState::Paid || now.paid_reported || now.flags.paid_late);
        prop_assert_eq!(now.paid_by.is_some(), now.state == OrderState::Paid);
    }
}
