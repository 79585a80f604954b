//! API keys of the database beside those of the file, and their revocation.

use serde_json::json;
use wxpay_worker::store::Role;

use super::service;
use super::user::User;
use crate::harness::sql::texts;
use crate::keys::{ADMIN, with_admin};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_the_database_are_listed_and_revoked_by_administrators() {
    let service = with_admin(service()).in_process().await;
    let wanted = json!({"name": "till", "scopes": ["orders"], "merchants": ["main"], "reason": "a new till"});
    let (status, made) = service.post_by(ADMIN, "/v1/ops/keys", &wanted).await;
    assert_eq!(status, 201, "{made}");
    let (key, id) = (made["key"].as_str().unwrap(), made["id"].as_str().unwrap());
    let (admin, operator) =
        (User::log_in(&service, Role::Admin, None).await, User::log_in(&service, Role::Operator, None).await);
    operator.page("/console/settings").await.hides("till");
    let page = admin.page("/console/settings").await;
    page.shows("till database orders main");
    page.shows("admin file orders, ops, admin main");
    page.hides(key);
    let revoke = format!("/console/settings/keys/{id}/revoke");
    assert_eq!(operator.submit(&revoke, &[("reason", "lost")]).await.status, 403);
    assert_eq!(admin.submit(&revoke, &[]).await.status, 303, "without a reason");
    assert_eq!(admin.submit("/console/settings/keys/none/revoke", &[("reason", "lost")]).await.status, 404);
    assert_eq!(service.get_by(key, "/v1/orders/NONE").await.0, 404, "it is accepted");
    assert_eq!(admin.submit(&revoke, &[("reason", "lost")]).await.status, 303);
    assert_eq!(service.get_by(key, "/v1/orders/NONE").await.0, 401);
    let page = admin.page("/console/settings").await;
    page.shows("revoked 20");
    page.hides(&revoke);
    let audit = "SELECT actor || ' ' || reason || ' ' || result FROM audit WHERE action = 'api_key.revoke'";
    assert_eq!(texts(service.store.db(), audit).await, ["admin-false lost done"]);
    service.finish().await;
}
