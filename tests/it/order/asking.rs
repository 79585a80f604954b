//! When WeChat is asked: the rhythm of the questions, and that none of them is lost for want of an answer.

use wxpay_worker::event::fact::Fact;
use wxpay_worker::order::{AttemptState, Decision, OrderState, next_poll, next_unanswered};

use super::support::*;

#[test]
fn an_unknown_outcome_is_asked_about_ever_more_rarely_up_to_five_minutes() {
    let mut before = order(OrderState::Requested, AttemptState::Unknown);
    let pauses = (0..8).map(|done| {
        before.queries.done = done;
        match decide(&before, &number(1), &Fact::Unpaid { trade_state: "NOTPAY".into() }, later(20)) {
            Decision::AskAgain { at, .. } => at.since(later(20)).as_secs(),
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(pauses.collect::<Vec<_>>(), [10, 20, 40, 80, 160, 300, 300, 300]);
}

#[test]
fn questions_come_at_the_documented_times() {
    let before = order(OrderState::Payable, AttemptState::Payable);
    let next = |done, at| wxpay_worker::order::next_query(&before, done, later(at)).since(NOW).as_secs();
    assert_eq!((0..7).map(|done| next(done, 0)).collect::<Vec<_>>(), [30, 60, 120, 300, 600, 1200, 1800]);
    assert_eq!(next(6, 6000), 7200, "at the expiry");
    assert_eq!(next(7, 3000), 6600, "hourly");
    assert_eq!(next(8, 6600), 7200, "at the expiry");
    assert_eq!(next(8, 7200), 7320, "two minutes after it");
    assert_eq!(next(9, 7320), 7320 + 3600, "hourly for a day");
    assert_eq!(next(40, 86_400), 2 * 86_400, "daily then");
    let mut long = before.clone();
    long.expires_at = later(7 * 86_400);
    let next = |done, at| wxpay_worker::order::next_query(&long, done, later(at)).since(NOW).as_secs();
    assert_eq!(next(7, 4000), 7600, "a far expiry is no reason to wait for it");
    assert_eq!(next(30, 100_000), 186_400);
    assert_eq!(next(37, 7 * 86_400 - 100), 7 * 86_400);
}

#[test]
fn a_close_without_an_answer_is_tried_again_within_minutes_however_long_the_order_may_be_paid() {
    let mut before = order(OrderState::Payable, AttemptState::Payable);
    before.expires_at = later(7 * 24 * 3600);
    before.queries.done = 40;
    let asked = {
        let Decision::Apply(asked) = decide(&before, &number(1), &Fact::CloseRequested, later(20)) else { panic!() };
        asked.next
    };
    for done in 0..50 {
        let pause = next_poll(&asked, done, later(4000)).unwrap().since(later(4000));
        assert!(pause.as_secs() <= 300, "{done}: {pause:?}");
    }
}

#[test]
fn what_had_no_answer_is_asked_again_within_minutes_however_often_it_was_asked() {
    let mut before = order(OrderState::Payable, AttemptState::Payable);
    before.expires_at = later(7 * 86_400);
    for (at, pause) in [(0, 300), (5000, 300), (7 * 86_400, 300), (8 * 86_400, 3600)] {
        assert_eq!(next_unanswered(&before, later(at)).since(later(at)).as_secs(), pause);
    }
}

#[test]
fn a_number_that_was_offered_before_another_way_to_pay_was_refused_is_queried_twice_more() {
    let mut before = order(OrderState::Payable, AttemptState::Closed);
    before.attempts[0].prepay = Some(prepay("wx1"));
    before.attempts.push(attempt(2, AttemptState::Created));
    before.queries.done = 5;
    let refused = Fact::PlacementRefused(error("NOAUTH"));
    let Decision::Apply(failed) = decide(&before, &number(2), &refused, later(400)) else { panic!() };
    assert_eq!((failed.next.state, failed.next.queries.done), (OrderState::Failed, 0));
    assert_eq!(failed.next.queries.next_at, Some(later(520)));
    assert_eq!(next_poll(&failed.next, 1, later(520)), Some(later(2320)));
    assert_eq!(next_poll(&failed.next, 2, later(2320)), None);
    // Nothing was ever offered: there is nothing to learn.
    let Decision::Apply(failed) =
        decide(&order(OrderState::Requested, AttemptState::Created), &number(1), &refused, later(1))
    else {
        panic!()
    };
    assert_eq!((failed.next.state, failed.next.queries.next_at), (OrderState::Failed, None));
}

#[test]
fn a_paid_order_whose_other_number_can_still_be_paid_is_asked_about_at_once() {
    for (other, at_once) in
        [(AttemptState::Payable, true), (AttemptState::Unknown, true), (AttemptState::Closed, false)]
    {
        let mut before = order(OrderState::Payable, AttemptState::Payable);
        before.attempts.push(attempt(2, other));
        let Decision::Apply(paid) = decide(&before, &number(1), &Fact::Paid(payment(1, 1)), later(20)) else {
            panic!()
        };
        assert_eq!(paid.next.queries.next_at == Some(later(20)), at_once, "{other:?}");
    }
}

#[test]
fn a_payment_in_the_second_of_the_expiry_is_in_time() {
    let before = order(OrderState::Payable, AttemptState::Payable);
    for (after_expiry, late) in [(0, false), (1, true)] {
        let mut payment = payment(1, 1);
        payment.time_end = before.expires_at.after(std::time::Duration::from_secs(after_expiry));
        let Decision::Apply(paid) = decide(&before, &number(1), &Fact::Paid(payment), later(8000)) else { panic!() };
        assert_eq!(paid.next.flags.paid_late, late);
    }
}
