//! Revocations: of the file and of the database, in every process, also while the tables cannot be read.

use serde_json::json;
use wxpay_worker::clock::Timestamp;
use wxpay_worker::secret::sha256_hex;
use wxpay_worker::store::{AuditEntry, Revocation};

use super::support::{ADMIN, entry, with_admin};
use crate::harness::service::{InProcess, TestService};
use crate::settling::on_both;

const SHOP: &str = "wxk_shop_of_the_file";

impl InProcess {
    async fn status(&self, key: &str) -> u16 {
        self.get_by(key, "/v1/orders").await.0
    }

    /// As another process does it: this one is not notified.
    async fn revoked_elsewhere(&self, key: &str) {
        let which = Revocation { id: "any".into(), hashes: vec![sha256_hex(key.as_bytes())] };
        let audit = AuditEntry {
            at: Timestamp::from_ms(1),
            actor: "another".into(),
            actor_id: None,
            remote_addr: "127.0.0.1".into(),
            action: "api_key.revoke",
            merchant: None,
            order_no: None,
            transaction_id: None,
            subject: None,
            reason: "leaked".into(),
            result: "done".into(),
        };
        self.store.revoke_api_keys(&which, &audit).await.unwrap();
    }

    async fn execute(&self, sql: &'static str) {
        self.store.db().execute("test", sql, []).await.unwrap();
    }
}

on_both! {
    async fn a_key_of_the_file_is_revoked_at_once_and_stays_so_after_a_restart(db: TestDb) {
        let lines = "name = \"shop\"\nid = \"shop/1\"\nscopes = [\"orders\"]";
        let mut service = with_admin(TestService::new().on(db)).config(&entry(SHOP, lines)).in_process().await;
        assert_eq!(service.status(SHOP).await, 200);
        for _ in 0..2 {
            let reason = json!({"reason": "leaked"});
            let (status, key) = service.post_by(ADMIN, "/v1/ops/keys/shop%2F1/revoke", &reason).await;
            let ended = (status, &key["source"], &key["revoked_by"], &key["revoked_reason"]);
            assert_eq!(ended, (200, &json!("file"), &json!("admin"), &json!("leaked")), "{key}");
            assert_eq!(service.status(SHOP).await, 401);
        }
        assert_eq!(service.audited("api_key.revoke").await, ["done", "repeated"]);
        assert_eq!(service.get_by(ADMIN, "/v1/orders").await.0, 200, "others go on");
        service.restart_with(|_| {}).await;
        assert_eq!(service.status(SHOP).await, 401, "from the first request on");
        assert!(service.key_named("shop").await["revoked_at"].is_string());
        service.finish().await;
    }

    async fn what_another_process_revoked_ends_here_and_the_last_list_outlives_the_tables(db: TestDb) {
        let shop = entry(SHOP, "name = \"shop\"\nscopes = [\"orders\"]");
        let service = with_admin(TestService::new().on(db)).config(&shop).in_process().await;
        let body = json!({"name": "made", "scopes": ["orders"], "reason": "x"});
        let (_, made) = service.post_by(ADMIN, "/v1/ops/keys", &body).await;
        let made = made["key"].as_str().unwrap();
        service.revoked_elsewhere(SHOP).await;
        service.found("the file's key ends", || async { (service.status(SHOP).await == 401).then_some(()) }).await;
        assert_eq!(service.status(made).await, 200);

        service.execute("ALTER TABLE revoked_api_keys RENAME TO away").await;
        let reason = json!({"reason": "x"});
        let (status, _) = service.post_by(ADMIN, "/v1/ops/keys/admin/revoke", &reason).await;
        assert!(status >= 500, "{status}");
        assert_eq!((service.status(made).await, service.status(SHOP).await), (200, 401), "the last list is in force");
        service.execute("ALTER TABLE away RENAME TO revoked_api_keys").await;

        service.revoked_elsewhere(made).await;
        service.found("the end of the made key", || async { (service.status(made).await == 401).then_some(()) }).await;

        // A row that cannot be read is a key that is not accepted, and no more.
        let named = |name: &str| json!({"name": name, "scopes": ["orders"], "reason": "x"});
        let (_, broken) = service.post_by(ADMIN, "/v1/ops/keys", &named("b")).await;
        let broken = broken["key"].as_str().unwrap();
        assert_eq!(service.status(broken).await, 200);
        service.execute("UPDATE api_keys SET scopes = 'orders' WHERE name = 'b'").await;
        let (_, last) = service.post_by(ADMIN, "/v1/ops/keys", &named("c")).await;
        let last = last["key"].as_str().unwrap();
        assert_eq!((service.status(broken).await, service.status(last).await), (401, 200));
        service.revoked_elsewhere(last).await;
        service.found("the end of the last key", || async { (service.status(last).await == 401).then_some(()) }).await;
        service.execute("UPDATE api_keys SET scopes = '[]' WHERE name = 'b'").await;
        // Its name is free again, its hash is not.
        let (status, again) = service.post_by(ADMIN, "/v1/ops/keys", &body).await;
        assert_eq!(status, 201, "{again}");
        assert_eq!(service.status(made).await, 401);
        service.finish().await;
    }
}
