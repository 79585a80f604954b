//! An order while the facts of one group are decided on it, one after the other, each on what the one before left.

use std::time::Duration;

use super::fact::{Applied, Item};
use crate::clock::Timestamp;
use crate::event::domain::EncodedEvent;
use crate::event::domain::{DomainData, DomainEvent, NotificationRejected};
use crate::event::fact::Fact;
use crate::ids::{AppId, MchId, OutTradeNo, TransactionId};
use crate::new_refund::policy_refund;
use crate::order::{
    Attempt, Decision, HeldReason, Order, OrderState, PaymentClass, PaymentEntry, Policy, Refusal, decide,
    flag_mismatch, mismatch, of_order,
};
use crate::store::queue::Finished;
use crate::store::{
    AttemptParams, CallRecord, Evidence, EvidenceSource, NewRefund, NotificationRecord, OrderCommit, StoredOrder,
    Verdict,
};
use crate::wechat::outcome::Api;

/// An order while the facts of one group are decided on it.
pub(in crate::worker) struct UnitOfWork {
    pub(in crate::worker) stored: StoredOrder,
    before: i64,
    attempts_before: usize,
    pub(in crate::worker) commit: Parts,
}

#[derive(Default)]
pub(in crate::worker) struct Parts {
    evidence: Vec<(i64, Evidence)>,
    payments: Vec<(i64, PaymentEntry)>,
    events: Vec<EncodedEvent>,
    notifications: Vec<NotificationRecord>,
    refunds: Vec<NewRefund>,
    calls: Vec<CallRecord>,
    finished: Vec<Finished>,
    /// The source that reported a payment, and how long after it was made.
    pub(in crate::worker) paid: Option<(&'static str, Duration)>,
    /// Payments that are held, with the reason.
    pub(in crate::worker) held: Vec<(TransactionId, HeldReason)>,
}

impl UnitOfWork {
    pub(in crate::worker) fn new(stored: StoredOrder) -> UnitOfWork {
        let (before, attempts_before) = (stored.order.version, stored.order.attempts.len());
        UnitOfWork { stored, before, attempts_before, commit: Parts::default() }
    }

    /// Applies a fact. `clocks_differ` is how far WeChat's clock and ours may be apart; `goes_back` is the class of a
    /// payment that is given back as one of no order.
    pub(in crate::worker) fn take(
        &mut self,
        item: &Item,
        now: Timestamp,
        clocks_differ: Duration,
        goes_back: Option<PaymentClass>,
    ) -> Applied {
        self.take_calls(item);
        let order = &self.stored.order;
        let merchants = item.config.merchant(item.merchant.as_str()).map(|m| m.policy).unwrap_or_default();
        let orders = &item.config.orders;
        let paid_before_slack = orders.paid_before_slack + clocks_differ;
        let (late_grace, never_placed) = (orders.late_grace, item.never_placed);
        let policy = Policy { paid_before_slack, late_grace, goes_back, never_placed, ..merchants };
        if let Some(refusal) = self.contradiction(item) {
            let (applied, verdict) = self.refuse(item, refusal, now);
            self.record(item, verdict);
            return applied;
        }
        let (applied, verdict) = match decide(order, &item.out_trade_no, &item.fact, now, policy) {
            Decision::Apply(change) => {
                let change = *change;
                let version = change.next.version;
                let evidence = self.evidence(item, change.next.state);
                self.commit.evidence.push((version, evidence));
                if let Some(entry) = &change.payment {
                    self.commit.paid = Some((item.source.name(), now.since(entry.occurred_at)));
                    let held = entry.reason.filter(|_| entry.class == PaymentClass::Held);
                    self.commit.held.extend(held.map(|reason| (entry.transaction_id.clone(), reason)));
                }
                self.commit.payments.extend(change.payment.map(|p| (version, p)));
                let (next, asked, source) = (&change.next, &self.stored.content, item.source.name());
                let news = change.news.into_iter().map(|n| of_order(next, asked, n, source).encode(now));
                self.commit.events.extend(news);
                let back = change.refund.and_then(|auto| policy_refund(&item.config, &change.next, &auto, now));
                self.commit.refunds.extend(back);
                self.advance(change.next, item);
                (self.changed(item, now), Verdict::Settled)
            }
            Decision::AlreadyApplied => (Applied::Already, Verdict::Duplicate),
            Decision::AskAgain { at, resubmit } => {
                (Applied::AskAgain { order: Box::new(self.stored.clone()), at, resubmit }, Verdict::NoPayment)
            }
            Decision::Refused(refusal) => self.refuse(item, refusal, now),
        };
        if applied.ends_delivery() {
            self.commit.finished.extend(item.ending.iter().map(|ending| ending.finished().clone()));
        }
        self.record(item, verdict);
        applied
    }

    fn changed(&self, item: &Item, now: Timestamp) -> Applied {
        if item.notification.is_some() {
            return Applied::Settled;
        }
        Applied::Changed(Box::new(StoredOrder { updated_at: now, placing_until: None, ..self.stored.clone() }))
    }

    /// What WeChat posted and does not fit the order: WeChat is asked before it is entered.
    fn contradiction(&self, item: &Item) -> Option<Refusal> {
        match &item.fact {
            Fact::Paid(payment) if item.notification.is_some() => {
                mismatch(&self.stored.order, &item.out_trade_no, payment)
            }
            _ => None,
        }
    }

    /// Nothing changes but a mark on the order, its evidence and an alert.
    pub(in crate::worker) fn refuse(&mut self, item: &Item, refusal: Refusal, now: Timestamp) -> (Applied, Verdict) {
        let first = !self.stored.order.flags.amount_mismatch;
        if let Some(change) = flag_mismatch(&self.stored.order, now) {
            let evidence = self.evidence(item, change.next.state);
            self.commit.evidence.push((change.next.version, evidence));
            let news = of_refusal(&change.next, &refusal, item).filter(|_| first).map(|n| n.encode(now));
            self.commit.events.extend(news);
            self.advance(change.next, item);
        }
        let verdict = Verdict::Parked(refusal.reason().into());
        (Applied::Refused { refusal, first }, verdict)
    }

    /// Has the item's calls written with the order. Before anything is made of the item.
    pub(in crate::worker) fn take_calls(&mut self, item: &Item) {
        self.commit.calls.extend(item.calls.iter().cloned());
    }

    /// The evidence of a change to `state`. The call that brought it is in it; the item's other calls have their rows.
    fn evidence(&mut self, item: &Item, state: OrderState) -> Evidence {
        let api = match item.source {
            EvidenceSource::UnifiedOrder => Some(Api::UnifiedOrder),
            EvidenceSource::Query { .. } => Some(Api::OrderQuery),
            EvidenceSource::Close => Some(Api::CloseOrder),
            EvidenceSource::Notification { .. } | EvidenceSource::Request { .. } => None,
        };
        let own = self.commit.calls.len().checked_sub(item.calls.len());
        let brought = item.calls.iter().rposition(|call| api.is_some_and(|api| call.api == api.name()));
        Evidence {
            out_trade_no: item.out_trade_no.clone(),
            fact: item.fact.clone(),
            source: item.source.clone(),
            received_at: item.received_at,
            took: own.zip(brought).map(|(own, i)| self.commit.calls.remove(own + i).took),
            state,
        }
    }

    pub(in crate::worker) fn record(&mut self, item: &Item, verdict: Verdict) {
        if let Some(record) = &item.notification {
            let order_id = Some(self.stored.order.id);
            self.commit.notifications.push(NotificationRecord { verdict, order_id, ..record.clone() });
        }
    }

    /// WeChat signs a notification the way the order was signed; one that differs is genuine and worth knowing of.
    pub(in crate::worker) fn is_signed_differently(&self, item: &Item) -> bool {
        let n = self.stored.order.attempts.iter().position(|a| a.out_trade_no == item.out_trade_no);
        let ours = n.and_then(|n| self.stored.params.get(n)).map(|p| p.sign_type.as_str());
        item.sign_type.is_some_and(|theirs| ours.is_some_and(|ours| ours != theirs.as_str()))
    }

    /// Takes over the decided order; a new attempt is sent what was wanted for it, or repeats the parameters of the one
    /// before, under its own number. Its payment is compared with what was sent: the configuration may name another
    /// merchant or app than it did for the attempt before.
    fn advance(&mut self, mut next: Order, item: &Item) {
        for attempt in &mut next.attempts[self.stored.params.len()..] {
            let wanted = item.wanted.clone().or_else(|| self.stored.wanted.take());
            let Some(like) = wanted.or_else(|| self.stored.params.last().cloned()) else { continue };
            let params = renumbered(like, &attempt.out_trade_no);
            place_with(attempt, &params);
            self.stored.params.push(params);
        }
        if next.intent.is_none() {
            self.stored.wanted = None;
        } else if next.intent != self.stored.order.intent {
            self.stored.wanted = item.wanted.clone();
        }
        self.stored.order = next;
    }

    pub(in crate::worker) fn into_commit(self) -> Option<OrderCommit> {
        let UnitOfWork { stored, before, attempts_before, commit } = self;
        let is_empty = commit.notifications.is_empty() && commit.calls.is_empty() && commit.finished.is_empty();
        if stored.order.version == before && is_empty {
            return None;
        }
        Some(OrderCommit {
            before,
            attempts_before,
            next: stored.order,
            new_params: stored.params[attempts_before..].to_vec(),
            wanted: stored.wanted,
            evidence: commit.evidence,
            payments: commit.payments,
            reclassed: None,
            audit: None,
            approved: None,
            events: commit.events,
            notifications: commit.notifications,
            calls: commit.calls,
            finished: commit.finished,
            refunds: commit.refunds,
        })
    }
}

/// The alert about a verified notification that contradicts its order; other sources have no such event.
fn of_refusal(order: &Order, refusal: &Refusal, item: &Item) -> Option<DomainEvent> {
    let record = item.notification.as_ref()?;
    Some(DomainEvent {
        merchant: order.merchant.clone(),
        order_no: Some(order.order_no.clone()),
        data: DomainData::NotificationRejected(NotificationRejected {
            notification_id: record.id,
            out_trade_no: Some(item.out_trade_no.to_string()),
            reason: refusal.reason(),
            message: refusal.to_string(),
        }),
    })
}

/// The attempt is the merchant's and the app's that its parameters name.
fn place_with(attempt: &mut Attempt, params: &AttemptParams) {
    let named = |field: &str| params.params.get(field).cloned();
    if let Some(mch_id) = named("mch_id").and_then(|id| MchId::parse(id).ok()) {
        attempt.mch_id = mch_id;
    }
    if let Some(appid) = named("appid").and_then(|id| AppId::parse(id).ok()) {
        attempt.appid = appid;
    }
}

fn renumbered(mut params: AttemptParams, out_trade_no: &OutTradeNo) -> AttemptParams {
    params.params.insert("out_trade_no".into(), out_trade_no.to_string());
    params
}
