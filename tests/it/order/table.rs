//! The whole table. A row is: order state, attempt state, and what each fact of `facts()` does, in its order.

use wxpay_worker::event::fact::Fact;
use wxpay_worker::money::Fen;
use wxpay_worker::order::{
    AttemptState, Decision, Order, OrderEvent, OrderState, Policy, Refusal, Surplus, flag_mismatch,
};
use wxpay_worker::trade::TradeType;

use super::support::*;

/// What a decision did, in few words: `order/attempt news` for a change, else the decision's name.
fn summary(decision: &Decision) -> String {
    match decision {
        Decision::AlreadyApplied => "-".into(),
        Decision::AskAgain { resubmit: true, .. } => "place".into(),
        Decision::AskAgain { resubmit: false, .. } => "ask".into(),
        Decision::Refused(refusal) => refusal.reason().into(),
        Decision::Apply(change) => {
            let news: String = change
                .news
                .iter()
                .map(|n| match n {
                    OrderEvent::Payable(_) => " payable",
                    OrderEvent::Paid(_) => " paid",
                    OrderEvent::PaidLate(..) => " late",
                    OrderEvent::PaidTwice(..) => " twice",
                    OrderEvent::Closed => " closed",
                    OrderEvent::Failed(_) => " failed",
                })
                .collect();
            let attempts: Vec<&str> = change.next.attempts.iter().map(|a| a.state.as_str()).collect();
            format!("{}/{}{news}", change.next.state.as_str(), attempts.join("+"))
        }
    }
}

type Row = (OrderState, AttemptState, [&'static str; 10]);

#[rustfmt::skip]
fn table() -> Vec<Row> {
    use AttemptState as A;
    use OrderState as O;
    // issued, refused, unknown, closed, paid, paid again, unpaid, not found, close, switch
    vec![
        (O::Requested, A::Created, ["payable/payable payable", "failed/failed failed", "requested/unknown",
                                    "requested/closed+created", "paid/paid paid", "paid/paid paid", "place", "place",
                                    "requested/created", "requested/created"]),
        (O::Requested, A::Unknown, ["payable/payable payable", "ask", "ask", "requested/closed+created",
                                    "paid/paid paid", "paid/paid paid", "place", "place", "requested/unknown",
                                    "requested/unknown"]),
        (O::Requested, A::Payable, ["payable/payable", "ask", "ask", "closed/closed closed", "paid/paid paid",
                                    "paid/paid paid", "ask", "ask", "requested/payable", "requested/payable"]),
        (O::Requested, A::Paid, ["-", "-", "-", "closed_after_paid", "-", "paid/paid paid", "-", "-",
                                 "requested/paid", "requested/paid"]),
        (O::Requested, A::Closed, ["-", "-", "-", "-", "paid/paid paid", "paid/paid paid", "-", "-",
                                   "requested/closed", "requested/closed"]),
        (O::Requested, A::Failed, ["-", "-", "-", "-", "paid/paid paid", "paid/paid paid", "-", "-",
                                   "requested/failed", "requested/failed"]),
        (O::Payable, A::Created, ["payable/payable payable", "failed/failed failed", "payable/unknown",
                                  "payable/closed+created", "paid/paid paid", "paid/paid paid", "place", "place",
                                  "payable/created", "payable/created"]),
        (O::Payable, A::Unknown, ["payable/payable payable", "ask", "ask", "payable/closed+created", "paid/paid paid",
                                  "paid/paid paid", "place", "place", "payable/unknown", "payable/unknown"]),
        (O::Payable, A::Payable, ["payable/payable", "ask", "ask", "closed/closed closed", "paid/paid paid",
                                  "paid/paid paid", "ask", "ask", "payable/payable", "payable/payable"]),
        (O::Payable, A::Paid, ["-", "-", "-", "closed_after_paid", "-", "paid/paid paid", "-", "-", "payable/paid",
                               "payable/paid"]),
        (O::Payable, A::Closed, ["-", "-", "-", "-", "paid/paid paid", "paid/paid paid", "-", "-", "payable/closed",
                                 "payable/closed"]),
        (O::Payable, A::Failed, ["-", "-", "-", "-", "paid/paid paid", "paid/paid paid", "-", "-", "payable/failed",
                                 "payable/failed"]),
        (O::Paid, A::Created, ["paid/payable", "paid/failed", "paid/unknown", "paid/closed", "-", "paid/paid twice",
                               "-", "-", "-", "-"]),
        (O::Paid, A::Unknown, ["paid/payable", "-", "-", "paid/closed", "-", "paid/paid twice", "-", "-", "-", "-"]),
        (O::Paid, A::Payable, ["paid/payable", "-", "-", "paid/closed", "-", "paid/paid twice", "-", "-", "-", "-"]),
        (O::Paid, A::Paid, ["-", "-", "-", "closed_after_paid", "-", "paid/paid twice", "-", "-", "-", "-"]),
        (O::Paid, A::Closed, ["-", "-", "-", "-", "-", "paid/paid twice", "-", "-", "-", "-"]),
        (O::Paid, A::Failed, ["-", "-", "-", "-", "-", "paid/paid twice", "-", "-", "-", "-"]),
        (O::Closed, A::Created, ["closed/payable", "closed/failed", "closed/unknown", "closed/closed",
                                 "paid/paid late", "paid/paid late", "-", "-", "-", "-"]),
        (O::Closed, A::Unknown, ["closed/payable", "-", "-", "closed/closed", "paid/paid late", "paid/paid late", "-",
                                 "-", "-", "-"]),
        (O::Closed, A::Payable, ["closed/payable", "-", "-", "closed/closed", "paid/paid late", "paid/paid late", "-",
                                 "-", "-", "-"]),
        (O::Closed, A::Paid, ["-", "-", "-", "closed_after_paid", "-", "paid/paid late", "-", "-", "-", "-"]),
        (O::Closed, A::Closed, ["-", "-", "-", "-", "paid/paid late", "paid/paid late", "-", "-", "-", "-"]),
        (O::Closed, A::Failed, ["-", "-", "-", "-", "paid/paid late", "paid/paid late", "-", "-", "-", "-"]),
        (O::Failed, A::Created, ["failed/payable", "failed/failed", "failed/unknown", "failed/closed",
                                 "paid/paid late", "paid/paid late", "-", "-", "-", "-"]),
        (O::Failed, A::Unknown, ["failed/payable", "-", "-", "failed/closed", "paid/paid late", "paid/paid late", "-",
                                 "-", "-", "-"]),
        (O::Failed, A::Payable, ["failed/payable", "-", "-", "failed/closed", "paid/paid late", "paid/paid late", "-",
                                 "-", "-", "-"]),
        (O::Failed, A::Paid, ["-", "-", "-", "closed_after_paid", "-", "paid/paid late", "-", "-", "-", "-"]),
        (O::Failed, A::Closed, ["-", "-", "-", "-", "paid/paid late", "paid/paid late", "-", "-", "-", "-"]),
        (O::Failed, A::Failed, ["-", "-", "-", "-", "paid/paid late", "paid/paid late", "-", "-", "-", "-"]),
    ]
}

#[test]
fn every_state_against_every_fact() {
    let table = table();
    assert_eq!(table.len(), OrderState::ALL.len() * AttemptState::ALL.len(), "a state has no row");
    let mut wrong = Vec::new();
    for (order_state, attempt_state, expected) in table {
        let before = order(order_state, attempt_state);
        for ((name, fact), expected) in facts().iter().zip(expected) {
            let got = summary(&decide(&before, &number(1), fact, later(20)));
            if got != expected {
                wrong.push(format!("{order_state:?}/{attempt_state:?} × {name}: {got}, not {expected}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn applied(before: &Order, fact: &Fact) -> wxpay_worker::order::Change {
    match decide(before, &number(1), fact, later(20)) {
        Decision::Apply(change) => *change,
        other => panic!("{other:?}"),
    }
}

#[test]
fn whatever_was_applied_is_applied_already_the_second_time() {
    for order_state in OrderState::ALL {
        for attempt_state in AttemptState::ALL {
            for (name, fact) in facts() {
                let Decision::Apply(change) =
                    decide(&order(*order_state, *attempt_state), &number(1), &fact, later(20))
                else {
                    continue;
                };
                let again = decide(&change.next, &number(1), &fact, later(20));
                let quiet = matches!(again, Decision::AlreadyApplied | Decision::AskAgain { .. });
                assert!(quiet, "{order_state:?}/{attempt_state:?} × {name} twice: {again:?}");
            }
        }
    }
}

#[test]
fn a_payment_of_another_amount_currency_merchant_or_app_changes_nothing() {
    let before = order(OrderState::Payable, AttemptState::Payable);
    let with = |change: fn(&mut wxpay_worker::event::fact::Payment)| {
        let mut p = payment(1, 1);
        change(&mut p);
        decide(&before, &number(1), &Fact::Paid(p), later(20))
    };
    let (ours, theirs) = (Fen::from_i64(100), Fen::from_i64(99));
    assert_eq!(with(|p| p.total_fee = Fen::from_i64(99)), Decision::Refused(Refusal::AmountDiffers { ours, theirs }));
    assert_eq!(with(|p| p.fee_type = "USD".into()), Decision::Refused(Refusal::CurrencyDiffers));
    let other = || wxpay_worker::ids::MchId::parse("10000101").unwrap();
    let mut foreign = payment(1, 1);
    foreign.mch_id = other();
    let decided = decide(&before, &number(1), &Fact::Paid(foreign), later(20));
    assert_eq!(decided, Decision::Refused(Refusal::RecipientDiffers));
    assert_eq!(
        with(|p| p.appid = wxpay_worker::ids::AppId::parse("wx0").unwrap()),
        Decision::Refused(Refusal::RecipientDiffers)
    );
    assert_eq!(
        decide(&before, &number(2), &Fact::Paid(payment(2, 1)), later(20)),
        Decision::Refused(Refusal::UnknownAttempt)
    );
}

#[test]
fn a_coupon_does_not_make_the_amount_differ() {
    let mut p = payment(1, 1);
    p.cash_fee = Some(Fen::from_i64(85));
    p.settlement_total_fee = Some(Fen::from_i64(90));
    let change = applied(&order(OrderState::Payable, AttemptState::Payable), &Fact::Paid(p));
    assert_eq!(change.ledger.map(|l| l.amount), Some(Fen::from_i64(100)));
}

#[test]
fn the_paid_time_is_wechats_and_the_expiry_decides_what_is_late() {
    let before = order(OrderState::Payable, AttemptState::Payable);
    let in_time = applied(&before, &Fact::Paid(payment(1, 1)));
    assert_eq!(in_time.next.paid_by.as_ref().map(|p| p.paid_at), Some(later(10)));
    assert!(!in_time.next.flags.paid_late);
    let mut p = payment(1, 1);
    p.time_end = later(7201);
    let late = applied(&before, &Fact::Paid(p));
    assert!(late.next.flags.paid_late);
    assert!(matches!(late.news[..], [OrderEvent::PaidLate(..)]));
}

#[test]
fn a_second_payment_keeps_the_first_and_enters_the_ledger() {
    let mut before = order(OrderState::Paid, AttemptState::Paid);
    before.attempts.push(attempt(2, AttemptState::Payable));
    let Decision::Apply(change) = decide(&before, &number(2), &Fact::Paid(payment(2, 2)), later(20)) else { panic!() };
    assert_eq!(change.next.paid_by, before.paid_by);
    assert!(change.next.flags.paid_twice);
    assert_eq!(change.ledger.as_ref().map(|l| &l.transaction_id), Some(&transaction(2)));
    assert_eq!(change.next.attempts[1].transaction_id, Some(transaction(2)));
    // The same second payment again is no third one.
    assert_eq!(decide(&change.next, &number(2), &Fact::Paid(payment(2, 2)), later(20)), Decision::AlreadyApplied);
}

#[test]
fn an_unknown_outcome_is_asked_about_soon_and_never_reads_as_failed() {
    let unknown = applied(
        &order(OrderState::Requested, AttemptState::Created),
        &Fact::PlacementUnknown { why: "timeout".into(), said: None },
    );
    assert_eq!(unknown.next.queries.next_at, Some(later(25)));
    assert!(unknown.next.flags.outcome_unknown);
    for (_, fact) in facts() {
        if let Decision::Apply(change) = decide(&unknown.next, &number(1), &fact, later(20)) {
            assert_ne!(change.next.state, OrderState::Failed);
        }
    }
}

#[test]
fn a_number_used_up_before_it_was_offered_makes_way_for_the_next_up_to_a_bound() {
    let mut now = order(OrderState::Requested, AttemptState::Created);
    for n in 1..=wxpay_worker::order::MAX_ATTEMPTS {
        let Decision::Apply(change) = decide(&now, &number(n), &Fact::Closed, later(20)) else { panic!() };
        now = change.next;
    }
    assert_eq!(now.state, OrderState::Failed);
    let numbers: std::collections::HashSet<_> = now.attempts.iter().map(|a| a.out_trade_no.clone()).collect();
    assert_eq!(numbers.len(), wxpay_worker::order::MAX_ATTEMPTS as usize, "a number was used twice");
}

#[test]
fn an_order_wechat_never_heard_of_closes_after_its_expiry_and_not_before() {
    let before = order(OrderState::Requested, AttemptState::Unknown);
    let at = |seconds| summary(&decide(&before, &number(1), &Fact::NotFound, later(seconds)));
    assert_eq!(at(7100), "place");
    assert_eq!(at(7201), "ask", "after the expiry there is nothing to place");
    assert_eq!(at(7320), "closed/closed closed");
}

#[test]
fn a_mismatch_is_flagged_once_and_asked_about_at_once() {
    let before = order(OrderState::Payable, AttemptState::Payable);
    let change = flag_mismatch(&before, later(20)).unwrap();
    assert_eq!((change.next.state, change.next.queries.next_at), (OrderState::Payable, Some(later(20))));
    assert_eq!(change.next.version, before.version + 1);
    assert!(flag_mismatch(&change.next, later(20)).is_none());
    let paid = flag_mismatch(&order(OrderState::Paid, AttemptState::Paid), later(20)).unwrap();
    assert_eq!(paid.next.queries.next_at, Some(later(20)), "what contradicts a paid order is worth a question too");
}

#[test]
fn the_same_request_for_a_new_attempt_opens_one() {
    let request = Fact::AttemptRequested { trade_type: TradeType::Native, expires_at: later(9000) };
    let asked = applied(&order(OrderState::Payable, AttemptState::Payable), &request).next;
    let Decision::Apply(opened) = decide(&asked, &number(1), &Fact::Closed, later(400)) else { panic!() };
    assert_eq!(opened.next.attempts.len(), 2);
    // Requested again, in place of the first attempt, when the second is there already.
    assert_eq!(decide(&opened.next, &number(1), &request, later(401)), Decision::AlreadyApplied);
    let Decision::Apply(again) = decide(&opened.next, &number(2), &request, later(401)) else { panic!() };
    assert!(again.next.intent.is_some(), "a request in place of the second is another one");
}

#[test]
fn an_order_closed_because_it_was_asked_for_stays_closed_after_its_expiry() {
    let asked = applied(&order(OrderState::Payable, AttemptState::Payable), &Fact::CloseRequested).next;
    let Decision::Apply(closed) = decide(&asked, &number(1), &Fact::Closed, later(400)) else { panic!() };
    let request = Fact::AttemptRequested { trade_type: TradeType::Native, expires_at: later(20_000) };
    assert_eq!(decide(&closed.next, &number(1), &request, later(8000)), Decision::AlreadyApplied);
}

#[test]
fn a_payment_in_time_that_is_learnt_after_a_late_one_is_announced_and_the_late_one_is_the_surplus() {
    let policy = Policy { paid_late: Surplus::Hold, paid_twice: Surplus::Refund };
    let decide =
        |order: &Order, n, fact: &Fact| wxpay_worker::order::decide(order, &number(n), fact, later(8000), policy);
    let mut before = order(OrderState::Payable, AttemptState::Closed);
    before.attempts.push(attempt(2, AttemptState::Payable));
    let mut late = payment(1, 1);
    late.time_end = later(7500);
    let Decision::Apply(first) = decide(&before, 1, &Fact::Paid(late)) else { panic!() };
    assert!(first.next.flags.paid_late && !first.next.paid_reported && first.refund.is_none());
    let Decision::Apply(second) = decide(&first.next, 2, &Fact::Paid(payment(2, 2))) else { panic!() };
    let announced: Vec<_> =
        second.news.iter().map(|n| matches!(n, OrderEvent::Paid(p) if p.transaction_id == transaction(2))).collect();
    assert_eq!(announced, [true, false]);
    assert!(matches!(&second.news[1], OrderEvent::PaidTwice(p, Surplus::Refund) if p.transaction_id == transaction(1)));
    assert_eq!(second.refund.as_ref().map(|r| &r.transaction_id), Some(&transaction(1)));
    assert_eq!(second.next.paid_by.as_ref().map(|p| &p.transaction_id), Some(&transaction(2)));
}

#[test]
fn a_payment_of_which_something_went_back_is_a_payment_and_a_reason_to_query_again() {
    for state in [OrderState::Requested, OrderState::Payable, OrderState::Closed] {
        let order = order(state, AttemptState::Payable);
        let paid = decide(&order, &number(1), &Fact::Paid(payment(1, 1)), later(20));
        let refunded = decide(&order, &number(1), &Fact::Refunded(payment(1, 1)), later(20));
        let (Decision::Apply(paid), Decision::Apply(refunded)) = (paid, refunded) else { panic!("{state:?}") };
        assert_eq!(refunded.next.queries.next_at, Some(later(20)), "{state:?}");
        let queries = paid.next.queries;
        assert_eq!(Order { queries, ..refunded.next.clone() }, paid.next);
        assert_eq!((refunded.ledger, refunded.news), (paid.ledger, paid.news));
    }
    let policy = Policy { paid_late: Surplus::Refund, paid_twice: Surplus::Refund };
    let closed = order(OrderState::Closed, AttemptState::Closed);
    for (fact, sent_back) in [(Fact::Paid(payment(1, 1)), true), (Fact::Refunded(payment(1, 1)), false)] {
        let Decision::Apply(change) = wxpay_worker::order::decide(&closed, &number(1), &fact, later(20), policy) else {
            panic!("a change")
        };
        assert_eq!(change.refund.is_some(), sent_back, "what went back already is not sent back once more");
    }
}
