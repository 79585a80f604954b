//! A store on a database of a test's own, without the service around it.

use wxpay_worker::store::{DbError, Store};

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
