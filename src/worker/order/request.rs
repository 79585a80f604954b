//! `order.requested`: record the order with its first attempt, then place it at WeChat.
//!
//! The row, with every parameter that will be signed, is committed before WeChat is called. Whatever crashes
//! afterwards, the repeat sends the same number with the same parameters.

use std::time::Duration;

use super::submit::{Target, place};
use crate::batcher::{Group, GroupError, Limits};
use crate::bus::{Delivery, Verdict};
use crate::event::command::{OrderRequested, PrepayDue};
use crate::event::envelope::Envelope;
use crate::ids::OutTradeNo;
use crate::new_order::{NewOrderError, new_order};
use crate::order::UNPLACED;
use crate::store::{DbError, DbKind, NewOrder, Recorded, Store};
use crate::worker::core::config_skew;
use crate::worker::core::context::Context;
use crate::worker::core::error::{Trouble, failed};

/// A group that takes longer is given up; its messages come again.
const PATIENCE: Duration = Duration::from_secs(30);
/// Orders recorded in one transaction.
const MAX_BATCH: usize = 128;

/// Records orders in groups.
pub struct Recorder {
    group: Group<NewOrder, Result<Recorded, RecordError>>,
}

/// Why an order was not recorded.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RecordError {
    /// Its number at WeChat belongs to another order here.
    #[error("the number {0} is taken by another order")]
    NumberTaken(OutTradeNo),
    /// The database did not take it; try again later.
    #[error(transparent)]
    Store(Trouble),
    /// The program is ending.
    #[error(transparent)]
    Group(#[from] GroupError),
}

impl Recorder {
    pub fn new(store: Store) -> Recorder {
        let lanes = match store.db().kind() {
            DbKind::Sqlite => 1,
            DbKind::Postgres => 4,
        };
        let limits = Limits { max_batch: MAX_BATCH, queue: 4 * MAX_BATCH, lanes };
        let run = move |orders: Vec<NewOrder>| {
            let store = store.clone();
            async move {
                let count = orders.len();
                let lost =
                    || (0..count).map(|_| Err(RecordError::Store(Trouble::Away("the database did not answer".into()))));
                tokio::time::timeout(PATIENCE, record_all(&store, orders)).await.unwrap_or_else(|_| lost().collect())
            }
        };
        Recorder { group: Group::new(limits, run) }
    }

    async fn record(&self, order: NewOrder) -> Result<Recorded, RecordError> {
        self.group.run(order).await?
    }
}

async fn record_all(store: &Store, orders: Vec<NewOrder>) -> Vec<Result<Recorded, RecordError>> {
    match store.record_orders(&orders).await {
        Ok(recorded) => return recorded.into_iter().map(Ok).collect(),
        Err(DbError::Exists(_) | DbError::Defect(_)) => {}
        Err(e @ DbError::Unavailable(_)) => {
            let trouble = Trouble::from(e);
            return orders.iter().map(|_| Err(RecordError::Store(trouble.clone()))).collect();
        }
    }
    // One of them has a number that another order's attempt has, or breaks a rule: find it, let the others through.
    let mut results = Vec::with_capacity(orders.len());
    for order in orders {
        results.push(match store.record_orders(std::slice::from_ref(&order)).await {
            Ok(recorded) => {
                recorded.first().copied().ok_or_else(|| RecordError::Store(Trouble::Other("no result".into())))
            }
            Err(DbError::Exists(_)) => Err(RecordError::NumberTaken(order.out_trade_no)),
            Err(e) => Err(RecordError::Store(e.into())),
        });
    }
    results
}

/// Handles one requested order.
pub async fn requested(ctx: &Context, delivery: Delivery) -> Verdict {
    let event = match Envelope::<OrderRequested>::parse(&delivery.message.payload) {
        Ok(event) => event,
        Err(e) => return Verdict::Park { reason: "malformed", why: e.to_string() },
    };
    let OrderRequested { order: content, requested_at, idempotency } = event.data;
    let (merchant, order_no) = (content.merchant.clone(), content.order_no.clone());
    let order = match new_order(&ctx.config, content, event.id, requested_at, idempotency) {
        Ok(order) => order,
        Err(NewOrderError::NotConfigured) => {
            return config_skew::unknown(requested_at, ctx.clock.now(), delivery.attempt);
        }
        Err(e @ NewOrderError::Invalid(_)) => return Verdict::Park { reason: "invalid_order", why: e.to_string() },
    };
    let target = Target::first(&order);
    crate::failpoint::point("worker.order_parsed");
    match ctx.recorder.record(order).await {
        Ok(Recorded::New) => {
            crate::failpoint::point("worker.order_recorded");
            place(ctx, target, false).await
        }
        // Either this event's first delivery crashed, or the HTTP layer made the row for its Location: go on. Or
        // it is another request for the same order, whose own event is being worked on: two calls at once would give
        // the callers different prepay ids.
        Ok(Recorded::Same) => match ctx.store.order(&merchant, &order_no).await {
            Ok(Some(stored)) if stored.requested_by != event.id => Verdict::Done,
            Ok(Some(stored)) => match Target::current(&stored, ctx.clock.now()) {
                Some(target) => {
                    // The ingress records a row without calling WeChat: only a delivery before this one, the scheduler
                    // once the order was old enough, or an unscheduled poll can have called.
                    let asked = stored.order.queries.done > 0 || stored.order.queries.answered_at.is_some();
                    let old = ctx.clock.now().since(stored.order.created_at) >= UNPLACED;
                    let called = delivery.attempt > 1 || asked || old;
                    place(ctx, target, called).await
                }
                None => Verdict::Done,
            },
            Ok(None) => Verdict::Retry { after: Duration::from_secs(1), why: "the order is gone".into() },
            Err(e) => failed(e),
        },
        // The caller finds the other order under its number and the HTTP layer says so.
        Ok(Recorded::Differs) => Verdict::Done,
        Err(e @ RecordError::NumberTaken(_)) => Verdict::Park { reason: "number_taken", why: e.to_string() },
        Err(e @ (RecordError::Store(_) | RecordError::Group(_))) => failed(e),
    }
}

/// Handles `order.prepay_due`: the prepay id is old; WeChat gives a fresh one for the same number and parameters.
pub async fn prepay_due(ctx: &Context, delivery: Delivery) -> Verdict {
    let event = match Envelope::<PrepayDue>::parse(&delivery.message.payload) {
        Ok(event) => event,
        Err(e) => return Verdict::Park { reason: "malformed", why: e.to_string() },
    };
    let Some(merchant) = crate::worker::core::handler::merchant_of(ctx, &delivery.message.subject) else {
        return config_skew::unknown(event.time, ctx.clock.now(), delivery.attempt);
    };
    match ctx.store.order(&merchant.key, &event.data.order_no).await {
        Ok(Some(stored)) => match Target::renewable(&stored, ctx.clock.now()) {
            Some(target) => place(ctx, target, true).await,
            None => Verdict::Done,
        },
        Ok(None) => Verdict::Park { reason: "unknown_order", why: "no such order".into() },
        Err(e) => failed(e),
    }
}
