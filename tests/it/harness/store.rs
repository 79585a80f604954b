//! A store on a database of a test's own, without the service around it.

use std::collections::{HashMap, HashSet};

use wxpay_worker::clock::Timestamp;
use wxpay_worker::ids::{MerchantKey, OutTradeNo};
use wxpay_worker::store::{DbError, OrderCommit, OrderDecision, Store, StoredOrder};

use super::db::TestDb;
use super::sql::number;

pub struct TestStore {
    pub db: TestDb,
    pub store: Store,
}

impl TestStore {
    pub async fn open(db: TestDb) -> TestStore {
        let store = Store::open(&db.settings()).await.unwrap();
        TestStore { db, store }
    }

    pub async fn count(&self, table: &str) -> i64 {
        number(self.store.db(), &format!("SELECT COUNT(*) FROM {table}")).await
    }

    pub async fn execute(&self, sql: &str) -> Result<(), DbError> {
        let sql = sql.to_owned();
        self.store.db().write("test", sql, |tx, sql| Box::pin(tx.execute_unprepared(sql))).await.map(drop)
    }
}

/// Commits changes that were decided before, and returns the ids of the orders that were changed meanwhile.
pub async fn commit(store: &Store, changes: &[OrderCommit], at: Timestamp) -> Result<HashSet<i64>, DbError> {
    store.change_orders(Decided(changes.to_vec()), at).await.map(|((), conflicts)| conflicts)
}

struct Decided(Vec<OrderCommit>);

impl OrderDecision for Decided {
    type Outcome = ();

    fn attempts(&self) -> HashMap<MerchantKey, Vec<OutTradeNo>> {
        HashMap::new()
    }

    fn decide(&self, _: Vec<StoredOrder>) -> (Vec<OrderCommit>, ()) {
        (self.0.clone(), ())
    }
}
