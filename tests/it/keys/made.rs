//! Keys of the database: what they may do, and what their maker may not grant.

use std::time::Duration;

use serde_json::{Value, json};
use wxpay_worker::secret::sha256_hex;

use super::support::{ADMIN, with_admin};
use crate::harness::service::{SECOND_MERCHANT, TestService};
use crate::settling::on_both;

on_both! {
    async fn a_key_made_over_the_api_counts_at_once_until_it_expires_and_is_shown_once(db: TestDb) {
        let service = with_admin(TestService::new().on(db)).in_process().await;
        let expires_at = service.clock.now().after(Duration::from_secs(600));
        let body = json!({
            "name": "shop-1", "scopes": ["orders"], "expires_at": expires_at, "refund_cap_fen_per_day": 500,
            "rate_limit_per_second": 1000, "reason": "the new shop"
        });
        let (status, made) = service.post_by(ADMIN, "/v1/ops/keys", &body).await;
        let by = (status, &made["source"], &made["created_by"]);
        assert_eq!(by, (201, &json!("database"), &json!("admin")), "{made}");
        let key = made["key"].as_str().unwrap();
        assert_eq!(service.get_by(key, "/v1/orders").await.0, 200);
        let (status, problem) = service.get_by(key, "/v1/ops/jobs").await;
        assert_eq!((status, &problem["code"]), (403, &json!("forbidden")), "{problem}");

        let hash = sha256_hex(key.as_bytes());
        let stored = format!("SELECT COUNT(*) FROM api_keys WHERE hash = '{hash}' AND created_by_id = 'admin'");
        assert_eq!(service.number(&stored).await, 1);
        let listed = service.key_named("shop-1").await;
        let mut shown = made.clone();
        shown.as_object_mut().unwrap().remove("key");
        for member in ["last_used_at", "hashes"] {
            shown[member] = listed[member].clone();
        }
        assert_eq!((&listed, &listed["merchants"]), (&shown, &json!(["main"])), "the key is not shown again");
        assert!(!listed.to_string().contains(&hash) && !listed.to_string().contains(key), "{listed}");
        let used = format!("SELECT COUNT(*) FROM api_key_uses WHERE hash = '{hash}'");
        service.until_number("its last use", &used, |n| n == 1).await;
        assert!(service.key_named("shop-1").await["last_used_at"].is_string());
        assert!(service.key_named("admin").await["last_used_at"].is_string(), "those of the file, too");
        assert_eq!(service.audited("api_key.create").await, ["done"]);

        let (status, problem) = service.post_by(ADMIN, "/v1/ops/keys", &body).await;
        assert_eq!((status, &problem["code"]), (409, &json!("key_name_taken")), "{problem}");
        let of_file = json!({"name": "test", "scopes": ["orders"], "reason": "x"});
        assert_eq!(service.post_by(ADMIN, "/v1/ops/keys", &of_file).await.0, 409, "a name of the file");
        service.skip(601);
        assert_eq!(service.get_by(key, "/v1/orders").await.0, 401, "it has expired");
        service.finish().await;
    }

    async fn a_key_grants_nothing_that_it_does_not_have(db: TestDb) {
        let service = TestService::new().on(db).second_account().config(SECOND_MERCHANT);
        let service = with_admin(service).in_process().await;
        let asked = |more: Value| {
            let mut body = json!({"name": "more", "scopes": ["orders"], "merchants": ["main"], "reason": "x"});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            body
        };
        for (more, status, code) in [
            (json!({"scopes": ["orders", "refunds"]}), 403, "grant_exceeds"),
            (json!({"merchants": "all"}), 403, "grant_exceeds"),
            // It does not see this one.
            (json!({"merchants": ["main", "second"]}), 400, "invalid"),
            (json!({"merchants": null}), 400, "invalid"),
            (json!({"scopes": []}), 400, "invalid"),
            (json!({"scopes": ["orders", "root"]}), 400, "invalid"),
            (json!({"reason": null}), 400, "invalid"),
            (json!({"expires_at": "2020-01-01T00:00:00Z"}), 400, "invalid"),
            (json!({"rate_limit_per_second": 0}), 400, "invalid"),
            (json!({"hash": "sha256:00"}), 400, "invalid"),
        ] {
            let (answered, problem) = service.post_by(ADMIN, "/v1/ops/keys", &asked(more.clone())).await;
            assert_eq!((answered, &problem["code"]), (status, &json!(code)), "{more}: {problem}");
        }
        assert_eq!(service.number("SELECT COUNT(*) FROM api_keys").await, 0);
        assert_eq!(service.audited("api_key.create").await, ["grant_exceeds", "grant_exceeds"]);

        // One that ends and is limited in rate hands both on; without the scope it makes none.
        let limits = json!({
            "name": "deputy", "scopes": ["orders", "admin"], "rate_limit_per_second": 500,
            "expires_at": service.clock.now().after(Duration::from_secs(900))
        });
        let (status, deputy) = service.post_by(ADMIN, "/v1/ops/keys", &asked(limits)).await;
        assert_eq!(status, 201, "{deputy}");
        let by = deputy["key"].as_str().unwrap();
        let (status, helper) = service.post_by(by, "/v1/ops/keys", &asked(json!({"name": "helper"}))).await;
        assert_eq!((status, &helper["expires_at"]), (201, &deputy["expires_at"]), "{helper}");
        assert_eq!(helper["rate_limit_per_second"], json!(500));
        let later = service.clock.now().after(Duration::from_secs(901));
        for more in [json!({"expires_at": later}), json!({"rate_limit_per_second": 501}), json!({"scopes": ["ops"]})] {
            let (status, problem) = service.post_by(by, "/v1/ops/keys", &asked(more.clone())).await;
            assert_eq!((status, &problem["code"]), (403, &json!("grant_exceeds")), "{more}: {problem}");
        }
        let (status, problem) = service.get_by(helper["key"].as_str().unwrap(), "/v1/ops/keys").await;
        assert_eq!((status, &problem["code"]), (403, &json!("forbidden")), "{problem}");
        // The key of all merchants has no scope admin, and is not shown to one of some merchants.
        assert_eq!(service.get("/v1/ops/keys").await.0, 403);
        let (_, list) = service.get_by(ADMIN, "/v1/ops/keys").await;
        let names: Vec<&Value> = list["keys"].as_array().unwrap().iter().map(|key| &key["name"]).collect();
        assert_eq!(names, ["admin", "helper", "deputy"], "{list}");
        assert_eq!(service.post_by(ADMIN, "/v1/ops/keys/test/revoke", &json!({"reason": "x"})).await.0, 404);
        service.finish().await;
    }
}
