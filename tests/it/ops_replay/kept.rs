//! What a replay leaves: the dead letter of the same message has ended, and replays are kept for their period.

use std::time::Duration;

use serde_json::json;
use wxpay_worker::clock::Timestamp;

use super::{act, path, plan, until_done};
use crate::flows::notifications::{SIGNED_BY_THE_TEST, signed};
use crate::harness::service::{KEY, TestService};
use crate::harness::sql::texts;
use crate::settling::on_both;

const DAY: Duration = Duration::from_secs(24 * 3600);

on_both! {
    async fn a_parked_notification_that_is_replayed_by_its_own_id_leaves_no_dead_letter(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.leave_books_open(SIGNED_BY_THE_TEST);
        service.expect_dead_letters(&["unknown_order"]);
        let time_end = service.clock.now().to_beijing();
        let body = signed(&[("out_trade_no", "KEPT0001"), ("time_end", &time_end)], KEY);
        let request = service.http.post(format!("{}/notify/main/pay", service.base));
        let posted = request.header("content-type", "text/xml").body(body).send().await.unwrap();
        assert!(posted.text().await.unwrap().contains("SUCCESS"));
        // Of no order: it is tried again until it counts as parked.
        let parked = "SELECT COUNT(*) FROM dead_letters WHERE state = 'parked'";
        for _ in 0..200 {
            if service.number(parked).await == 1 {
                break;
            }
            service.pass(600).await;
        }
        assert_eq!(service.number(parked).await, 1);
        service.place("KEPT0001").await;
        let id = texts(service.store.db(), "SELECT event_id FROM notifications").await.remove(0);
        let planned = plan(&service, &json!({"kind": "notification", "ids": [id]}), 100).await;
        assert_eq!(planned["to_do"], 1, "{planned}");
        act(&service, &planned, "start").await;
        until_done(&service, &planned).await;
        service.until_state("KEPT0001", "paid").await;
        let states = texts(service.store.db(), "SELECT state || ' ' || ended_by FROM dead_letters").await;
        assert_eq!(states, ["replayed test"]);
        service.finish().await;
    }

    async fn replays_are_removed_after_their_period_unless_they_run_or_are_paused(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.place("KEPT0002").await;
        let select = json!({"kind": "event", "order_no": "KEPT0002"});
        let ended = plan(&service, &select, 100).await;
        act(&service, &ended, "cancel").await;
        let paused = plan(&service, &select, 1).await;
        let sql = "UPDATE replays SET state = 'paused', started_at_ms = created_at_ms, started_by = 'x' WHERE id = ";
        let sql = format!("{sql}'{}'", paused["id"].as_str().unwrap());
        service.store.db().execute("test", sql, []).await.unwrap();
        let planned = plan(&service, &select, 1).await;
        let now = service.clock.now();
        let yesterday = Timestamp::from_ms(now.as_ms() - 24 * 3600 * 1000);
        // No row is as old.
        assert_eq!(service.store.purge_replays(yesterday, 100).await.unwrap(), 0);
        service.store.purge_replays(now.after(DAY), 1).await.unwrap();
        let (status, problem) = service.post(&format!("{}/start", path(&planned)), &json!({})).await;
        assert_eq!((status, &problem["code"]), (409, &json!("replay_state")), "it is being removed: {problem}");
        while service.store.purge_replays(now.after(DAY), 1).await.unwrap() > 0 {}
        let rows = "SELECT r.id || ' ' || i.n FROM replays AS r JOIN replay_items AS i ON i.replay_id = r.id";
        let left = texts(service.store.db(), rows).await;
        assert_eq!(left, [format!("{} 1", paused["id"].as_str().unwrap())]);
        let of = "SELECT (SELECT COUNT(*) FROM replays) * 100 + (SELECT COUNT(*) FROM replay_items)";
        assert_eq!(service.number(of).await, 101);
        service.finish().await;
    }
}
