//! The schema while two versions run side by side.

use crate::harness::db::TestDb;
use crate::harness::store::TestStore;

on_both_databases! {
    async fn a_process_starts_on_the_schema_of_a_later_version(stage) {
        let later = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m29991231_000001_later', 0)";
        stage.execute(later).await.unwrap();
        assert!(!stage.store.db().migrate().await.unwrap(), "nothing is missing");
        assert_eq!(stage.count("seaql_migrations WHERE version LIKE 'm2999%'").await, 1);
    }

    async fn a_missing_step_is_applied(stage) {
        stage.execute("DROP TABLE call_rates").await.unwrap();
        stage.execute("DELETE FROM seaql_migrations WHERE version LIKE '%call_rates'").await.unwrap();
        assert!(stage.store.db().migrate().await.unwrap());
        assert_eq!(stage.count("call_rates").await, 0);
    }
}
