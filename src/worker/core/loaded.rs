//! The orders that facts of one write are about.

use std::collections::HashMap;

use super::fact::Item;
use super::order_uow::UnitOfWork;
use crate::ids::{MerchantKey, OutTradeNo};
use crate::store::{OrderCommit, StoredOrder};

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
