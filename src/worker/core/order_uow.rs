//! An order while the facts of one group are decided on it, one after the other, each on what the one before left.

use std::time::Duration;

use super::domain_events;
use super::domain_events::source_name;
use super::fact::{Applied, Item};
use crate::clock::Timestamp;
use crate::event::domain::EncodedEvent;
use crate::ids::{AppId, MchId, OutTradeNo};
use crate::new_refund::policy_refund;
use crate::order::{Attempt, Decision, LedgerEntry, Order, Refusal, decide, flag_mismatch};
use crate::store::{AttemptParams, Evidence, NewRefund, NotificationRecord, OrderCommit, StoredOrder, Verdict};

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
    ledger: Vec<(i64, LedgerEntry)>,
    events: Vec<EncodedEvent>,
    notifications: Vec<NotificationRecord>,
    refunds: Vec<NewRefund>,
    /// The source that reported a payment, and how long after it was made.
    pub(in crate::worker) paid: Option<(&'static str, Duration)>,
}

impl UnitOfWork {
    pub(in crate::worker) fn new(stored: StoredOrder) -> UnitOfWork {
        let (before, attempts_before) = (stored.order.version, stored.order.attempts.len());
        UnitOfWork { stored, before, attempts_before, commit: Parts::default() }
    }

    pub(in crate::worker) fn take(&mut self, item: &Item, now: Timestamp) -> Applied {
        let order = &self.stored.order;
        let policy = item.config.merchant(item.merchant.as_str()).map(|m| m.policy).unwrap_or_default();
        let (applied, verdict) = match decide(order, &item.out_trade_no, &item.fact, now, policy) {
            Decision::Apply(change) => {
                let change = *change;
                let version = change.next.version;
                self.commit.evidence.push((version, evidence(item)));
                if let Some(entry) = &change.ledger {
                    self.commit.paid = Some((source_name(&item.source), now.since(entry.occurred_at)));
                }
                self.commit.ledger.extend(change.ledger.map(|l| (version, l)));
                let news =
                    change.news.into_iter().map(|n| domain_events::of_order(&change.next, n, &item.source).encode(now));
                self.commit.events.extend(news);
                let back = change.refund.and_then(|auto| policy_refund(&item.config, &change.next, &auto, now));
                self.commit.refunds.extend(back);
                self.advance(change.next, item);
                (Applied::Changed(Box::new(self.stored.clone())), Verdict::Settled)
            }
            Decision::AlreadyApplied => (Applied::Already, Verdict::Duplicate),
            Decision::AskAgain { at, resubmit } => {
                (Applied::AskAgain { order: Box::new(self.stored.clone()), at, resubmit }, Verdict::NoPayment)
            }
            Decision::Refused(refusal) => self.refuse(item, refusal, now),
        };
        self.record(item, verdict);
        applied
    }

    /// Nothing changes but a mark on the order, its evidence and an alert.
    pub(in crate::worker) fn refuse(&mut self, item: &Item, refusal: Refusal, now: Timestamp) -> (Applied, Verdict) {
        let mark = flag_mismatch(&self.stored.order, now);
        let first = mark.is_some();
        if let Some(change) = mark {
            self.commit.evidence.push((change.next.version, evidence(item)));
            let news = domain_events::of_refusal(&change.next, &refusal, item).map(|n| n.encode(now));
            self.commit.events.extend(news);
            self.advance(change.next, item);
        }
        let verdict = Verdict::Parked(refusal.reason().into());
        (Applied::Refused { refusal, first }, verdict)
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
        if stored.order.version == before && commit.notifications.is_empty() {
            return None;
        }
        Some(OrderCommit {
            before,
            attempts_before,
            next: stored.order,
            new_params: stored.params[attempts_before..].to_vec(),
            wanted: stored.wanted,
            evidence: commit.evidence,
            ledger: commit.ledger,
            events: commit.events,
            notifications: commit.notifications,
            refunds: commit.refunds,
        })
    }
}

fn evidence(item: &Item) -> Evidence {
    Evidence {
        out_trade_no: item.out_trade_no.clone(),
        fact: item.fact.clone(),
        source: item.source.clone(),
        received_at: item.received_at,
    }
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
