//! The whole table of refunds, and what holds whatever arrives in whatever order.

use proptest::prelude::*;
use wxpay_worker::event::fact::{RefundFact, RefundSeen, RefundStanding};
use wxpay_worker::ids::{MerchantKey, OrderNo, OutRefundNo};
use wxpay_worker::money::Fen;
use wxpay_worker::order::Queries;
use wxpay_worker::refund::{
    Refund, RefundDecision, RefundEvent, RefundOrigin, RefundRefusal, RefundState, decide_refund, next_refund_poll,
};

use super::support::{NOW, error, later, number, transaction};

const REFUND_ID: &str = "50300001";

pub fn refund(state: RefundState) -> Refund {
    let taken_on = matches!(state, RefundState::Processing | RefundState::Abnormal | RefundState::Succeeded);
    Refund {
        // No jitter: the tests tell times to the second.
        id: 0,
        version: 3,
        merchant: MerchantKey::parse("main").unwrap(),
        order_no: Some(OrderNo::parse("A100001").unwrap()),
        refund_no: OutRefundNo::parse("R100001").unwrap(),
        out_trade_no: number(1),
        transaction_id: transaction(1),
        amount: Fen::from_i64(30),
        total: Fen::from_i64(100),
        currency: "CNY".into(),
        state,
        origin: RefundOrigin::Api,
        refund_id: taken_on.then(|| REFUND_ID.to_owned()),
        error: (state == RefundState::Failed).then(|| error("NOAUTH")),
        delayed: false,
        unanswered_at: (state == RefundState::Unknown).then_some(NOW),
        queries: Queries { done: 0, next_at: (!state.is_final()).then(|| later(60)), answered_at: None },
        created_at: NOW,
        succeeded_at: (state == RefundState::Succeeded).then(|| later(5)),
    }
}

fn status(status: RefundStanding) -> RefundFact {
    let (refund_id, transaction_id) = (REFUND_ID.to_owned(), transaction(1));
    RefundFact::Status(RefundSeen { refund_id, transaction_id, refund_fee: Fen::from_i64(30), status })
}

pub fn facts() -> Vec<RefundFact> {
    vec![
        RefundFact::Accepted { refund_id: REFUND_ID.into() },
        RefundFact::Refused(error("NOAUTH")),
        RefundFact::Unknown { why: "timeout".into(), said: None },
        RefundFact::NotYet(error("NOTENOUGH")),
        RefundFact::TooFrequent(error("FREQUENCY_LIMITED")),
        status(RefundStanding::Processing),
        status(RefundStanding::Success { at: Some(later(9)) }),
        status(RefundStanding::Change),
        status(RefundStanding::Closed),
        RefundFact::NotFound,
    ]
}

/// What a decision did, in few words.
fn summary(decision: &RefundDecision) -> String {
    match decision {
        RefundDecision::AlreadyApplied => "-".into(),
        RefundDecision::AskAgain { .. } => "ask".into(),
        RefundDecision::Doubtful(refusal) => format!("{}?", refusal.reason()),
        RefundDecision::Refused(refusal) => refusal.reason().into(),
        RefundDecision::Apply(change) => {
            let news = change.news.map(|n| format!(" {}", n.as_str())).unwrap_or_default();
            let ledger = if change.ledger.is_some() { " ledger" } else { "" };
            let released = if change.released { " released" } else { "" };
            format!("{}{news}{ledger}{released}", change.next.state.as_str())
        }
    }
}

#[rustfmt::skip]
fn table() -> Vec<(RefundState, [&'static str; 10])> {
    use RefundState as S;
    let (done, gone) = ("succeeded succeeded ledger", "failed failed released");
    // accepted, refused, unknown, not yet, too frequent, PROCESSING, SUCCESS, CHANGE, REFUNDCLOSE, not found
    vec![
        (S::Requested, ["processing", gone, "unknown", "requested delayed", "unknown", "processing", done,
                        "abnormal abnormal", gone, "ask"]),
        // Ten seconds after the unanswered call a refusal proves nothing.
        (S::Unknown, ["processing", "ask", "unknown", "unknown delayed", "unknown", "processing", done,
                      "abnormal abnormal", gone, "ask"]),
        (S::Processing, ["-", "-", "-", "-", "-", "ask", done, "abnormal abnormal", gone, "ask"]),
        (S::Abnormal, ["-", "-", "-", "-", "-", "ask", done, "ask", gone, "ask"]),
        // What is no end may be older than the end that is known.
        (S::Succeeded, ["-", "-", "-", "-", "-", "undone_after_success?", "-", "undone_after_success?",
                        "undone_after_success", "-"]),
        (S::Failed, ["alive_after_failure?", "-", "-", "-", "-", "alive_after_failure?", "alive_after_failure",
                     "alive_after_failure?", "-", "-"]),
    ]
}

#[test]
fn every_fact_does_to_every_refund_what_the_table_says() {
    let table = table();
    assert_eq!(table.len(), RefundState::ALL.len());
    for (state, expected) in table {
        for (fact, expected) in facts().iter().zip(expected) {
            assert_eq!(summary(&decide_refund(&refund(state), fact, later(10))), expected, "{state:?} {fact:?}");
        }
    }
}

#[test]
fn a_refusal_counts_a_minute_after_the_unanswered_call() {
    let refused = RefundFact::Refused(error("USER_ACCOUNT_ABNORMAL"));
    let unknown = refund(RefundState::Unknown);
    assert_eq!(decide_refund(&unknown, &refused, later(59)), RefundDecision::AskAgain { at: later(60) });
    let RefundDecision::Apply(change) = decide_refund(&unknown, &refused, later(60)) else { panic!("a change") };
    assert_eq!((change.next.state, change.released), (RefundState::Failed, true));
    assert_eq!(change.next.queries.next_at, None);
}

#[test]
fn a_refusal_of_a_refund_with_a_call_without_recorded_end_counts_a_minute_later_too() {
    let refused = RefundFact::Refused(error("USER_ACCOUNT_ABNORMAL"));
    let found = Refund { unanswered_at: Some(NOW), ..refund(RefundState::Requested) };
    assert_eq!(decide_refund(&found, &refused, later(59)), RefundDecision::AskAgain { at: later(60) });
    assert_eq!(summary(&decide_refund(&found, &refused, later(60))), "failed failed released");
}

#[test]
fn an_unanswered_call_of_a_clock_that_was_ahead_holds_a_refusal_for_a_minute_and_not_for_that_day() {
    let refused = RefundFact::Refused(error("USER_ACCOUNT_ABNORMAL"));
    let ahead = Refund { unanswered_at: Some(later(86_400)), ..refund(RefundState::Unknown) };
    assert_eq!(decide_refund(&ahead, &refused, later(10)), RefundDecision::AskAgain { at: later(70) });
    // Hosts' clocks differ a little: such a time is believed.
    let little = Refund { unanswered_at: Some(later(40)), ..refund(RefundState::Unknown) };
    assert_eq!(decide_refund(&little, &refused, later(10)), RefundDecision::AskAgain { at: later(100) });
}

#[test]
fn another_amount_payment_or_refund_id_changes_nothing() {
    let seen = |refund_id: &str, n: u32, fee: i64| {
        let status = RefundStanding::Success { at: None };
        let (refund_id, transaction_id) = (refund_id.to_owned(), transaction(n));
        RefundFact::Status(RefundSeen { refund_id, transaction_id, refund_fee: Fen::from_i64(fee), status })
    };
    let decide = |fact| decide_refund(&refund(RefundState::Processing), &fact, later(10));
    assert_eq!(decide(seen(REFUND_ID, 1, 31)), RefundDecision::Refused(RefundRefusal::Differs));
    assert_eq!(decide(seen(REFUND_ID, 2, 30)), RefundDecision::Refused(RefundRefusal::AnotherPayment));
    assert_eq!(decide(seen("50300002", 1, 30)), RefundDecision::Refused(RefundRefusal::RefundIdDiffers));
    let accepted = decide(RefundFact::Accepted { refund_id: "50300002".into() });
    assert_eq!(accepted, RefundDecision::Refused(RefundRefusal::RefundIdDiffers));
}

#[test]
fn the_ledger_has_wechats_time_and_ours_only_where_wechat_names_none() {
    for (at, expected) in [(Some(later(9)), later(9)), (None, later(10))] {
        let fact = status(RefundStanding::Success { at });
        let RefundDecision::Apply(change) = decide_refund(&refund(RefundState::Processing), &fact, later(10)) else {
            panic!("a change")
        };
        assert_eq!(change.ledger.unwrap().occurred_at, expected);
        assert_eq!(change.next.succeeded_at, Some(expected));
    }
}

#[test]
fn refunds_are_queried_ever_more_rarely() {
    let seconds = |state: RefundState, done: u32, now: u64| {
        next_refund_poll(&refund(state), done, later(now)).map(|at| at.since(later(now)).as_secs())
    };
    let day = 24 * 3600;
    for (done, pause) in [60, 300, 900, 1800, 3600, 3600].into_iter().enumerate() {
        assert_eq!(seconds(RefundState::Processing, done as u32, 10), Some(pause));
    }
    assert_eq!(seconds(RefundState::Processing, 30, day), Some(day));
    for (done, pause) in [5, 10, 20, 40, 80, 160, 300, 300].into_iter().enumerate() {
        assert_eq!(seconds(RefundState::Unknown, done as u32, 10), Some(pause));
    }
    assert_eq!(seconds(RefundState::Unknown, 400, day), Some(3600));
    assert_eq!(seconds(RefundState::Requested, 2, 10), Some(240));
    assert_eq!(
        (seconds(RefundState::Abnormal, 0, 10), seconds(RefundState::Abnormal, 0, day)),
        (Some(3600), Some(day))
    );
    assert_eq!((seconds(RefundState::Succeeded, 0, 10), seconds(RefundState::Failed, 0, 10)), (None, None));
}

#[test]
fn what_a_refund_waits_for_is_announced_and_again_when_it_is_something_else() {
    let mut now = refund(RefundState::Requested);
    let mut news = Vec::new();
    for (i, code) in ["NOTENOUGH", "NOTENOUGH", "CERT_ERROR", "CERT_ERROR"].into_iter().enumerate() {
        if let RefundDecision::Apply(change) = decide_refund(&now, &RefundFact::NotYet(error(code)), later(i as u64)) {
            news.extend(change.news);
            now = change.next;
        }
    }
    assert_eq!(news, [RefundEvent::Delayed, RefundEvent::Delayed]);
    assert_eq!(now.state, RefundState::Requested);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn money_is_entered_or_released_once_and_ends_are_final(
        history in prop::collection::vec((prop::sample::select(facts()), 1u64..400), 1..40)
    ) {
        let mut now = refund(RefundState::Requested);
        let (mut entered, mut released, mut clock) = (0, 0, 0);
        for (fact, pause) in history {
            clock += pause;
            match decide_refund(&now, &fact, later(clock)) {
                RefundDecision::Apply(change) => {
                    prop_assert!(!now.state.is_final(), "an end was left");
                    prop_assert_eq!(change.next.version, now.version + 1);
                    entered += usize::from(change.ledger.is_some());
                    released += usize::from(change.released);
                    let silence = matches!(
                        fact,
                        RefundFact::Unknown { .. } | RefundFact::NotFound | RefundFact::TooFrequent(_)
                    );
                    prop_assert!(!silence || change.next.state != RefundState::Failed, "silence read as failure");
                    now = change.next;
                }
                RefundDecision::AskAgain { at } => prop_assert!(at > later(clock) && !now.state.is_final()),
                RefundDecision::AlreadyApplied | RefundDecision::Doubtful(_) | RefundDecision::Refused(_) => {}
            }
            prop_assert_eq!(now.queries.next_at.is_none(), now.state.is_final(), "an open refund is queried again");
            prop_assert_eq!(now.succeeded_at.is_some(), now.state == RefundState::Succeeded);
            prop_assert!(now.state.wants_call() || now.refund_id.is_some() || now.state == RefundState::Failed);
        }
        prop_assert_eq!(entered, usize::from(now.state == RefundState::Succeeded));
        prop_assert_eq!(released, usize::from(now.state == RefundState::Failed));
    }
}
