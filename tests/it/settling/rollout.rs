//! A change of configuration that has not reached every process yet: nothing that others can read is given up here.

use crate::harness::service::{OTHER_KEY, Processes, TestService, free_port};
use crate::harness::within_timeout;

const BEHIND: &str = "worker,relay,scheduler";

/// How often the worker put a notification off.
async fn retries(service: &Processes, admin: &str) -> u64 {
    let Ok(answer) = service.http.get(format!("http://{admin}/metrics")).send().await else { return 0 };
    let text = answer.text().await.unwrap();
    let of_settle =
        |l: &&str| l.starts_with("wxpay_worker_attempts_total{") && l.contains("\"settle\"") && l.contains("\"retry\"");
    text.lines().filter(of_settle).filter_map(|l| l.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

async fn a_worker_with_an_old_key_leaves_notifications_to_one_with_the_new(service: Processes) {
    {
        let _service = service.run_all().await;
        service.place(&_service.base, "V100001", 100).await;
    }
    let ingress = service.run_roles("ingress").await;
    let admin = format!("127.0.0.1:{}", free_port());
    let env = [("WXPAY__MERCHANTS__0__V2_KEY", OTHER_KEY), ("WXPAY__SERVER__ADMIN_LISTEN", admin.as_str())];
    let old = service.run_beside(BEHIND, &env).await;
    let db = service.open_db().await;
    // No query in the meantime: the notification alone is to settle it.
    db.execute("test", String::from("UPDATE orders SET next_query_at_ms = next_query_at_ms + 3600000"), [])
        .await
        .unwrap();
    service.pay("V100001").await;
    within_timeout("the old worker meets the notification", async {
        while retries(&service, &admin).await == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    })
    .await;
    assert_eq!(service.number(&db, "SELECT COUNT(*) FROM dead_letters").await, 0, "nothing is given up");
    drop(old);
    let _new = service.run_beside(BEHIND, &[]).await;
    service.until_state(&ingress.base, "V100001", "paid").await;
    let truth = service.wechat_ledger("V100001").await;
    assert_eq!(truth["deliveries"].as_array().map(Vec::len), Some(1), "WeChat notified once, and heard SUCCESS");
    let settled = "SELECT COUNT(*) FROM notifications WHERE verdict = 'settled'";
    assert_eq!(service.number(&db, settled).await, 1, "by the notification and not by a question");
    assert!(service.events(&ingress.base, "wxpay.notification.rejected.v1").await.is_empty());
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_with_an_old_key_leaves_notifications_to_one_with_the_new_on_embedded_sqlite() {
    a_worker_with_an_old_key_leaves_notifications_to_one_with_the_new(
        TestService::embedded_sqlite().await.processes().await,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_with_an_old_key_leaves_notifications_to_one_with_the_new_on_nats_postgres() {
    a_worker_with_an_old_key_leaves_notifications_to_one_with_the_new(
        TestService::nats_postgres().await.processes().await,
    )
    .await;
}
