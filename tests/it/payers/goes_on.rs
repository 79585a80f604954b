//! When an erasure goes on, with what, and when it has ended.

use serde_json::json;

use super::{NAME, holders, run};
use crate::harness::service::{OPENID, TestService};
use crate::settling::on_both;

on_both! {
    async fn a_row_that_cannot_be_read_and_a_step_that_fails_keep_nothing_else(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("ERG00001").await;
        service.paid("ERG00002").await;
        service.until_idle().await;
        let db = service.store.db().clone();
        run(&db, "UPDATE orders SET content = 'no JSON' WHERE order_no = 'ERG00001'", []).await;
        // Erasures that no process can read are due first.
        for n in 0..8 {
            let broken = "INSERT INTO erasures (app, payer, openid, scope, reason, asked_by, asked_by_id, remote_addr,
                                                asked_at_ms, last_pass_from_ms, state, next_at_ms)
                          VALUES ('shop', $1, $2, 'no JSON', '', '', '', '', 1, 1, 'running', 1)";
            run(&db, broken, [format!("payer-{n}").into(), OPENID.into()]).await;
        }
        run(&db, "ALTER TABLE quarantine RENAME TO quarantine_elsewhere", []).await;
        let asked = service.asks_erasure().await;
        let failed = "SELECT COUNT(*) FROM erasures WHERE error IS NOT NULL AND tries > 0 AND next_at_ms > asked_at_ms";
        service.until_number("a step that failed", failed, |n| n == 1).await;
        let shown = service.erasure(&asked).await;
        assert!(shown["error"].as_str().unwrap().contains("quarantine"), "{shown}");
        run(&db, "ALTER TABLE quarantine_elsewhere RENAME TO quarantine", []).await;
        service.skip(3600);
        service.until_erasure_is("waiting").await;
        let shown = service.erasure(&asked).await;
        // Once by the order itself and once by its evidence.
        assert_eq!((&shown["waits_for"], &shown["error"]), (&json!({"unreadable": 2}), &json!(null)), "{shown}");
        assert!(!holders(&db, OPENID).await.contains("orders.content"), "the other order is as it was");
        service.finish().await;
    }

    async fn a_row_that_cannot_be_read_ends_no_list(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("ERG00010").await;
        let asked = service.asks_erasure().await;
        for n in 0..2 {
            let broken = "INSERT INTO erasures (app, payer, openid, scope, reason, asked_by, asked_by_id, remote_addr,
                                                asked_at_ms, last_pass_from_ms, state, next_at_ms)
                          VALUES ('shop', $1, $2, 'no JSON', '', '', '', '', 1, 1, 'running', 1)";
            run(service.store.db(), broken, [format!("payer-{n}").into(), OPENID.into()]).await;
        }
        let (_, page) = service.get("/v1/ops/erasures?limit=2").await;
        assert_eq!(page["erasures"], json!([]), "{page}");
        let rest = format!("/v1/ops/erasures?limit=2&after={}", page["next"].as_str().unwrap());
        let (_, page) = service.get(&rest).await;
        assert_eq!((&page["erasures"][0]["id"], &page["next"]), (&asked["id"], &json!(null)), "{page}");
        service.finish().await;
    }

    async fn it_ends_with_a_pass_that_began_when_nothing_of_before_can_come_any_more(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("ERG00003").await;
        service.until_idle().await;
        let db = service.store.db().clone();
        let asked = service.asks_erasure().await;
        service.until_erasure_is("waiting").await;
        assert_eq!(service.erasure(&asked).await["waits_for"], json!({"last_pass": 1}));
        assert!(service.number("SELECT MIN(next_at_ms - asked_at_ms) FROM erasures").await >= 24 * 3_600_000);
        // A redelivery of the order's notification, as it is written the day after.
        let body = format!("<xml><openid><![CDATA[{OPENID}]]></openid></xml>").into_bytes();
        run(&db, "UPDATE notifications SET body = $1", [body.into()]).await;
        service.until_erased().await;
        assert!(!holders(&db, OPENID).await.contains("notifications.body"));
        service.finish().await;
    }

    async fn asked_for_again_it_takes_what_came_since_the_first_request(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("ERG00004").await;
        let first = service.asks_erasure().await;
        service.until_erasure_is("waiting").await;
        service.skip(5);
        service.paid("ERG00005").await;
        service.until_idle().await;
        assert!(holders(service.store.db(), OPENID).await.contains("orders.content"));
        let second = service.asks_erasure().await;
        assert_eq!(second["id"], first["id"]);
        assert!(second["asked_at"].as_str() > first["asked_at"].as_str(), "{second}");
        service.until_erased().await;
        assert!(holders(service.store.db(), OPENID).await.is_empty());
        service.finish().await;
    }

    async fn the_user_is_gone_with_the_request_itself(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        // Of a login whose time is later than the request's.
        service.knows(OPENID).await;
        service.asks_erasure().await;
        assert_eq!(service.number("SELECT COUNT(*) FROM users").await, 0);
        assert!(holders(service.store.db(), NAME).await.is_empty());
        service.finish().await;
    }

    async fn a_key_that_made_names_and_is_lost_keeps_it_open(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.knows(OPENID).await;
        let db = service.store.db().clone();
        run(&db, "INSERT INTO payer_key_prints VALUES ('payer-of-another-key')", []).await;
        let asked = service.asks_erasure().await;
        service.until_erasure_is("waiting").await;
        assert_eq!(service.erasure(&asked).await["waits_for"], json!({"keys": 1}));
        run(&db, "DELETE FROM payer_key_prints WHERE print = 'payer-of-another-key'", []).await;
        assert_eq!(service.number("SELECT COUNT(*) FROM payer_key_prints").await, 1, "its own is not noted");
        service.asks_erasure().await;
        service.until_erased().await;
        service.finish().await;
    }
}
