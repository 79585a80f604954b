//! Orders that are changed as they are in memory, without a load: where they are still as they were recorded, and where
//! something has changed them since.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use wxpay_worker::clock::Timestamp;
use wxpay_worker::config;
use wxpay_worker::event::fact::{Fact, Prepay};
use wxpay_worker::ids::{MerchantKey, OutTradeNo};
use wxpay_worker::order::OrderState;
use wxpay_worker::store::{NewOrder, OrderCommit, OrderDecision, Recorded, Store, StoredOrder};

use crate::contracts::{change, new_order, order_no};
use crate::harness::store::{TestStore, commit};
use crate::settling::on_both;

/// A decision on an order in memory.
struct FromMemory {
    known: StoredOrder,
    /// Whether it is loaded all the same.
    loads_it: bool,
    changes: Vec<OrderCommit>,
}

impl OrderDecision for FromMemory {
    /// The versions that were decided on.
    type Outcome = Vec<i64>;

    fn known(&self) -> Vec<StoredOrder> {
        vec![self.known.clone(), self.known.clone()]
    }

    fn attempts(&self) -> HashMap<MerchantKey, Vec<OutTradeNo>> {
        let order = &self.known.order;
        let numbers = order.attempts.iter().map(|attempt| attempt.out_trade_no.clone()).collect();
        HashMap::from_iter(self.loads_it.then(|| (order.merchant.clone(), numbers)))
    }

    fn decide(&self, orders: Vec<StoredOrder>) -> (Vec<OrderCommit>, Vec<i64>) {
        (self.changes.clone(), orders.iter().map(|stored| stored.order.version).collect())
    }
}

/// When the order of the test was made.
fn now() -> Timestamp {
    new_order(1, 100).created_at
}

fn prepay() -> Fact {
    Fact::PrepayIssued(Prepay { prepay_id: "wx1".into(), code_url: None, mweb_url: None, issued_at: now() })
}

/// Records an order; as it is known then.
async fn recorded(store: &Store, new: &NewOrder) -> StoredOrder {
    let recorded = store.record_new_orders(std::slice::from_ref(new)).await.unwrap();
    let [(Recorded::New, Some(row))] = recorded.as_slice() else { panic!("{recorded:?}") };
    new.as_stored(row)
}

async fn read(store: &Store, n: u32) -> StoredOrder {
    store.order(&MerchantKey::parse("main").unwrap(), &order_no(n)).await.unwrap().unwrap()
}

/// Has changes of an order in memory written; what was decided on, and the orders that count as changed meanwhile.
async fn change_known(stage: &TestStore, known: &StoredOrder, changes: &[OrderCommit]) -> (Vec<i64>, HashSet<i64>) {
    let decision = FromMemory { known: known.clone(), loads_it: false, changes: changes.to_vec() };
    stage.store.change_orders(decision, now()).await.unwrap()
}

async fn is_untouched(stage: &TestStore) {
    for table in ["evidence", "outbox", "notifications"] {
        assert_eq!(stage.count(table).await, 0, "{table}");
    }
    let order = read(&stage.store, 1).await.order;
    assert_eq!((order.state, order.version), (OrderState::Requested, 1));
}

on_both! {
    async fn an_order_is_known_as_it_is_read(db: TestDb) {
        let stage = TestStore::open(db).await;
        let compact = Store::open(&config::Store { compact: true, ..stage.db.settings() }).await.unwrap();
        let until = now().after(Duration::from_secs(10));
        let cases = [(1, None, &stage.store), (2, Some(until), &stage.store), (3, None, &compact)];
        for (n, placing_until, store) in cases {
            let new = NewOrder { placing_until, ..new_order(n, 100) };
            let (known, read) = (recorded(store, &new).await, read(store, n).await);
            assert_eq!(known.order, read.order);
            assert_eq!(known.order_token.expose(), read.order_token.expose());
            // Whatever fields there are.
            assert_eq!(format!("{known:?}"), format!("{read:?}"));
        }
        let again = stage.store.record_new_orders(&[new_order(1, 100), new_order(1, 200)]).await.unwrap();
        assert!(matches!(again.as_slice(), [(Recorded::Same, None), (Recorded::Differs, None)]), "{again:?}");
    }

    async fn an_order_that_is_as_it_was_recorded_is_changed_without_a_load(db: TestDb) {
        let stage = TestStore::open(db).await;
        let known = recorded(&stage.store, &new_order(1, 100)).await;
        let (versions, conflicts) = change_known(&stage, &known, &[change(&known, 1, prepay())]).await;
        assert_eq!((versions, conflicts), (vec![1], HashSet::new()));
        let order = read(&stage.store, 1).await.order;
        assert_eq!((order.state, order.version), (OrderState::Payable, 2));
        assert_eq!((stage.count("evidence").await, stage.count("outbox").await), (1, 1));
    }

    async fn an_order_that_another_process_changed_since_is_not_written(db: TestDb) {
        let stage = TestStore::open(db).await;
        let known = recorded(&stage.store, &new_order(1, 100)).await;
        let unknown = change(&known, 1, Fact::PlacementUnknown { why: "late".into(), said: None, not_called: false });
        commit(&stage.store, &[unknown], now()).await.unwrap();
        let (_, conflicts) = change_known(&stage, &known, &[change(&known, 1, prepay())]).await;
        assert_eq!(conflicts, HashSet::from([known.order.id]));
        let stored = read(&stage.store, 1).await;
        assert_eq!((stored.order.state, stored.order.version), (OrderState::Requested, 2));
        assert!(stored.order.flags.outcome_unknown);
        assert_eq!((stage.count("evidence").await, stage.count("notifications").await), (1, 1), "the other process's");
    }

    /// No change of the order, but what is answered from memory would open nothing.
    async fn an_order_whose_token_was_replaced_since_is_not_written(db: TestDb) {
        let stage = TestStore::open(db).await;
        let known = recorded(&stage.store, &new_order(1, 100)).await;
        let sql = format!("UPDATE orders SET order_token = '{}'", "x".repeat(32));
        stage.execute(&sql).await.unwrap();
        let (_, conflicts) = change_known(&stage, &known, &[change(&known, 1, prepay())]).await;
        assert_eq!(conflicts, HashSet::from([known.order.id]));
        is_untouched(&stage).await;
    }

    async fn what_changes_nothing_of_an_order_in_memory_is_decided_anew(db: TestDb) {
        let stage = TestStore::open(db).await;
        let known = recorded(&stage.store, &new_order(1, 100)).await;
        let nothing = OrderCommit {
            next: known.order.clone(),
            evidence: Vec::new(),
            events: Vec::new(),
            ..change(&known, 1, prepay())
        };
        for changes in [vec![nothing], Vec::new()] {
            let (_, conflicts) = change_known(&stage, &known, &changes).await;
            assert_eq!(conflicts, HashSet::from([known.order.id]));
        }
        is_untouched(&stage).await;
    }

    /// A notification and WeChat's answer are decided together.
    async fn an_order_that_is_loaded_all_the_same_is_decided_on_as_it_is_stored(db: TestDb) {
        let stage = TestStore::open(db).await;
        let known = recorded(&stage.store, &new_order(1, 100)).await;
        commit(&stage.store, &[change(&known, 1, prepay())], now()).await.unwrap();
        let decision = FromMemory { known, loads_it: true, changes: Vec::new() };
        let (versions, conflicts) = stage.store.change_orders(decision, now()).await.unwrap();
        assert_eq!((versions, conflicts), (vec![2], HashSet::new()));
    }
}
