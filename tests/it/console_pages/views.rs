//! Who read a stored message is in the audit: once for a reader, an object and an hour.

use wxpay_worker::store::Role;

use super::service;
use super::user::User;
use crate::harness::service::InProcess;
use crate::harness::sql::texts;
use crate::ops_replay::park;

async fn views(service: &InProcess) -> Vec<String> {
    let sql =
        "SELECT actor || ' ' || action || ' ' || subject || ' ' || merchant || ' ' || remote_addr || ' ' || result
               FROM audit WHERE action LIKE '%.view' ORDER BY id";
    texts(service.store.db(), sql).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_of_messages_leave_one_row_each_hour() {
    let service = service().in_process().await;
    service.expect_dead_letters(&["exhausted"]);
    service.place("V100001").await;
    service.pay("V100001").await;
    service.until_state("V100001", "paid").await;
    park(&service, "<xml><a>1</a></xml>", "exhausted").await;
    let id = texts(service.store.db(), "SELECT event_id FROM notifications ORDER BY event_id").await.remove(0);
    let dead = service.number("SELECT id FROM dead_letters").await;
    let user = User::log_in(&service, Role::Viewer, None).await;
    user.page("/console/notifications").await;
    user.page("/console/dead-letters?reason=exhausted").await;
    assert_eq!(views(&service).await, [] as [&str; 0], "a list shows no message");
    for _ in 0..2 {
        user.page(&format!("/console/notifications/{id}")).await;
        user.page(&format!("/console/dead-letters/{dead}")).await;
        user.page("/console/orders/main/V100001").await;
        assert_eq!(service.get(&format!("/v1/ops/notifications/{id}")).await.0, 200);
    }
    let other = User::log_in(&service, Role::Operator, None).await;
    for _ in 0..2 {
        other.page("/console/orders/main/V100001").await.shows("V100001");
    }
    let expected = [
        format!("viewer-false notification.view notification:{id} main 127.0.0.1 done"),
        format!("viewer-false dead_letter.view dead_letter:{dead} main 127.0.0.1 done"),
        format!("test notification.view notification:{id} main 127.0.0.1 done"),
        // The page of an order shows messages, too.
        format!("operator-false notification.view notification:{id} main 127.0.0.1 done"),
    ];
    assert_eq!(views(&service).await, expected);
    service.skip(3600);
    for _ in 0..2 {
        assert_eq!(service.get(&format!("/v1/ops/notifications/{id}")).await.0, 200);
    }
    assert_eq!(views(&service).await.len(), expected.len() + 1, "another hour");
    assert_eq!(service.get("/v1/ops/notifications/unknown").await.0, 404);
    assert_eq!(views(&service).await.len(), expected.len() + 1);
    service.finish().await;
}
