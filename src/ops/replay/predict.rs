//! What each selected row would come to, predicted with the functions that decide, in order, each on what the one
//! before leaves. Nothing is written and WeChat is not called.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::types::Tools;
use crate::clock::Timestamp;
use crate::config::Merchant;
use crate::event::command::{NoticeKind, NotifyReceived, QueryDue};
use crate::event::envelope::{Envelope, EventData};
use crate::event::fact::{Fact, Payment};
use crate::ids::{MerchantKey, OrderNo, OutRefundNo, OutTradeNo, TransactionId};
use crate::order::{Decision, Order, PaymentClass, Policy, Refusal, decide, flag_mismatch, mismatch};
use crate::refund::RefundState;
use crate::store::{
    Candidate, DbError, EndpointState, KnownPayment, Predicted, ReplayContent, ReplaySource, StoredMessage,
    StoredNotification,
};
use crate::wechat::v2::notify::{Notice, NoticeResult, parse_and_verify};
use crate::wechat::v2::refund_notify::{RefundHint, is_refund, parse_and_decrypt};
use crate::wechat::v2::refund_query::RefundStatus;

/// Rows that are read together.
const PAGE: usize = 500;
/// What a dead letter waits as.
const PARKED: &str = "parked";

/// A prediction.
#[derive(Debug, Clone)]
pub(super) struct Prediction {
    pub predicted: Predicted,
    pub reason: Option<String>,
    pub out_trade_no: Option<String>,
}

impl Prediction {
    fn would_settle() -> Prediction {
        Prediction { predicted: Predicted::WouldSettle, reason: None, out_trade_no: None }
    }

    fn no_op(reason: &str) -> Prediction {
        Prediction { predicted: Predicted::NoOp, reason: Some(reason.to_owned()), out_trade_no: None }
    }

    fn still_fails(reason: &str) -> Prediction {
        Prediction { predicted: Predicted::StillFails, reason: Some(reason.to_owned()), out_trade_no: None }
    }

    fn about(self, out_trade_no: &OutTradeNo) -> Prediction {
        Prediction { out_trade_no: Some(out_trade_no.to_string()), ..self }
    }
}

/// A row that was read and verified.
enum Verified {
    Payment(MerchantKey, Box<Notice>),
    Refund(MerchantKey, RefundHint),
    /// A poll of an order, of which WeChat decides if the order is there.
    Poll(MerchantKey, OrderNo),
    /// A delivery, of which its endpoint decides.
    Webhook(String),
    /// What no order or refund decides.
    Known(Prediction),
}

/// Predicts row after row.
pub(super) struct Predictor<'a> {
    tools: Tools<'a>,
    now: Timestamp,
    clocks_differ: Duration,
    orders: HashMap<i64, Order>,
    by_attempt: HashMap<(MerchantKey, OutTradeNo), i64>,
    read: HashSet<(MerchantKey, OutTradeNo)>,
    payments: HashMap<(MerchantKey, TransactionId), KnownPayment>,
    refunds: HashSet<(MerchantKey, OutRefundNo, RefundStatus)>,
}

impl<'a> Predictor<'a> {
    pub fn new(tools: Tools<'a>) -> Predictor<'a> {
        Predictor {
            tools,
            now: tools.clock.now(),
            clocks_differ: tools.wechat.clock_difference(tools.clock).unwrap_or_default(),
            orders: HashMap::new(),
            by_attempt: HashMap::new(),
            read: HashSet::new(),
            payments: HashMap::new(),
            refunds: HashSet::new(),
        }
    }

    /// The predictions, in the order of the rows.
    pub async fn all(mut self, rows: &[Candidate]) -> Result<Vec<Prediction>, DbError> {
        let mut predictions = Vec::with_capacity(rows.len());
        for page in rows.chunks(PAGE) {
            let verified = self.verified(page).await?;
            self.read_orders(&verified).await?;
            for row in verified {
                predictions.push(match row {
                    Verified::Known(prediction) => prediction,
                    Verified::Payment(merchant, notice) => self.payment(&merchant, &notice),
                    Verified::Refund(merchant, hint) => self.refund(&merchant, &hint).await?,
                    Verified::Poll(merchant, order_no) => self.poll(&merchant, &order_no).await?,
                    Verified::Webhook(endpoint) => self.webhook(&endpoint).await?,
                });
            }
        }
        Ok(predictions)
    }

    async fn verified(&self, page: &[Candidate]) -> Result<Vec<Verified>, DbError> {
        let mut ids: HashMap<ReplaySource, Vec<&str>> = HashMap::new();
        for row in page {
            ids.entry(row.source).or_default().push(&row.source_id);
        }
        let (mut contents, mut unreadable) = (HashMap::new(), HashSet::new());
        for (source, ids) in ids {
            match self.tools.store.replay_contents(source, &ids).await {
                Ok(found) => contents.extend(found.into_iter().map(|(id, content)| ((source, id), content))),
                // One row cannot be read: that must not hide what the others would come to.
                Err(DbError::Defect(_)) => {
                    for id in ids {
                        match self.tools.store.replay_contents(source, &[id]).await {
                            Ok(found) => {
                                contents.extend(found.into_iter().map(|(id, content)| ((source, id), content)))
                            }
                            Err(DbError::Defect(_)) => drop(unreadable.insert((source, id))),
                            Err(e) => return Err(e),
                        }
                    }
                }
                Err(e) => return Err(e),
            }
        }
        let verified = page.iter().map(|row| match contents.get(&(row.source, row.source_id.clone())) {
            None if unreadable.contains(&(row.source, row.source_id.as_str())) => {
                Verified::Known(Prediction::still_fails("defect"))
            }
            None => Verified::Known(Prediction::still_fails("gone")),
            Some(ReplayContent::Notification(notification)) => self.notification(notification),
            Some(ReplayContent::DeadLetter { message, state }) if state == PARKED => self.message(message),
            Some(ReplayContent::DeadLetter { state, .. }) => Verified::Known(Prediction::no_op(state)),
            Some(ReplayContent::Event { relayed, .. }) => Verified::Known(self.event(*relayed)),
            Some(ReplayContent::Webhook(delivery)) => Verified::Webhook(delivery.endpoint_id.clone()),
        });
        Ok(verified.collect())
    }

    fn event(&self, relayed: bool) -> Prediction {
        match (self.tools.bus.has_outside_subscribers(), relayed) {
            (true, true) => Prediction::would_settle(),
            (true, false) => Prediction::no_op("not_published"),
            (false, _) => Prediction::no_op("no_subscribers"),
        }
    }

    fn notification(&self, n: &StoredNotification) -> Verified {
        let is_refund = is_refund(&n.body).unwrap_or_else(|| n.kind.as_deref() == Some("refund"));
        match self.tools.config.merchant(&n.merchant) {
            Some(merchant) => self.bytes(merchant, &n.body, is_refund, n.received_at),
            None => Verified::Known(Prediction::still_fails("unknown_merchant")),
        }
    }

    /// A dead letter.
    fn message(&self, message: &StoredMessage) -> Verified {
        let Ok(event) = Envelope::<serde_json::Value>::of_any_type(&message.payload) else {
            return Verified::Known(Prediction::still_fails("malformed"));
        };
        let merchant = message.subject.split('.').nth(2).and_then(|key| self.tools.config.merchant(key));
        let Some(merchant) = merchant else {
            return Verified::Known(Prediction::still_fails("unknown_merchant"));
        };
        if let Ok(Envelope { data, .. }) = Envelope::<QueryDue>::parse(&message.payload) {
            return Verified::Poll(merchant.key.clone(), data.order_no);
        }
        if event.event_type != NotifyReceived::TYPE {
            // What it comes to is up to WeChat.
            return Verified::Known(Prediction::would_settle());
        }
        match Envelope::<NotifyReceived>::parse(&message.payload) {
            Ok(Envelope { data, .. }) => {
                self.bytes(merchant, &data.body, data.kind == NoticeKind::Refund, data.received_at)
            }
            Err(_) => Verified::Known(Prediction::still_fails("malformed")),
        }
    }

    fn bytes(&self, merchant: &Merchant, body: &[u8], is_refund: bool, received_at: Timestamp) -> Verified {
        let apps = self.tools.config.app_ids(merchant);
        let key = merchant.key.clone();
        let verified = if is_refund {
            parse_and_decrypt(body, merchant, &apps, received_at).map(|hint| Verified::Refund(key, hint))
        } else {
            let notice = parse_and_verify(body, merchant, &apps, received_at);
            notice.map(|notice| Verified::Payment(key, Box::new(notice)))
        };
        verified.unwrap_or_else(|e| Verified::Known(Prediction::still_fails(e.reason())))
    }

    /// Reads the orders and payments that the rows name and no row before named.
    async fn read_orders(&mut self, rows: &[Verified]) -> Result<(), DbError> {
        let mut numbers: HashMap<MerchantKey, (Vec<OutTradeNo>, Vec<TransactionId>)> = HashMap::new();
        for row in rows {
            let Verified::Payment(merchant, notice) = row else { continue };
            let of_merchant = numbers.entry(merchant.clone()).or_default();
            if self.read.insert((merchant.clone(), notice.out_trade_no.clone())) {
                of_merchant.0.push(notice.out_trade_no.clone());
            }
            if let NoticeResult::Paid(payment) = &notice.result
                && !self.payments.contains_key(&(merchant.clone(), payment.transaction_id.clone()))
            {
                of_merchant.1.push(payment.transaction_id.clone());
            }
        }
        for (merchant, (attempts, payments)) in numbers {
            for stored in self.tools.store.orders_by_out_trade_no(&merchant, &attempts).await? {
                // Of an order with several attempts, an earlier row may have read it and changed it since.
                let order = stored.order;
                for attempt in &order.attempts {
                    self.by_attempt.insert((merchant.clone(), attempt.out_trade_no.clone()), order.id);
                }
                self.orders.entry(order.id).or_insert(order);
            }
            let known = self.tools.store.known_payments(&merchant, &payments).await?;
            self.payments.extend(known.into_iter().map(|(number, known)| ((merchant.clone(), number), known)));
        }
        Ok(())
    }

    fn payment(&mut self, merchant: &MerchantKey, notice: &Notice) -> Prediction {
        let number = &notice.out_trade_no;
        let NoticeResult::Paid(payment) = &notice.result else {
            return Prediction::no_op("no_payment").about(number);
        };
        let id = self.by_attempt.get(&(merchant.clone(), number.clone())).copied();
        let Some(order) = id.and_then(|id| self.orders.get(&id)) else {
            return Prediction::still_fails("unknown_order").about(number);
        };
        let known = self.payments.get(&(merchant.clone(), payment.transaction_id.clone())).copied();
        let decided = match mismatch(order, number, payment) {
            Some(refusal) => Decision::Refused(refusal),
            None => self.decided(order, merchant, number, payment, known),
        };
        let (prediction, next) = match decided {
            Decision::Apply(change) => (Prediction::would_settle(), Some(change.next)),
            Decision::AlreadyApplied => (Prediction::no_op("already_applied"), None),
            Decision::AskAgain { .. } => (Prediction::no_op("no_payment"), None),
            Decision::Refused(refusal) => {
                let flagged = flag_mismatch(order, self.now).map(|change| change.next);
                (Prediction::still_fails(refusal.reason()), flagged)
            }
        };
        if let Some(next) = next {
            if prediction.predicted == Predicted::WouldSettle {
                let entered =
                    KnownPayment { order_id: Some(next.id), class: PaymentClass::Credited, is_reserved: false };
                self.payments.insert((merchant.clone(), payment.transaction_id.clone()), entered);
            }
            self.orders.insert(next.id, next);
        }
        prediction.about(number)
    }

    /// What the order decides, and what another row of the same payment forbids.
    fn decided(
        &self,
        order: &Order,
        merchant: &MerchantKey,
        number: &OutTradeNo,
        payment: &Payment,
        known: Option<KnownPayment>,
    ) -> Decision {
        let orders = &self.tools.config.orders;
        let of_merchant = self.tools.config.merchant(merchant.as_str()).map(|m| m.policy).unwrap_or_default();
        let paid_before_slack = orders.paid_before_slack + self.clocks_differ;
        let policy = Policy { paid_before_slack, late_grace: orders.late_grace, goes_back: None, ..of_merchant };
        let fact = Fact::Paid(payment.clone());
        let decision = decide(order, number, &fact, self.now, policy);
        let Decision::Apply(change) = &decision else { return decision };
        let (Some(entry), Some(known)) = (&change.payment, known) else { return decision };
        if known.order_id.is_some() {
            return Decision::Refused(Refusal::TransactionElsewhere);
        }
        let returned = known.class == PaymentClass::Returned;
        let credits = entry.class == PaymentClass::Credited;
        if returned || known.is_reserved && credits {
            return decide(order, number, &fact, self.now, Policy { goes_back: Some(known.class), ..policy });
        }
        decision
    }

    /// Of an order that is there, WeChat's answer decides.
    async fn poll(&self, merchant: &MerchantKey, order_no: &OrderNo) -> Result<Prediction, DbError> {
        match self.tools.store.order(merchant, order_no).await {
            Ok(Some(_)) => Ok(Prediction::would_settle()),
            Ok(None) => Ok(Prediction::still_fails("unknown_order")),
            Err(DbError::Defect(_)) => Ok(Prediction::still_fails("defect")),
            Err(e) => Err(e),
        }
    }

    /// Only whether an endpoint is called is known, not what it will answer.
    async fn webhook(&self, endpoint: &str) -> Result<Prediction, DbError> {
        Ok(match self.tools.store.webhook(endpoint).await? {
            None => Prediction::still_fails("endpoint_gone"),
            Some(found) if found.state != EndpointState::Enabled => Prediction::still_fails("endpoint_disabled"),
            Some(_) => Prediction::would_settle(),
        })
    }

    /// Of a refund, WeChat's answer to a query decides; only one that has ended so is known.
    async fn refund(&mut self, merchant: &MerchantKey, hint: &RefundHint) -> Result<Prediction, DbError> {
        let stored = self.tools.store.refund(merchant, &hint.out_refund_no).await?;
        let has_ended_so = stored.is_some_and(|stored| {
            matches!(
                (stored.refund.state, hint.status),
                (RefundState::Succeeded, RefundStatus::Success) | (RefundState::Failed, RefundStatus::Closed)
            )
        });
        let is_first = self.refunds.insert((merchant.clone(), hint.out_refund_no.clone(), hint.status));
        let is_known = has_ended_so || !is_first;
        let prediction = if is_known { Prediction::no_op("already_applied") } else { Prediction::would_settle() };
        Ok(prediction.about(&hint.out_trade_no))
    }
}
