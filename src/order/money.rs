//! What money does to an order: paid, paid late, paid twice, or held because it does not fit.
//!
//! Money that WeChat took is never rejected: each payment enters the ledger once, under one class. Only one that is the
//! order's in amount, currency and recipient, and not older than its attempt, can make the order paid.

use std::time::Duration;

use super::decision::{AutoRefund, Change, Decision, OrderEvent, PaymentChange, PaymentEntry, Refusal};
use super::payment::{HeldReason, OrderPayment, PaymentClass};
use super::schedule;
use super::state::{Attempt, AttemptState, CNY, Intent, Order, OrderState, PaidBy, Policy, Surplus};
use super::steps::{already, bump, clear_unknown, ended, held_and_over};
use crate::clock::Timestamp;
use crate::event::fact::Payment;
use crate::ids::OutTradeNo;
use crate::money::Fen;

/// What a payment leads to.
struct Received {
    class: PaymentClass,
    reason: Option<HeldReason>,
    news: Vec<OrderEvent>,
    refund: Option<AutoRefund>,
}

pub(super) fn paid(order: &Order, i: usize, payment: &Payment, now: Timestamp, policy: Policy) -> Decision {
    if let Some(known) = order.payment(&payment.transaction_id) {
        return contradicts(known, payment).map_or_else(|| already(order, now), Decision::Refused);
    }
    let attempt = &order.attempts[i];
    let mut next = bump(order);
    next.queries.done = 0;
    let received = match misfit(order, attempt, payment, policy) {
        Some(reason) => held(&mut next, i, payment, reason),
        None => {
            count_attempt(order, &mut next, i, payment);
            next.intent = None;
            fits(order, &mut next, payment, policy)
        }
    };
    clear_unknown(&mut next);
    let Received { mut class, reason, mut news, refund } = received;
    if policy.goes_back == Some(PaymentClass::Returned) {
        class = PaymentClass::Returned;
    }
    news.extend(reason.filter(|_| class == PaymentClass::Held).map(|r| OrderEvent::PaymentHeld(payment.clone(), r)));
    next.payments.push(OrderPayment {
        transaction_id: payment.transaction_id.clone(),
        out_trade_no: payment.out_trade_no.clone(),
        amount: payment.total_fee,
        currency: payment.fee_type.clone(),
        class,
        reason,
        reserved: Fen::ZERO,
    });
    for p in &mut next.payments {
        // What the policy sends back is reserved in the same change.
        if let Some(refund) = refund.as_ref().filter(|refund| refund.transaction_id == p.transaction_id) {
            p.reserved = refund.amount;
        }
    }
    if held_and_over(&next, now) {
        next = ended(next, now);
        news.push(OrderEvent::Closed);
    } else {
        // What else of it can be paid must be closed, or it will be paid twice.
        next.queries.next_at = if next.any_live() { Some(now) } else { schedule::next_poll(&next, 0, now) };
    }
    let entry = PaymentEntry {
        out_trade_no: payment.out_trade_no.clone(),
        transaction_id: payment.transaction_id.clone(),
        mch_id: payment.mch_id.clone(),
        appid: payment.appid.clone(),
        amount: payment.total_fee,
        currency: payment.fee_type.clone(),
        occurred_at: payment.time_end,
        class,
        reason,
    };
    Decision::Apply(Box::new(Change { next, payment: Some(entry), reclassed: None, news, refund }))
}

/// Applies the payment and schedules a query in the same change, so that a crash cannot lose the refunds still to be
/// discovered.
pub(super) fn refunded(order: &Order, i: usize, payment: &Payment, now: Timestamp, policy: Policy) -> Decision {
    // What went back already is not sent back once more.
    let keep = |surplus| if surplus == Surplus::Refund { Surplus::Hold } else { surplus };
    let policy = Policy { paid_late: keep(policy.paid_late), paid_twice: keep(policy.paid_twice), ..policy };
    match paid(order, i, payment, now, policy) {
        Decision::Apply(mut change) if change.payment.is_some() => {
            change.next.queries.next_at = Some(now);
            Decision::Apply(change)
        }
        other @ (Decision::Apply(_) | Decision::AlreadyApplied | Decision::AskAgain { .. } | Decision::Refused(_)) => {
            other
        }
    }
}

/// How a payment differs from the order it names, or from what is known of it. WeChat's answer to a question is
/// believed; a message that WeChat posted is a reason to ask first.
pub fn mismatch(order: &Order, out_trade_no: &OutTradeNo, payment: &Payment) -> Option<Refusal> {
    let attempt = order.attempt(out_trade_no)?;
    match order.payment(&payment.transaction_id) {
        Some(known) => contradicts(known, payment),
        None => differs(order, attempt, payment),
    }
}

/// A payment that is known has one amount.
fn contradicts(known: &OrderPayment, payment: &Payment) -> Option<Refusal> {
    let (ours, theirs) = (known.amount, payment.total_fee);
    (ours != theirs).then_some(Refusal::AmountDiffers { ours, theirs })
}

fn differs(order: &Order, attempt: &Attempt, payment: &Payment) -> Option<Refusal> {
    if payment.mch_id != attempt.mch_id || payment.appid != attempt.appid {
        return Some(Refusal::RecipientDiffers);
    }
    if payment.fee_type != CNY {
        return Some(Refusal::CurrencyDiffers);
    }
    let (ours, theirs) = (order.amount, payment.total_fee);
    (ours != theirs).then_some(Refusal::AmountDiffers { ours, theirs })
}

/// Why a payment does not count whatever the order's state.
fn misfit(order: &Order, attempt: &Attempt, payment: &Payment, policy: Policy) -> Option<HeldReason> {
    if differs(order, attempt, payment).is_some() {
        return Some(HeldReason::Mismatched);
    }
    // Another call may have placed the number since.
    let unplaced = attempt.state == AttemptState::Created || attempt.setup_refusals.is_some();
    if policy.goes_back.is_some() || policy.never_placed && unplaced {
        return Some(HeldReason::BeforeOrder);
    }
    let older_than_attempt = payment.time_end.after(policy.paid_before_slack) < attempt.created_at;
    older_than_attempt.then_some(HeldReason::BeforeOrder)
}

/// The money is the merchant's and not the order's: no more is to be paid on it until an operator decides.
fn held(next: &mut Order, i: usize, payment: &Payment, reason: HeldReason) -> Received {
    match reason {
        HeldReason::BeforeOrder => next.flags.paid_before_order = true,
        HeldReason::Mismatched | HeldReason::Late | HeldReason::Twice => next.flags.amount_mismatch = true,
    }
    // WeChat takes no second payment of a number.
    let attempt = &mut next.attempts[i];
    if attempt.state != AttemptState::Paid {
        attempt.state = AttemptState::Paid;
        attempt.transaction_id = Some(payment.transaction_id.clone());
        attempt.error = None;
    }
    next.intent = next.intent.filter(|intent| *intent == Intent::Close);
    Received { class: PaymentClass::Held, reason: Some(reason), news: Vec::new(), refund: None }
}

/// The attempt has its payment; one that was held gives way to one that fits.
fn count_attempt(order: &Order, next: &mut Order, i: usize, payment: &Payment) {
    let known = next.attempts[i].transaction_id.as_ref();
    let misfits = |p: &OrderPayment| {
        matches!(p.reason, Some(HeldReason::BeforeOrder | HeldReason::Mismatched)) && p.class != PaymentClass::Credited
    };
    let replaces = known.and_then(|id| order.payment(id)).is_some_and(misfits);
    let attempt = &mut next.attempts[i];
    if attempt.state != AttemptState::Paid || replaces {
        attempt.state = AttemptState::Paid;
        attempt.transaction_id = Some(payment.transaction_id.clone());
        attempt.error = None;
    }
}

fn counts(next: &mut Order, payment: &Payment) {
    next.state = OrderState::Paid;
    next.failure = None;
    next.paid_by = Some(PaidBy { transaction_id: payment.transaction_id.clone(), paid_at: payment.time_end });
}

/// What a payment that fits is to its order: the payment, a late one, or one too many.
fn fits(order: &Order, next: &mut Order, payment: &Payment, policy: Policy) -> Received {
    let in_time = |grace: Duration| payment.time_end <= order.expires_at.after(grace);
    match order.state {
        OrderState::Requested | OrderState::Payable if in_time(policy.late_grace) => {
            counts(next, payment);
            next.paid_reported = true;
            let news = vec![OrderEvent::Paid(payment.clone())];
            Received { class: PaymentClass::Credited, reason: None, news, refund: None }
        }
        OrderState::Requested | OrderState::Payable | OrderState::Closed | OrderState::Failed => {
            counts(next, payment);
            next.flags.paid_late = true;
            let mut received = surplus(payment, HeldReason::Late, policy.paid_late);
            if policy.paid_late == Surplus::Accept {
                next.paid_reported = true;
                received.news.push(OrderEvent::Paid(payment.clone()));
            }
            received
        }
        // The late payment was recorded first and `order.paid` was not emitted for it; this payment was in time.
        OrderState::Paid if in_time(Duration::ZERO) && !order.paid_reported => {
            let earlier = counted(order, payment);
            counts(next, payment);
            next.flags.paid_late = false;
            next.flags.paid_twice = true;
            next.paid_reported = true;
            let mut news = vec![OrderEvent::Paid(payment.clone())];
            news.extend(earlier.clone().map(|earlier| OrderEvent::PaidTwice(earlier, policy.paid_twice)));
            // One that was sent back as late has the same number for its refund, and is not sent back once more.
            let refund = earlier.and_then(|earlier| sent_back(&earlier, policy.paid_twice, HeldReason::Twice));
            Received { class: PaymentClass::Credited, reason: None, news, refund }
        }
        OrderState::Paid => {
            next.flags.paid_twice = true;
            surplus(payment, HeldReason::Twice, policy.paid_twice)
        }
    }
}

/// What the merchant's policy makes of money that came late or twice.
fn surplus(payment: &Payment, reason: HeldReason, policy: Surplus) -> Received {
    let event = match reason {
        HeldReason::Late => OrderEvent::PaidLate(payment.clone(), policy),
        HeldReason::Twice | HeldReason::BeforeOrder | HeldReason::Mismatched => {
            OrderEvent::PaidTwice(payment.clone(), policy)
        }
    };
    let class = match policy {
        Surplus::Accept => PaymentClass::Credited,
        Surplus::Refund | Surplus::Hold => PaymentClass::Held,
    };
    Received { class, reason: Some(reason), news: vec![event], refund: sent_back(payment, policy, reason) }
}

/// The payment that counted so far, in the words of the one that takes its place.
fn counted(order: &Order, like: &Payment) -> Option<Payment> {
    let paid_by = order.paid_by.as_ref()?;
    let attempt = order.attempts.iter().find(|a| a.transaction_id.as_ref() == Some(&paid_by.transaction_id))?;
    Some(Payment {
        mch_id: attempt.mch_id.clone(),
        appid: attempt.appid.clone(),
        out_trade_no: attempt.out_trade_no.clone(),
        transaction_id: paid_by.transaction_id.clone(),
        time_end: paid_by.paid_at,
        openid: None,
        bank_type: None,
        cash_fee: None,
        settlement_total_fee: None,
        coupons: Vec::new(),
        ..like.clone()
    })
}

fn sent_back(payment: &Payment, surplus: Surplus, reason: HeldReason) -> Option<AutoRefund> {
    (surplus == Surplus::Refund).then(|| AutoRefund {
        out_trade_no: payment.out_trade_no.clone(),
        transaction_id: payment.transaction_id.clone(),
        amount: payment.total_fee,
        reason: match reason {
            HeldReason::Late => "paid_late",
            HeldReason::Twice | HeldReason::BeforeOrder | HeldReason::Mismatched => "paid_twice",
        },
    })
}

/// Credits a held payment because an operator decides so.
pub(super) fn accepted(order: &Order, i: usize, payment: &Payment, now: Timestamp) -> Decision {
    let Some(known) = order.payment(&payment.transaction_id) else {
        return Decision::Refused(Refusal::UnknownPayment);
    };
    let from = known.class;
    match from {
        PaymentClass::Credited => return Decision::AlreadyApplied,
        PaymentClass::Returned => return Decision::Refused(Refusal::GivenBack),
        PaymentClass::Held | PaymentClass::Unmatched if known.reserved > Fen::ZERO => {
            return Decision::Refused(Refusal::GivenBack);
        }
        PaymentClass::Held | PaymentClass::Unmatched => {}
    }
    // In another currency, or of another merchant or app, it is nothing that the order could be paid with.
    if matches!(differs(order, &order.attempts[i], payment), Some(Refusal::CurrencyDiffers | Refusal::RecipientDiffers))
    {
        return Decision::Refused(Refusal::ForeignPayment);
    }
    let mut next = bump(order);
    for p in next.payments.iter_mut().filter(|p| p.transaction_id == payment.transaction_id) {
        p.class = PaymentClass::Credited;
    }
    let event = if order.paid_reported {
        OrderEvent::PaymentAccepted(payment.clone())
    } else {
        counts(&mut next, payment);
        next.paid_reported = true;
        next.intent = None;
        next.queries.done = 0;
        next.queries.next_at = if next.any_live() { Some(now) } else { schedule::next_poll(&next, 0, now) };
        OrderEvent::PaidByAccept(payment.clone())
    };
    let transaction_id = payment.transaction_id.clone();
    let reclassed = Some(PaymentChange { transaction_id, from, to: PaymentClass::Credited });
    Decision::Apply(Box::new(Change { next, payment: None, reclassed, news: vec![event], refund: None }))
}
