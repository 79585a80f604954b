//! What is left of dead processes' logs: taken over as far as it can be read, and what is none of ours stays.

use std::path::PathBuf;

use serde_json::json;
use wxpay_worker::clock::Clock;
use wxpay_worker::event::command::{NoticeKind, NotifyReceived};
use wxpay_worker::event::envelope::{Envelope, EventData};
use wxpay_worker::event::subject;
use wxpay_worker::ids::MerchantKey;
use wxpay_worker::intake::{DatabaseId, LogSettings, Record};

use super::support::*;
use crate::faults::audit::{self, Orders};
use crate::faults::until;
use crate::flows::notifications::{SIGNED_BY_THE_TEST, signed};
use crate::harness::service::{KEY, Processes};
use crate::harness::sql::texts;

pub const NAME: &str = "notify-dddddddddddddddddddd";

/// A payment of this order that the test signed, as the ingress appends it.
pub fn notified(n: u32) -> Record {
    let (merchant, now) = (MerchantKey::parse("main").unwrap(), Clock::system().now());
    let numbers = [format!("L00000{n}"), format!("420000000020261122000000000{n}")];
    let body = signed(&[("out_trade_no", &numbers[0]), ("transaction_id", &numbers[1])], KEY).into_bytes();
    let remote_addr = "127.0.0.1".to_owned();
    let data = NotifyReceived { body, headers: Vec::new(), remote_addr, received_at: now, kind: NoticeKind::Pay };
    let event = Envelope::new(&merchant, NotifyReceived::TYPE, None, now, data);
    let payload = event.to_stored().unwrap();
    Record { subject: subject::notify_received(&merchant), id: event.id, accepted_at: now, payload }
}

/// Leaves a log as a dead process does, with a file for each record; the files. The service has run and ended.
pub async fn dead_log(rig: &Processes, records: Vec<Record>) -> Vec<PathBuf> {
    let db = rig.open_db().await;
    let id = texts(&db, "SELECT id FROM intake_database").await.pop().unwrap();
    let settings = LogSettings { file_bytes: 1, ..LogSettings::DEFAULT };
    let id = DatabaseId::parse(&id).unwrap();
    let (appender, mut reader) = wxpay_worker::intake::open(&folder(rig), NAME, id, settings).unwrap();
    for record in records {
        appender.append(record).await.unwrap();
    }
    appender.close();
    while !reader.take(100).await.is_empty() {}
    files(&folder(rig).join(NAME))
}

/// A service that placed three orders and ended; nothing asks WeChat about them before they expire.
pub async fn with_orders() -> Processes {
    let rig = with_log().await;
    rig.leave_books_open(SIGNED_BY_THE_TEST);
    let service = rig.run_all().await;
    for n in 1..=3 {
        rig.place(&service.base, &format!("L00000{n}"), 100).await;
    }
    assert!(service.terminate().await.success());
    let db = rig.open_db().await;
    db.execute("test", NOT_NOW, []).await.unwrap();
    rig
}

/// Orders that are not asked about before they expire.
const LATER: &str = "SELECT COUNT(*) FROM orders WHERE next_query_at_ms >= expires_at_ms";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_file_is_said_what_lies_around_it_is_settled_and_what_is_open_asked_about() {
    let rig = with_orders().await;
    let files = dead_log(&rig, (1..=3).map(notified).collect()).await;
    std::fs::remove_file(&files[1]).unwrap();
    let service = rig.run_all().await;
    said(&rig, "Notifications of an intake log are missing").await;
    for order_no in ["L000001", "L000003"] {
        rig.until_state(&service.base, order_no, "paid").await;
    }
    until_gone(&folder(&rig).join(NAME)).await;
    let db = rig.open_db().await;
    until("the open order is asked about", || async { (rig.number(&db, LATER).await == 0).then_some(()) }).await;
    assert_eq!(rig.number(&db, LEDGER).await, 2);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_read_stops_the_cursor_and_nothing_else_until_it_can() {
    let rig = with_orders().await;
    let files = dead_log(&rig, (1..=3).map(notified).collect()).await;
    let aside = folder(&rig).join("aside");
    std::fs::rename(&files[1], &aside).unwrap();
    // Reading it is an error, and not its end.
    std::fs::create_dir(&files[1]).unwrap();
    let db = rig.open_db().await;
    // The second time all that lies behind the cursor moves again, and changes nothing.
    for _ in 0..2 {
        let service = rig.run_all().await;
        said(&rig, "a file of an intake log cannot be read").await;
        let blocked = "wxpay_intake_logs_left{reason=\"blocked\"}";
        until("it is counted", || async { (rig.metric(&service, blocked).await == Some(1)).then_some(()) }).await;
        for order_no in ["L000001", "L000003"] {
            rig.until_state(&service.base, order_no, "paid").await;
        }
        rig.until_drained().await;
        assert!(service.terminate().await.success());
        assert_eq!((rig.number(&db, LEDGER).await, rig.number(&db, LATER).await), (2, 1));
    }
    std::fs::remove_dir(&files[1]).unwrap();
    std::fs::rename(&aside, &files[1]).unwrap();
    let service = rig.run_all().await;
    rig.until_state(&service.base, "L000002", "paid").await;
    until_gone(&folder(&rig).join(NAME)).await;
    rig.until_drained().await;
    assert_eq!(rig.number(&db, LEDGER).await, 3);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_is_no_message_is_kept_and_holds_up_no_other() {
    let rig = with_orders().await;
    let no_subject = Record { subject: "nonsense".into(), ..notified(1) };
    let no_notification = Record { payload: b"no notification".to_vec(), ..notified(2) };
    let bytes = [no_subject.to_bytes(), no_notification.to_bytes()];
    dead_log(&rig, vec![no_subject, no_notification, notified(3)]).await;
    let service = rig.run_all().await;
    rig.until_state(&service.base, "L000003", "paid").await;
    until_gone(&folder(&rig).join(NAME)).await;
    let kept = std::fs::read_dir(folder(&rig).join("damaged")).unwrap();
    let mut kept: Vec<Vec<u8>> = kept.map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect();
    kept.sort();
    let mut bytes = bytes.to_vec();
    bytes.sort();
    assert_eq!(kept, bytes);
    rig.finish().await;
}

/// Whether the log lies where the configuration says or not, nothing of it is lost.
#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_in_a_folder_that_is_not_read_is_said_and_settled_once_it_is_read() {
    let rig = with_log().await;
    rig.leave_books_open(SIGNED_BY_THE_TEST);
    let elsewhere = folder(&rig).with_extension("elsewhere");
    let there = ("WXPAY__SERVER__INTAKE_DIR", elsewhere.to_str().unwrap());
    let mut service = rig.run_all_with(&[there, ("WXPAY_CRASH_AT", "intake.synced")]).await;
    rig.place(&service.base, "L000001", 100).await;
    let notification = rig.http.post(format!("{}/notify/main/pay", service.base)).header("content-type", "text/xml");
    let body = signed(&[("out_trade_no", "L000001")], KEY);
    assert!(notification.body(body).send().await.is_err(), "the process dies before it answers");
    service.until_dead().await;
    let service = rig.run_all().await;
    said(&rig, "intake logs lie in a folder that this configuration does not read").await;
    let (_, order) = rig.get(&service.base, "/v1/orders/L000001?merchant=main").await;
    assert_eq!(order["state"], "payable");
    assert!(service.terminate().await.success());
    let service = rig.run_all_with(&[there]).await;
    rig.until_state(&service.base, "L000001", "paid").await;
    rig.until_drained().await;
    let db = rig.open_db().await;
    assert_eq!(rig.number(&db, LEDGER).await, 1);
    rig.finish().await;
}

/// Whether with or without a log of its own, a process removes nothing that is no log of its database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folders_beside_the_logs_stay_and_logs_of_others_are_reported() {
    let rig = with_log().await;
    let photos = folder(&rig).join("photos");
    let other = folder(&rig).join("notify-bbbbbbbbbbbbbbbbbbbb");
    for made in [&photos, &other] {
        std::fs::create_dir_all(made).unwrap();
        std::fs::write(made.join("lock"), "").unwrap();
        std::fs::write(made.join("00000000000000000000-00000000000000000000.log"), [7; 100]).unwrap();
    }
    let service = rig.run_all().await;
    said(&rig, "its header is damaged, and the database does not know it").await;
    assert!(service.terminate().await.success());
    for made in [&photos, &other] {
        assert_eq!(std::fs::read_dir(made).unwrap().count(), 2);
    }
    rig.finish().await;
}

/// The cursor of another database, as after a restore under the running service.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_that_is_elsewhere_ends_the_process_and_the_next_one_settles() {
    let rig = with_log().await;
    let mut service = rig.run_all().await;
    rig.place(&service.base, "L000001", 100).await;
    let db = rig.open_db().await;
    until("a cursor", || async { (rig.number(&db, CURSORS).await == 1).then_some(()) }).await;
    db.execute("test", "DELETE FROM intake_logs", []).await.unwrap();
    rig.pay("L000001").await;
    service.until_dead().await;
    said(&rig, "the database's cursor of").await;
    let service = rig.run_all().await;
    rig.until_state(&service.base, "L000001", "paid").await;
    rig.until_drained().await;
    let orders = Orders::from([("L000001".to_owned(), 100)]);
    audit::all_paid_once(&rig, &service.base, &orders).await;
    rig.finish().await;
}

/// A cursor behind which the files are gone: what was in them is asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_missing_is_said_and_open_orders_and_refunds_are_asked_about() {
    let rig = a_service().await.refunds().processes().await;
    let mut service = rig.run_all().await;
    let db = rig.open_db().await;
    until("a cursor", || async { (rig.number(&db, CURSORS).await == 1).then_some(()) }).await;
    rig.place(&service.base, "L000001", 100).await;
    rig.place(&service.base, "L000002", 100).await;
    rig.pay("L000002").await;
    rig.until_state(&service.base, "L000002", "paid").await;
    let refund = json!({"refund_no": "R000002", "amount_fen": 60});
    let (status, answer) = rig.post(&service.base, "/v1/orders/L000002/refunds?merchant=main", &refund).await;
    assert!([200, 202].contains(&status), "{answer}");
    let refunding = "SELECT COUNT(*) FROM refunds WHERE state = 'processing'";
    until("the refund at WeChat", || async { (rig.number(&db, refunding).await == 1).then_some(()) }).await;
    service.kill();
    std::fs::remove_dir_all(folder(&rig)).unwrap();
    // No further ahead than any schedule has it: what is, a job repairs.
    for later in [NOT_NOW, "UPDATE refunds SET next_at_ms = created_at_ms + 3300000"] {
        db.execute("test", later, []).await.unwrap();
    }
    let later_refunds = "SELECT COUNT(*) FROM refunds WHERE next_at_ms >= created_at_ms + 3300000";
    assert_eq!((rig.number(&db, LATER).await, rig.number(&db, later_refunds).await), (1, 1));
    service = rig.run_all().await;
    said(&rig, "an intake log that was not settled to its end is missing").await;
    let both = || async { rig.number(&db, LATER).await + rig.number(&db, later_refunds).await };
    until("order and refund are asked about", || async { (both().await == 0).then_some(()) }).await;
    rig.leave_unfinished("the refund stays as it is at WeChat");
    drop(service);
    rig.finish().await;
}
