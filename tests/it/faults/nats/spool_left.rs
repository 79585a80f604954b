//! What is left in a spool: by processes that write none any more, and records that no stream takes.

use std::path::Path;

use wxpay_worker::clock::Clock;
use wxpay_worker::event::command::{NoticeKind, NotifyReceived};
use wxpay_worker::event::envelope::{Envelope, EventData};
use wxpay_worker::event::subject;
use wxpay_worker::ids::MerchantKey;
use wxpay_worker::intake::{DatabaseId, LogSettings, Record};

use super::bundles::{pay, place, until_paid};
use super::spool::{BEHIND, logs, nats, until_acknowledged, with_spool};
use crate::faults::audit;
use crate::faults::load::numbers;
use crate::faults::until;
use crate::harness::service::Processes;
use crate::harness::sql::texts;

pub const DIRECT: &[(&str, &str)] = &[("WXPAY__SERVER__INTAKE", "direct")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_spool_holds_is_forwarded_by_processes_that_write_none() {
    for heir in ["ingress", BEHIND] {
        let (mut rig, folder) = with_spool().await;
        let mut ingress = rig.run_roles("ingress").await;
        let mut worker = rig.run_beside(BEHIND, DIRECT).await;
        let orders = numbers(0..5);
        place(&rig, &ingress.base, &orders).await;
        nats(&mut rig).kill();
        pay(&rig, &orders.keys().collect::<Vec<_>>()).await;
        until_acknowledged(&rig, &orders).await;
        let left = logs(folder.path());
        assert_eq!(left.len(), 1);
        ingress.kill();
        worker.kill();
        nats(&mut rig).start_again();
        // With the folder, and no spool of its own; the other one knows no folder at all.
        let elsewhere = [DIRECT[0], ("WXPAY__SERVER__INTAKE_DIR", "")];
        let env_of = |role: &str| if role == heir { DIRECT } else { &elsewhere[..] };
        let ingress = rig.run_with("ingress", env_of("ingress")).await;
        let _worker = rig.run_beside(BEHIND, env_of(BEHIND)).await;
        until_paid(&rig, 0).await;
        until("the dead process's log gone", || async { (!left[0].exists()).then_some(()) }).await;
        assert_eq!(logs(folder.path()).len(), 0, "{heir} writes none");
        rig.until_drained().await;
        audit::all_paid_once(&rig, &ingress.base, &orders).await;
        rig.finish().await;
    }
}

/// A notification with this body, as the ingress appends it.
pub fn notified(body: Vec<u8>) -> Record {
    let (merchant, now) = (MerchantKey::parse("main").unwrap(), Clock::system().now());
    let remote_addr = "127.0.0.1".to_owned();
    let data = NotifyReceived { body, headers: Vec::new(), remote_addr, received_at: now, kind: NoticeKind::Pay };
    let event = Envelope::new(&merchant, NotifyReceived::TYPE, None, now, data);
    let payload = event.to_stored().unwrap();
    Record { subject: subject::notify_received(&merchant), id: event.id, accepted_at: now, payload }
}

/// Leaves a log with these records, as a dead process does.
pub async fn leave(rig: &Processes, folder: &Path, name: &str, records: Vec<Record>) {
    let id = texts(&rig.open_db().await, "SELECT id FROM intake_database").await.pop().unwrap();
    let id = DatabaseId::parse(&id).unwrap();
    let (appender, mut reader) = wxpay_worker::intake::open(folder, name, id, LogSettings::DEFAULT).unwrap();
    for record in records {
        appender.append(record).await.unwrap();
    }
    appender.close();
    while !reader.take(100).await.is_empty() {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_accepted_record_that_no_stream_takes_is_kept_and_wechat_is_asked() {
    let (rig, folder) = with_spool().await;
    let ingress = rig.run_roles("ingress").await;
    // It places the order; no process asks WeChat here.
    let _worker = rig.run_beside("worker,relay", &[DIRECT[0], ("WXPAY__SERVER__INTAKE_DIR", "")]).await;
    rig.place(&ingress.base, "A000000", 100).await;
    let db = rig.open_db().await;
    // Nothing asks about it before it expires.
    db.execute("test", "UPDATE orders SET next_query_at_ms = expires_at_ms", []).await.unwrap();
    // Larger than any message may be.
    let too_large = notified(vec![b'x'; 600_000]);
    leave(&rig, folder.path(), "notify-dddddddddddddddddddd", vec![too_large]).await;
    until("its end", || async { (logs(folder.path()).len() == 1).then_some(()) }).await;
    let kept = std::fs::read_dir(folder.path().join("damaged")).unwrap().count();
    assert_eq!(kept, 1, "its bytes are kept");
    let later = "SELECT COUNT(*) FROM orders WHERE next_query_at_ms >= expires_at_ms";
    assert_eq!(rig.number(&db, later).await, 0, "what it said only WeChat knows");
    until("the gauge", || async {
        (rig.metric::<f64>(&ingress, "wxpay_intake_damaged_files").await == Some(1.0)).then_some(())
    })
    .await;
    rig.finish().await;
}
