//! `docs/states.md` is drawn from the decision itself: every transition it makes, and no other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use wxpay_worker::event::fact::{Fact, RefundFact, RefundStanding};
use wxpay_worker::order::{AttemptState, Decision, Intent, MAX_SETUP_REFUSALS, OrderState};
use wxpay_worker::refund::{RefundDecision, RefundState, decide_refund};
use wxpay_worker::trade::TradeType;

use super::refunds;
use super::support::*;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/states.md");

type Arrows = BTreeMap<(&'static str, &'static str), BTreeSet<&'static str>>;

/// What a fact is called in the picture.
fn cause(fact: &Fact) -> &'static str {
    match fact {
        Fact::PrepayIssued(_) => "prepay id issued",
        Fact::PlacementRefused(_) => "placing refused",
        Fact::PlacementUnknown { .. } => "placing without an answer",
        Fact::SetupRefused { .. } => "setup refused",
        Fact::Closed => "WeChat says closed",
        Fact::Paid(_) | Fact::Refunded(_) => "paid",
        Fact::PaymentAccepted(_) => "held payment accepted",
        Fact::Unpaid { .. } => "unpaid",
        Fact::NotFound => "unknown to WeChat",
        Fact::CloseRequested => "close asked for",
        Fact::AttemptRequested { .. } => "new attempt asked for",
    }
}

/// Every transition of orders and of attempts that some fact makes at some time, whatever was asked for before.
fn arrows() -> (Arrows, Arrows) {
    let (mut orders, mut attempts) = (Arrows::new(), Arrows::new());
    let intents =
        [None, Some(Intent::Close), Some(Intent::NewAttempt { trade_type: TradeType::App, expires_at: later(9000) })];
    for (order_state, attempt_state) in reachable() {
        for intent in intents.into_iter().filter(|intent| intent.is_none() || order_state.is_open()) {
            for seconds in [20, 400, 7201, 7400] {
                let refusals = [None, (attempt_state == AttemptState::Unknown).then_some(MAX_SETUP_REFUSALS - 1)];
                let setup = Fact::SetupRefused { error: error("SIGNERROR"), alone: true };
                let facts = facts().into_iter().map(|(_, fact)| fact).chain([setup]);
                for (fact, refusals) in facts.flat_map(|fact| refusals.map(|n| (fact.clone(), n))) {
                    let mut before = wxpay_worker::order::Order { intent, ..order(order_state, attempt_state) };
                    before.attempts[0].setup_refusals = refusals;
                    let Decision::Apply(change) = decide(&before, &number(1), &fact, later(seconds)) else { continue };
                    let (from, to) = (order_state.as_str(), change.next.state.as_str());
                    if from != to {
                        orders.entry((from, to)).or_default().insert(cause(&fact));
                    }
                    let (from, to) = (attempt_state.as_str(), change.next.attempts[0].state.as_str());
                    if from != to {
                        attempts.entry((from, to)).or_default().insert(cause(&fact));
                    }
                }
            }
        }
    }
    (orders, attempts)
}

/// The pairs an order with one attempt can really be in.
fn reachable() -> Vec<(OrderState, AttemptState)> {
    use AttemptState as A;
    use OrderState as O;
    let mut pairs = vec![
        (O::Requested, A::Created),
        (O::Requested, A::Unknown),
        (O::Payable, A::Payable),
        (O::Payable, A::Created),
        (O::Payable, A::Unknown),
        (O::Closed, A::Closed),
        (O::Failed, A::Failed),
        (O::Failed, A::Closed),
    ];
    pairs.extend(A::ALL.iter().map(|a| (O::Paid, *a)));
    pairs
}

/// What a fact about a refund is called in the picture.
fn refund_cause(fact: &RefundFact) -> &'static str {
    match fact {
        RefundFact::Accepted { .. } => "accepted",
        RefundFact::Refused(_) => "refused",
        RefundFact::Unknown { .. } => "no answer",
        RefundFact::NotYet(_) => "not yet",
        RefundFact::TooFrequent(_) => "too often",
        RefundFact::Status(seen) => match seen.status {
            RefundStanding::Processing => "PROCESSING",
            RefundStanding::Success { .. } => "SUCCESS",
            RefundStanding::Change => "CHANGE",
            RefundStanding::Closed => "REFUNDCLOSE",
        },
        RefundFact::NotFound => "unknown to WeChat",
    }
}

/// Every transition of refunds.
fn refund_arrows() -> Arrows {
    let mut arrows = Arrows::new();
    for state in RefundState::ALL {
        for (seconds, fact) in [10, 90].iter().flat_map(|s| refunds::facts().into_iter().map(move |fact| (*s, fact))) {
            let RefundDecision::Apply(change) = decide_refund(&refunds::refund(*state), &fact, later(seconds)) else {
                continue;
            };
            let (from, to) = (state.as_str(), change.next.state.as_str());
            if from != to {
                arrows.entry((from, to)).or_default().insert(refund_cause(&fact));
            }
        }
    }
    arrows
}

fn draw(arrows: &Arrows) -> String {
    let mut text = String::from("```mermaid\nstateDiagram-v2\n");
    for ((from, to), causes) in arrows {
        let causes: Vec<&str> = causes.iter().copied().collect();
        writeln!(text, "    {from} --> {to}: {}", causes.join(", ")).unwrap();
    }
    text.push_str("```\n");
    text
}

#[test]
fn the_diagram_shows_what_the_decision_does() {
    let (orders, attempts) = arrows();
    let drawn = [
        ("<!-- orders -->\n", draw(&orders)),
        ("<!-- attempts -->\n", draw(&attempts)),
        ("<!-- refunds -->\n", draw(&refund_arrows())),
    ];
    let page = std::fs::read_to_string(PAGE).unwrap();
    let mut redrawn = page.clone();
    for (mark, diagram) in &drawn {
        let start = redrawn.find(mark).unwrap_or_else(|| panic!("{mark} is missing")) + mark.len();
        let end = redrawn[start..].find("<!-- end -->").expect("the diagram has no end") + start;
        redrawn.replace_range(start..end, diagram);
    }
    if std::env::var_os("WXPAY_TEST_REDRAW").is_some() {
        std::fs::write(PAGE, &redrawn).unwrap();
    }
    assert!(page == redrawn, "docs/states.md is out of date; WXPAY_TEST_REDRAW=1 draws it anew:\n{redrawn}");
}
