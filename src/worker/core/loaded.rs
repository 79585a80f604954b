//! The orders that facts of one write are about, and the decision that a payment is another order's.

use std::collections::{HashMap, HashSet};

use super::fact::{Applied, Item};
use super::order_uow::UnitOfWork;
use crate::clock::Timestamp;
use crate::ids::{MerchantKey, OutTradeNo};
use crate::order::Refusal;
use crate::store::{OrderCommit, OrderDecision, StoredOrder};

/// The orders of a write, by their attempts.
pub(super) struct Loaded {
    orders: HashMap<i64, UnitOfWork>,
    by_attempt: HashMap<(MerchantKey, OutTradeNo), i64>,
}

impl Loaded {
    pub fn new(orders: Vec<StoredOrder>) -> Loaded {
        let mut loaded = Loaded { orders: HashMap::new(), by_attempt: HashMap::new() };
        for stored in orders {
            let order = &stored.order;
            for attempt in &order.attempts {
                loaded.by_attempt.insert((order.merchant.clone(), attempt.out_trade_no.clone()), order.id);
            }
            loaded.orders.insert(order.id, UnitOfWork::new(stored));
        }
        loaded
    }

    pub fn order_of(&mut self, item: &Item) -> Option<&mut UnitOfWork> {
        let id = self.by_attempt.get(&(item.merchant.clone(), item.out_trade_no.clone()))?;
        self.orders.get_mut(id)
    }

    pub fn into_commits(self) -> Vec<OrderCommit> {
        self.orders.into_values().filter_map(UnitOfWork::into_commit).collect()
    }
}

/// The attempts that some of the items are about.
pub(super) fn attempts_of(items: &[Item], open: &[usize]) -> HashMap<MerchantKey, Vec<OutTradeNo>> {
    let mut numbers: HashMap<MerchantKey, HashSet<OutTradeNo>> = HashMap::new();
    for item in open.iter().map(|i| &items[*i]) {
        numbers.entry(item.merchant.clone()).or_default().insert(item.out_trade_no.clone());
    }
    numbers.into_iter().map(|(merchant, numbers)| (merchant, numbers.into_iter().collect())).collect()
}

/// A fact whose transaction is another order's.
pub(super) struct Elsewhere {
    pub item: Item,
    pub now: Timestamp,
}

impl OrderDecision for Elsewhere {
    type Outcome = Applied;

    fn attempts(&self) -> HashMap<MerchantKey, Vec<OutTradeNo>> {
        HashMap::from([(self.item.merchant.clone(), vec![self.item.out_trade_no.clone()])])
    }

    fn decide(&self, orders: Vec<StoredOrder>) -> (Vec<OrderCommit>, Applied) {
        let mut loaded = Loaded::new(orders);
        let Some(order) = loaded.order_of(&self.item) else { return (Vec::new(), Applied::UnknownOrder) };
        order.take_calls(&self.item);
        let (applied, verdict) = order.refuse(&self.item, Refusal::TransactionElsewhere, self.now);
        order.record(&self.item, verdict);
        (loaded.into_commits(), applied)
    }
}
