//! The audit: rows that are written once, and rows whose loss fails what they are about.

use wxpay_worker::clock::Timestamp;
use wxpay_worker::ids::MerchantKey;
use wxpay_worker::ops;
use wxpay_worker::store::AuditEntry;

use crate::harness::db::TestDb;
use crate::harness::sql::texts;
use crate::harness::store::TestStore;

fn entry(reason: &str) -> AuditEntry {
    let operator = ops::users::local_operator();
    let merchant = MerchantKey::parse("main").ok();
    AuditEntry { merchant, ..operator.audit("notification.view", reason.to_owned(), Timestamp::from_ms(1)) }
}

on_both_databases! {
    async fn a_row_under_a_key_is_written_once_however_many_ask_at_once(stage) {
        let write = async |key: &str| stage.store.record_audit_once(&entry(key), key).await.unwrap();
        tokio::join!(write("a"), write("a"), write("b"), write("a"));
        write("a").await;
        let rows = texts(stage.store.db(), "SELECT reason || ' ' || once_key FROM audit ORDER BY reason").await;
        assert_eq!(rows, ["a a", "b b"]);
        for _ in 0..2 {
            stage.store.record_audit(&entry("c")).await.unwrap();
        }
        assert_eq!(stage.count("audit").await, 4, "rows without a key are as many as there are");
    }

    async fn a_conflict_with_anything_but_the_key_is_no_row_that_is_known(stage) {
        stage.execute("CREATE UNIQUE INDEX audit_other ON audit (reason)").await.unwrap();
        stage.store.record_audit_once(&entry("same"), "a").await.unwrap();
        stage.store.record_audit_once(&entry("same"), "a").await.unwrap();
        assert!(stage.store.record_audit_once(&entry("same"), "b").await.is_err());
        assert!(stage.store.record_audit(&entry("same")).await.is_err());
        assert_eq!(stage.count("audit").await, 1);
    }
}
