//! What goes on when a process dies, beyond one payment: closing, another way to pay, money back, a payment of no
//! order.

use serde_json::{Value, json};
use wxpay_worker::store::Db;

use super::mortal::Mortal;
use crate::faults::{POLL_INTERVAL, audit};
use crate::flows::notifications::{notify, signed};
use crate::harness::service::{KEY, MCH_ID, Processes, Queue};
use crate::harness::within_timeout;

/// As far as WeChat's rule about closing is concerned.
async fn five_minutes_pass(db: &Db) {
    let sql = "UPDATE attempts SET created_at_ms = created_at_ms - 301000";
    db.execute("test", String::from(sql), []).await.unwrap();
}

/// The order is closed at WeChat and here, with one event, whichever process died on the way.
pub async fn closes(mortal: &mut Mortal<'_>, db: &Db, base: &str, site: &str) {
    let rig = mortal.rig;
    five_minutes_pass(db).await;
    mortal
        .until("the close", |_| async {
            let path = format!("{base}/v1/orders/A700001/close?merchant=main");
            let (status, order) = rig.try_post("", &path, &Value::Null).await.ok()?;
            assert!([200, 202, 503].contains(&status), "{order}");
            (status == 200 && order["state"] == "closed").then_some(())
        })
        .await;
    mortal.until_dead_and_drained(db, site).await;
    assert_eq!(rig.wechat_ledger("A700001").await["orders"][0]["state"], "CLOSED");
    assert_eq!(rig.events(base, "wxpay.order.closed.v1").await.len(), 1);
    for (table, rows) in [("ledger", 0), ("dead_letters", 0), ("attempts WHERE state = 'closed'", 1)] {
        assert_eq!(rig.number(db, &format!("SELECT COUNT(*) FROM {table}")).await, rows, "{table}");
    }
}

/// The old number is closed at WeChat before the new one takes money; there is one of each, and it is paid once,
/// whichever process died on the way.
pub async fn switches(mortal: &mut Mortal<'_>, db: &Db, base: &str, site: &str) {
    let rig = mortal.rig;
    five_minutes_pass(db).await;
    let native = &json!({"trade_type": "NATIVE"});
    let second = mortal
        .until("the other way to pay", |_| async {
            let (_, order) = rig.try_get(base, "/v1/orders/A700001?merchant=main").await.ok()?;
            let attempts = order["attempts"].as_array()?.clone();
            if attempts.len() == 1 {
                // The shop repeats what was not answered.
                let path = "/v1/orders/A700001/attempts?merchant=main";
                let (status, answer) = rig.try_post(base, path, native).await.ok()?;
                assert!([200, 202, 409, 503].contains(&status), "{answer}");
                return None;
            }
            let second = attempts.iter().find(|a| a["trade_type"] == "NATIVE")?;
            (second["state"] == "payable").then(|| second["out_trade_no"].as_str().unwrap().to_owned())
        })
        .await;
    let at_wechat = async |number: &str| rig.wechat_ledger(number).await["orders"][0]["state"].clone();
    assert_eq!((at_wechat("A700001").await, at_wechat(&second).await), (json!("CLOSED"), json!("NOTPAY")));
    rig.pay(&second).await;
    mortal
        .until("the payment", |_| async {
            let path = "/v1/orders/A700001?merchant=main&refresh=1";
            let (status, order) = rig.try_get(base, path).await.ok()?;
            (status == 200 && order["state"] == "paid").then_some(())
        })
        .await;
    mortal.until_dead_and_drained(db, site).await;
    assert_eq!(rig.events(base, "wxpay.order.paid.v1").await.len(), 1);
    for (table, rows) in
        [("ledger", 1), ("dead_letters", 0), ("attempts", 2), ("attempts WHERE state = 'closed'", 1), ("orders", 1)]
    {
        assert_eq!(rig.number(db, &format!("SELECT COUNT(*) FROM {table}")).await, rows, "{table}");
    }
    audit::published_once(rig, db, "order.paid", 1).await;
}

/// The shop asks for a refund until it is answered that it was taken; WeChat carries it out; the shop asks until it is
/// done.
pub async fn refunded(rig: &Processes, base: &str, db: &Db, mortal: &mut Mortal<'_>) {
    let body = &json!({"refund_no": "R700001", "amount_fen": 60});
    mortal
        .until("the refund is taken", |_| async {
            let (status, answer) = rig.try_post(base, "/v1/orders/A700001/refunds?merchant=main", body).await.ok()?;
            assert!([200, 202, 503].contains(&status), "{answer}");
            (status != 503).then_some(())
        })
        .await;
    mortal
        .until("the refund at WeChat", |_| async {
            refund_is_due(db).await;
            let ledger = rig.wechat_ledger("A700001").await;
            (!ledger["refunds"].as_array().unwrap().is_empty()).then_some(())
        })
        .await;
    ends(rig, "R700001").await;
    mortal
        .until("the refund", |_| async {
            refund_is_due(db).await;
            let (status, refund) = rig.try_get(base, "/v1/refunds/R700001?merchant=main").await.ok()?;
            (status == 200 && refund["state"] == "succeeded").then_some(())
        })
        .await;
}

/// A person refunds by hand; then the shop's refund fails for it, and the other one is known, whichever process died
/// between the two.
pub async fn refused(rig: &Processes, base: &str, db: &Db, mortal: &mut Mortal<'_>) {
    let body = json!({"mch_id": MCH_ID, "out_trade_no": "A700001", "refund_fee": 60});
    let (status, refund) = rig.post(&rig.wechat_url, "/_sandbox/refunds/console", &body).await;
    assert_eq!(status, 200, "{refund}");
    ends(rig, refund["out_refund_no"].as_str().unwrap()).await;
    let body = &json!({"refund_no": "R700001", "amount_fen": 60});
    mortal
        .until("the refusal", |_| async {
            let path = "/v1/orders/A700001/refunds?merchant=main";
            let (status, answer) = rig.try_post(base, path, body).await.ok()?;
            assert!([202, 422, 503].contains(&status), "{answer}");
            (status == 422 && answer["payment_refunded_fen"] == json!(60)).then_some(())
        })
        .await;
    mortal
        .until("the other refund", |_| async {
            // A minute has passed, as far as the order's next poll is concerned.
            let sql = "UPDATE orders SET next_look_at_ms = 1 WHERE next_look_at_ms IS NOT NULL";
            let _ = db.execute("test", String::from(sql), []).await;
            refund_is_due(db).await;
            (rig.number(db, "SELECT COUNT(*) FROM refund_ledger").await == 1).then_some(())
        })
        .await;
}

/// The payer has the money, as far as WeChat is concerned.
pub async fn ends(rig: &Processes, out_refund_no: &str) {
    let body = json!({"mch_id": MCH_ID, "out_refund_no": out_refund_no, "outcome": "SUCCESS"});
    let (status, ended) = rig.post(&rig.wechat_url, "/_sandbox/refunds/outcome", &body).await;
    assert_eq!(status, 200, "{ended}");
}

/// A minute and more have passed, as far as the refund's next poll is concerned. What the scheduler has taken up is
/// left to its lease for a while: nothing must be done twice at once because the test waits less.
pub async fn refund_is_due(db: &Db) {
    let soon = wxpay_worker::clock::Clock::system().now().after(std::time::Duration::from_secs(50)).as_ms();
    let sql = format!("UPDATE refunds SET next_at_ms = 1 WHERE next_at_ms IS NOT NULL AND next_at_ms < {soon}");
    let _ = db.execute("test", sql, []).await;
}

const WAITING: &str = "SELECT COUNT(*) FROM notifications WHERE verdict = 'waiting'";

/// Three copies of a payment's notification have waited for its order longer than the workers' deadline; nothing on
/// the bus remembers them, and no process runs.
pub async fn forgotten(rig: &mut Processes) {
    let service = rig.run_all().await;
    let db = rig.open_db().await;
    for _ in 0..3 {
        assert!(notify(rig, &service, "main", signed(&[], KEY)).await.1.contains("SUCCESS"));
    }
    within_timeout("three that wait", async {
        while rig.number(&db, WAITING).await != 3 {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    })
    .await;
    service.terminate().await;
    if let Queue::Nats(server) = &mut rig.queue {
        server.kill();
        server.wipe();
        server.start_again();
    }
    for sql in [
        "DELETE FROM bus_deliveries",
        "DELETE FROM bus_messages",
        "DELETE FROM deferred",
        "UPDATE notifications SET processed_at_ms = processed_at_ms - 900000",
    ] {
        db.execute("test", String::from(sql), []).await.unwrap();
    }
}

/// Each copy comes to its end and can be listed; the payment has one event, whichever process died on the way.
pub async fn orphaned(mortal: &mut Mortal<'_>, db: &Db, base: &str, site: &str) {
    let rig = mortal.rig;
    mortal.until("the end of the waiting", |_| async { (rig.number(db, WAITING).await == 0).then_some(()) }).await;
    mortal.until_dead_and_drained(db, site).await;
    for (what, rows) in [
        ("notifications WHERE verdict = 'parked' AND reason = 'unknown_order'", 3),
        ("dead_letters WHERE reason = 'unknown_order'", 3),
        ("outbox WHERE event_type = 'wxpay.payment.orphaned.v1'", 1),
    ] {
        assert_eq!(rig.number(db, &format!("SELECT COUNT(*) FROM {what}")).await, rows, "{what}");
    }
    let orphaned = rig.events(base, "wxpay.payment.orphaned.v1").await;
    assert_eq!((orphaned.len(), &orphaned[0]["data"]["transaction_id"]), (1, &json!("4200000000202611220000000001")));
    audit::published_once(rig, db, "payment.orphaned", 1).await;
}
