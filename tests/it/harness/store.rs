//! A store on a database of a test's own, without the service around it.

use std::collections::{HashMap, HashSet};

use sea_orm::ConnectionTrait;
use wxpay_worker::clock::Timestamp;
use wxpay_worker::ids::{MerchantKey, OutTradeNo};
use wxpay_worker::store::{DbError, DbKind, OrderCommit, OrderDecision, Store, StoredOrder};

use super::db::TestDb;
use super::sql::number;
use super::{is_late, within_timeout};

pub struct TestStore {
    pub db: TestDb,
    pub store: Store,
}

impl TestStore {
    pub async fn open(db: TestDb) -> TestStore {
        let settings = db.settings();
        let store = within_timeout("the store", async {
            loop {
                match Store::open(&settings).await {
                    Ok(store) => return store,
                    Err(error) => assert!(is_late(&error.to_string()), "{error}"),
                }
            }
        })
        .await;
        TestStore { db, store }
    }

    pub async fn count(&self, table: &str) -> i64 {
        number(self.store.db(), &format!("SELECT COUNT(*) FROM {table}")).await
    }

    /// Without the limit of a statement's time: filling a table is no matter of the service.
    pub async fn execute(&self, sql: &str) -> Result<(), DbError> {
        let sql = match self.store.db().kind() {
            DbKind::Sqlite => sql.to_owned(),
            DbKind::Postgres => format!("SET LOCAL statement_timeout = 0; {sql}"),
        };
        self.store.db().write("test", sql, |tx, sql| Box::pin(tx.execute_unprepared(sql))).await.map(drop)
    }

    /// What the planner of PostgreSQL needs to know of the tables. One statement each: they have a limit of time.
    pub async fn analyze(&self) {
        if self.store.db().kind() == DbKind::Sqlite {
            return;
        }
        let sql = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()";
        let read = self.store.db().read();
        for row in read.query_all_raw(self.store.db().statement(sql, [])).await.unwrap() {
            let table: String = row.try_get("", "tablename").unwrap();
            read.execute_unprepared(&format!("VACUUM (ANALYZE) {table}")).await.unwrap();
        }
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
