//! The whole table. A row is: order state, attempt state, and what each fact of `facts()` does, in its order.

use wxpay_worker::clock::Timestamp;
use wxpay_worker::event::fact::{Fact, Payment};
use wxpay_worker::ids::{AppId, MchId};
use wxpay_worker::money::Fen;
use wxpay_worker::order::{
    AttemptState, Decision, HeldReason, Order, OrderEvent, OrderState, PaymentClass, Policy, Queries, Refusal, Surplus,
    flag_mismatch, mismatch,
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
                    OrderEvent::PaidByAccept(_) => " paid by accept",
                    OrderEvent::PaymentAccepted(_) => " accepted",
                    OrderEvent::PaymentHeld(..) => " held",
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
        (O::Paid, A::Created, ["paid/payable", "paid/failed", "paid/unknown", "paid/closed", "-",
                               "paid/paid twice held",
                               "-", "-", "-", "-"]),
        (O::Paid, A::Unknown, ["paid/payable", "-", "-", "paid/closed", "-", "paid/paid twice held", "-", "-", "-",
                               "-"]),
        (O::Paid, A::Payable, ["paid/payable", "-", "-", "paid/closed", "-", "paid/paid twice held", "-", "-", "-",
                               "-"]),
        (O::Paid, A::Paid, ["-", "-", "-", "closed_after_paid", "-", "paid/paid twice held", "-", "-", "-", "-"]),
        (O::Paid, A::Closed, ["-", "-", "-", "-", "-", "paid/paid twice held", "-", "-", "-", "-"]),
        (O::Paid, A::Failed, ["-", "-", "-", "-", "-", "paid/paid twice held", "-", "-", "-", "-"]),
        (O::Closed, A::Created, ["closed/payable", "closed/failed", "closed/unknown", "closed/closed",
                                 "paid/paid late held", "paid/paid late held", "-", "-", "-", "-"]),
        (O::Closed, A::Unknown, ["closed/payable", "-", "-", "closed/closed", "paid/paid late held",
                                 "paid/paid late held", "-",
                                 "-", "-", "-"]),
        (O::Closed, A::Payable, ["closed/payable", "-", "-", "closed/closed", "paid/paid late held",
                                 "paid/paid late held", "-",
                                 "-", "-", "-"]),
        (O::Closed, A::Paid, ["-", "-", "-", "closed_after_paid", "-", "paid/paid late held", "-", "-", "-", "-"]),
        (O::Closed, A::Closed, ["-", "-", "-", "-", "paid/paid late held", "paid/paid late held", "-", "-", "-", "-"]),
        (O::Closed, A::Failed, ["-", "-", "-", "-", "paid/paid late held", "paid/paid late held", "-", "-", "-", "-"]),
        (O::Failed, A::Created, ["failed/payable", "failed/failed", "failed/unknown", "failed/closed",
                                 "paid/paid late held", "paid/paid late held", "-", "-", "-", "-"]),
        (O::Failed, A::Unknown, ["failed/payable", "-", "-", "failed/closed", "paid/paid late held",
                                 "paid/paid late held", "-",
                                 "-", "-", "-"]),
        (O::Failed, A::Payable, ["failed/payable", "-", "-", "failed/closed", "paid/paid late held",
                                 "paid/paid late held", "-",
                                 "-", "-", "-"]),
        (O::Failed, A::Paid, ["-", "-", "-", "closed_after_paid", "-", "paid/paid late held", "-", "-", "-", "-"]),
        (O::Failed, A::Closed, ["-", "-", "-", "-", "paid/paid late held", "paid/paid late held", "-", "-", "-", "-"]),
        (O::Failed, A::Failed, ["-", "-", "-", "-", "paid/paid late held", "paid/paid late held", "-", "-", "-", "-"]),
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
fn a_payment_of_another_amount_currency_merchant_or_app_is_held() {
    let before = order(OrderState::Payable, AttemptState::Payable);
    let (ours, theirs) = (Fen::from_i64(100), Fen::from_i64(99));
    type Changed = fn(&mut Payment);
    let changes: [(Changed, Refusal); 4] = [
        (|p| p.total_fee = Fen::from_i64(99), Refusal::AmountDiffers { ours, theirs }),
        (|p| p.fee_type = "USD".into(), Refusal::CurrencyDiffers),
        (|p| p.mch_id = MchId::parse("10000101").unwrap(), Refusal::RecipientDiffers),
        (|p| p.appid = AppId::parse("wx0").unwrap(), Refusal::RecipientDiffers),
    ];
    for (change, refusal) in changes {
        let mut p = payment(1, 1);
        change(&mut p);
        assert_eq!(mismatch(&before, &number(1), &p), Some(refusal));
        let held = applied(&before, &Fact::Paid(p.clone()));
        assert_eq!((held.next.state, held.next.paid_reported), (OrderState::Payable, false));
        assert!(held.next.is_blocked() && held.next.flags.amount_mismatch);
        let entry = held.payment.unwrap();
        assert_eq!((entry.class, entry.reason), (PaymentClass::Held, Some(HeldReason::Mismatched)));
        assert_eq!((entry.amount, &entry.currency), (p.total_fee, &p.fee_type));
        assert!(matches!(held.news[..], [OrderEvent::PaymentHeld(_, HeldReason::Mismatched)]));
        assert_eq!(mismatch(&held.next, &number(1), &p), None, "what is entered is known");
        p.total_fee = Fen::from_i64(98);
        let contradicts = decide(&held.next, &number(1), &Fact::Paid(p), later(20));
        assert!(matches!(contradicts, Decision::Refused(Refusal::AmountDiffers { .. })), "and has one amount");
    }
    assert_eq!(
        decide(&before, &number(2), &Fact::Paid(payment(2, 1)), later(20)),
        Decision::Refused(Refusal::UnknownAttempt)
    );
}

#[test]
fn a_held_order_takes_no_more_money_and_ends_by_its_time_or_on_request() {
    let mut old = payment(1, 1);
    old.time_end = Timestamp::from_ms(NOW.as_ms() - 601_000);
    let mut before = order(OrderState::Payable, AttemptState::Payable);
    before.attempts.push(attempt(2, AttemptState::Payable));
    let held = applied(&before, &Fact::Paid(old.clone())).next;
    assert!(held.flags.paid_before_order && held.wants_close(later(20)));
    assert_eq!(held.queries.next_at, Some(later(20)), "the other attempt is to be closed");
    let switch = Fact::AttemptRequested { trade_type: TradeType::Native, expires_at: later(9000) };
    assert_eq!(decide(&held, &number(2), &switch, later(20)), Decision::AlreadyApplied);
    let Decision::Apply(closed) = decide(&held, &number(2), &Fact::Closed, later(400)) else { panic!() };
    assert_eq!(closed.next.state, OrderState::Payable, "it may be accepted until its time is over");
    assert_eq!(closed.next.queries.next_at, Some(later(430)));
    // Whatever WeChat answers after the expiry, it ends.
    for fact in [Fact::Paid(old), Fact::NotFound, Fact::Unpaid { trade_state: "NOTPAY".into() }] {
        let Decision::Apply(ended) = decide(&closed.next, &number(1), &fact, later(7200)) else { panic!("{fact:?}") };
        assert_eq!((ended.next.state, &ended.news[..]), (OrderState::Closed, &[OrderEvent::Closed][..]));
    }
    let Decision::Apply(asked) = decide(&closed.next, &number(2), &Fact::CloseRequested, later(401)) else { panic!() };
    assert_eq!(asked.next.state, OrderState::Closed);
}

#[test]
fn the_slack_and_the_grace_are_measured_to_the_millisecond() {
    let before = order(OrderState::Payable, AttemptState::Payable);
    let paid_at = |ms: i64| {
        let mut p = payment(1, 1);
        p.time_end = Timestamp::from_ms(NOW.as_ms() + ms);
        applied(&before, &Fact::Paid(p)).next
    };
    assert!(paid_at(-600_000).paid_reported);
    assert!(paid_at(-600_001).flags.paid_before_order);
    assert!(paid_at(7_260_000).paid_reported, "within the grace");
    let late = paid_at(7_260_001);
    assert!(late.flags.paid_late && !late.paid_reported);
}

#[test]
fn a_coupon_does_not_make_the_amount_differ() {
    let mut p = payment(1, 1);
    p.cash_fee = Some(Fen::from_i64(85));
    p.settlement_total_fee = Some(Fen::from_i64(90));
    let change = applied(&order(OrderState::Payable, AttemptState::Payable), &Fact::Paid(p));
    assert_eq!(change.payment.map(|p| p.amount), Some(Fen::from_i64(100)));
}

#[test]
fn the_paid_time_is_wechats_and_the_expiry_decides_what_is_late() {
    let before = order(OrderState::Payable, AttemptState::Payable);
    let in_time = applied(&before, &Fact::Paid(payment(1, 1)));
    assert_eq!(in_time.next.paid_by.as_ref().map(|p| p.paid_at), Some(later(10)));
    assert!(!in_time.next.flags.paid_late);
    let mut p = payment(1, 1);
    p.time_end = later(7261);
    let late = applied(&before, &Fact::Paid(p));
    assert!(late.next.flags.paid_late);
    assert!(matches!(late.news[..], [OrderEvent::PaidLate(..), OrderEvent::PaymentHeld(..)]));
}

#[test]
fn a_second_payment_keeps_the_first_and_enters_the_ledger() {
    let mut before = order(OrderState::Paid, AttemptState::Paid);
    before.attempts.push(attempt(2, AttemptState::Payable));
    let Decision::Apply(change) = decide(&before, &number(2), &Fact::Paid(payment(2, 2)), later(20)) else { panic!() };
    assert_eq!(change.next.paid_by, before.paid_by);
    assert!(change.next.flags.paid_twice);
    assert_eq!(change.payment.as_ref().map(|p| &p.transaction_id), Some(&transaction(2)));
    assert_eq!(change.next.attempts[1].transaction_id, Some(transaction(2)));
    // The same second payment again is no third one.
    assert_eq!(decide(&change.next, &number(2), &Fact::Paid(payment(2, 2)), later(20)), Decision::AlreadyApplied);
}

#[test]
fn an_unknown_outcome_is_asked_about_soon_and_never_reads_as_failed() {
    let unknown = applied(
        &order(OrderState::Requested, AttemptState::Created),
        &Fact::PlacementUnknown { why: "timeout".into(), said: None, not_called: false },
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
    assert_eq!(numbers.len(), wxpay_worker::order::MAX_ATTEMPTS as usize, "a number was used twice held");
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
    // Once the question had no answer, the next message asks again, of an order that has ended too.
    let mut ended = change.next.clone();
    (ended.state, ended.queries) = (OrderState::Closed, Queries { done: 2, next_at: None, answered_at: None });
    let again = flag_mismatch(&ended, later(99)).unwrap().next.queries;
    assert_eq!((again.done, again.next_at), (0, Some(later(99))));
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
    let policy = Policy { paid_late: Surplus::Hold, paid_twice: Surplus::Refund, ..Policy::default() };
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
        assert_eq!((refunded.payment, refunded.news), (paid.payment, paid.news));
    }
    let policy = Policy { paid_late: Surplus::Refund, paid_twice: Surplus::Refund, ..Policy::default() };
    let closed = order(OrderState::Closed, AttemptState::Closed);
    for (fact, sent_back) in [(Fact::Paid(payment(1, 1)), true), (Fact::Refunded(payment(1, 1)), false)] {
        let Decision::Apply(change) = wxpay_worker::order::decide(&closed, &number(1), &fact, later(20), policy) else {
            panic!("a change")
        };
        assert_eq!(change.refund.is_some(), sent_back, "what went back already is not sent back once more");
    }
}
