//! Whose rows an erasure may touch: the payer's under one app, and what is needed no more.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{OTHER, holders, run};
use crate::harness::service::{InProcess, OPENID, TestService, jsapi};
use crate::harness::sql::texts;
use crate::settling::on_both;

/// Rows that have the openid and are another merchant's, or another app's.
async fn others(service: &InProcess) {
    let db = service.store.db();
    let now = service.clock.now().as_ms();
    let body = |appid: &str| format!("<xml><appid>{appid}</appid><openid><![CDATA[{OPENID}]]></openid></xml>");
    let message = json!({"data": {"body": STANDARD.encode(body("wx0"))}}).to_string().into_bytes();
    let quarantine = "INSERT INTO quarantine (merchant, reason, remote_addr, received_at_ms, body)
                      VALUES ($1, 'r', '', $3, $2)";
    let plain = format!("<xml><openid>{OPENID}</openid></xml>");
    run(db, quarantine, ["foreign".into(), plain.clone().into_bytes().into(), now.into()]).await;
    run(db, quarantine, ["main".into(), body("wx00000000000000ff").into_bytes().into(), now.into()]).await;
    run(db, "INSERT INTO refused_bodies VALUES ('foreign', 'h', $1, $2)", [plain.into_bytes().into(), now.into()])
        .await;
    for (id, subject) in [("d1", "pay.in.foreign.notify.received"), ("d2", "pay.in.main.notify.received")] {
        let letter = "INSERT INTO dead_letters (event_id, consumer, subject, headers, payload, reason, first_error,
                        last_error, attempts, parked_at_ms, state, ended_at_ms)
                      VALUES ($1, 'c', $2, '[]', $3, 'r', 'e', 'e', 1, $4, 'discarded', $4)";
        run(db, letter, [id.into(), subject.into(), message.clone().into(), now.into()]).await;
    }
}

on_both! {
    async fn rows_of_other_apps_merchants_and_payers_are_as_they_were(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("ERC00001").await;
        // Another payer's, whose business wrote the openid where it does not say who pays.
        let mut other = jsapi("ERC00002", 100);
        other["openid"] = json!(OTHER);
        other["attach"] = json!(OPENID);
        service.place_as(&other).await;
        service.pay("ERC00002").await;
        service.until_state("ERC00002", "paid").await;
        service.until_idle().await;
        let db = service.store.db().clone();
        run(&db, "UPDATE orders SET app = 'another' WHERE order_no = 'ERC00001'", []).await;
        others(&service).await;
        service.knows(OPENID).await;
        let rows = [
            "SELECT content FROM orders ORDER BY id",
            "SELECT params FROM attempts ORDER BY id",
            "SELECT CAST(COUNT(*) AS TEXT) FROM quarantine",
            "SELECT CAST(COUNT(*) AS TEXT) FROM refused_bodies",
            "SELECT CAST(COUNT(*) AS TEXT) FROM dead_letters",
        ];
        let mut before = Vec::new();
        for sql in rows {
            before.push(texts(&db, sql).await);
        }
        assert!(holders(&db, OPENID).await.contains("notifications.body"));
        let asked = service.asks_erasure().await;
        service.until_erased().await;
        for (sql, before) in rows.into_iter().zip(before) {
            assert_eq!(texts(&db, sql).await, before, "{sql}");
        }
        assert!(holders(&db, OPENID).await.contains("notifications.body"));
        // The user, and the end of the sessions.
        let done = service.erasure(&asked).await;
        assert_eq!((&done["changed"], &done["removed"]), (&json!(1), &json!(2)), "{done}");
        run(&db, "DELETE FROM dead_letters", []).await;
        service.finish().await;
    }

    async fn who_is_not_known_under_the_app_is_not_found_and_nothing_is_written(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        let mut own = jsapi("ERC00003", 100);
        own["attach"] = json!(OTHER);
        service.place_as(&own).await;
        let transaction = "4200001234202611291234567890";
        for openid in [OTHER, transaction, "ERC00003", "shop"] {
            let wanted = json!({"app": "shop", "openid": openid, "reason": "x"});
            assert_eq!(service.post("/v1/ops/erasures", &wanted).await.0, 404, "{openid}");
        }
        assert_eq!(service.number("SELECT COUNT(*) FROM erasures").await, 0);
        assert_eq!(service.number("SELECT COUNT(*) FROM ended_sessions").await, 0);
        // Known by an order alone.
        service.asks_erasure().await;
        assert_eq!(service.number("SELECT COUNT(*) FROM erasures").await, 1);
        service.finish().await;
    }

    async fn a_notification_that_may_still_be_needed_is_as_it_was(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("ERC00004").await;
        service.until_idle().await;
        let db = service.store.db().clone();
        let held = "UPDATE payments SET class = 'held', reason = 'late'";
        let credited = "UPDATE payments SET class = 'credited', reason = NULL";
        let letter = "INSERT INTO dead_letters (event_id, consumer, subject, headers, payload, reason, first_error,
                        last_error, attempts, parked_at_ms, state)
                      SELECT event_id, 'c', 's', '[]', $1, 'r', 'e', 'e', 1, 1, 'parked' FROM notifications";
        let ended = "UPDATE dead_letters SET state = 'discarded', ended_at_ms = 1";
        run(&db, held, []).await;
        let asked = service.asks_erasure().await;
        service.until_erasure_is("waiting").await;
        assert_eq!(service.erasure(&asked).await["waits_for"], json!({"notifications": 1}));
        run(&db, credited, []).await;
        run(&db, letter, [b"{}".to_vec().into()]).await;
        service.asks_erasure().await;
        service.until_erasure_is("waiting").await;
        assert_eq!(service.erasure(&asked).await["waits_for"], json!({"notifications": 1}));
        assert!(holders(&db, OPENID).await.contains("notifications.body"));
        run(&db, ended, []).await;
        service.asks_erasure().await;
        service.until_erased().await;
        assert!(holders(&db, OPENID).await.is_empty());
        run(&db, "DELETE FROM dead_letters", []).await;
        service.finish().await;
    }
}
