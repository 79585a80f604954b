//! Payments of no order whose notification is lost on the way: the database has it, and no process has to remember.

use std::time::Duration;

use wxpay_worker::store::Db;

use super::notifications::{SIGNED_BY_THE_TEST, notify, signed};
use super::on_all_four;
use crate::harness::service::{KEY, Process, Processes, Queue, jsapi};
use crate::harness::within_timeout;

const WAITING: &str = "SELECT COUNT(*) FROM notifications WHERE verdict = 'waiting'";

async fn until_waiting(service: &Processes, db: &Db, count: i64) {
    within_timeout(&format!("{count} that wait"), async {
        while service.number(db, WAITING).await != count {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// Everything on the bus is gone, under the running process.
async fn lose_all_messages(service: &mut Processes, db: &Db, process: &Process) {
    match &mut service.queue {
        Queue::Embedded => {
            // With every process that holds one of them at this moment.
            for table in ["bus_deliveries", "bus_messages"] {
                db.execute("test", String::from(&format!("DELETE FROM {table}")), []).await.unwrap();
            }
        }
        Queue::Nats(server) => {
            server.kill();
            server.wipe();
            server.start_again();
        }
        Queue::Cluster(_) => unreachable!("not on a cluster"),
    }
    let lost = async {
        while service.get(&process.base, "/readyz").await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within_timeout("the process on its empty bus", lost).await;
}

/// A quarter of an hour passes for those that wait.
async fn wait_long(db: &Db) {
    let sql = "UPDATE notifications SET processed_at_ms = processed_at_ms - 900000 WHERE verdict = 'waiting'";
    db.execute("test", String::from(sql), []).await.unwrap();
}

on_all_four! {
    async fn a_payment_of_no_order_is_announced_once_although_all_its_messages_were_lost(service) {
        let mut service = service;
        service.expect_dead_letters(&["unknown_order"; 3]);
        let process = service.run_all().await;
        let db = service.open_db().await;
        for _ in 0..3 {
            assert!(notify(&service, &process, "main", signed(&[], KEY)).await.1.contains("SUCCESS"));
        }
        until_waiting(&service, &db, 3).await;
        lose_all_messages(&mut service, &db, &process).await;
        // The host that took it was hours ahead.
        let ahead = "UPDATE notifications SET received_at_ms = received_at_ms + 10000000";
        db.execute("test", String::from(ahead), []).await.unwrap();
        // A worker that was handling one of them may write its time once more.
        within_timeout("the end of the wait", async {
            while service.number(&db, WAITING).await > 0 {
                wait_long(&db).await;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        })
        .await;
        service.until_drained().await;
        for (what, rows) in [
            ("notifications WHERE verdict = 'parked' AND reason = 'unknown_order'", 3),
            ("outbox WHERE event_type = 'wxpay.payment.orphaned.v1'", 1),
        ] {
            assert_eq!(service.number(&db, &format!("SELECT COUNT(*) FROM {what}")).await, rows, "{what}");
        }
        let orphaned = service.events(&process.base, "wxpay.payment.orphaned.v1").await;
        assert_eq!(orphaned.len(), 1);
        assert_eq!(orphaned[0]["data"]["transaction_id"], "4200000000202611220000000001");
        let id = orphaned[0]["data"]["notification_id"].as_str().unwrap();
        let kept = format!("SELECT COUNT(*) FROM notifications WHERE event_id = '{id}' AND LENGTH(body) > 100");
        assert_eq!(service.number(&db, &kept).await, 1, "the words that WeChat signed");
        service.finish().await;
    }

    async fn a_payment_whose_messages_were_lost_settles_once_its_order_is_there(service) {
        let mut service = service;
        service.leave_books_open(SIGNED_BY_THE_TEST);
        let process = service.run_all().await;
        let db = service.open_db().await;
        assert!(notify(&service, &process, "main", signed(&[], KEY)).await.1.contains("SUCCESS"));
        until_waiting(&service, &db, 1).await;
        lose_all_messages(&mut service, &db, &process).await;
        let (status, order) = service.post(&process.base, "/v1/orders", &jsapi("A700001", 100)).await;
        assert!([200, 202].contains(&status), "{order}");
        wait_long(&db).await;
        service.until_state(&process.base, "A700001", "paid").await;
        service.until_drained().await;
        for (what, rows) in [
            ("notifications WHERE verdict = 'settled'", 1),
            ("ledger", 1),
            ("outbox WHERE event_type = 'wxpay.payment.orphaned.v1'", 0),
        ] {
            assert_eq!(service.number(&db, &format!("SELECT COUNT(*) FROM {what}")).await, rows, "{what}");
        }
        service.finish().await;
    }
}
