//! SUCCESS never before the disk has it: seen in the system calls, and after a kill at the worst moment.

use std::path::Path;

use futures_util::future::join_all;
use wxpay_worker::bus::{Bus, Message};

use super::nats::bundles::{stored, until_read};
use super::nats::spool::with_spool;
use super::trace::{Call, Expected, Flaw, kept, read};
use super::until;
use crate::flows::notifications::{SIGNED_BY_THE_TEST, notify, notify_until_acknowledged, signed};
use crate::harness::bus::bus_settings;
use crate::harness::db::TestDb;
use crate::harness::nats::{NatsServer, traced};
use crate::harness::service::{KEY, Process, Processes, Queue, TestService};

const SUBJECT: &str = "pay.in.main.notify.received";
/// Begins what a server of NATS says of a message that it has.
const STORED: &str = r#"{\"stream\":\"PAY_IN\""#;

/// The trace once it shows the whole sequence or a flaw that nothing later can mend.
async fn judged(trace: &Path, expected: &Expected<'_>) -> (Vec<Call>, Result<(), Flaw>) {
    until("the acknowledgement in the trace", || async {
        let calls = read(trace);
        match kept(&calls, expected) {
            Err(Flaw::NeverReceived | Flaw::Unanswered) => None,
            judged => Some((calls, judged)),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_answers_success_only_after_the_notification_is_synced_to_sqlites_log() {
    syncs_before_success(TestService::embedded_sqlite().await.processes().await, "ingress", ".db-wal").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_answers_success_only_after_the_notification_is_synced_to_its_intake_log() {
    let rig = TestService::embedded_sqlite().await.processes().await;
    syncs_before_success(rig, "ingress,worker", ".db.intake/notify-").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_answers_success_only_after_the_notification_is_synced_to_its_spool() {
    let (rig, _folder) = with_spool().await;
    syncs_before_success(rig, "ingress", "/notify-").await;
}

/// Starts these roles with their system calls written to `trace`, on the address WeChat posts to.
async fn run_traced(rig: &Processes, roles: &str, trace: &Path) -> Process {
    let mut command = traced(env!("CARGO_BIN_EXE_wxpayd"), trace);
    command.args(["run", "--only", roles, "--config"]).arg(rig.config_file());
    command.env("WXPAY__SERVER__LISTEN", format!("127.0.0.1:{}", rig.port()));
    rig.spawn(command, rig.port()).await
}

async fn syncs_before_success(rig: Processes, roles: &str, file: &str) {
    rig.leave_unfinished("no worker runs, or no order is there");
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let service = run_traced(&rig, roles, &trace).await;
    let (status, answer) = notify(&rig, &service, "main", signed(&[], KEY)).await;
    assert_eq!((status, answer.contains("SUCCESS")), (200, true), "{answer}");
    let expected = Expected { message: "POST /notify/main/pay", stored: SUBJECT, file, answer: "HTTP/1.1 200" };
    let (calls, outcome) = judged(&trace, &expected).await;
    assert_eq!(outcome, Ok(()));
    // Without its syncs the same trace fails: it is the sync that was found, not something like it.
    let unsynced: Vec<Call> = calls.into_iter().filter(|c| !c.syncs()).collect();
    assert_eq!(kept(&unsynced, &expected), Err(Flaw::Unsynced));
    rig.finish().await;
}

/// Of the system calls of an ingress: how many notifications it had answered with SUCCESS when it read that the server
/// has its first bundle.
fn answered_before_the_bundle(calls: &[Call]) -> Option<usize> {
    let sent = calls.iter().find(|c| c.writes() && c.text.contains("pay.in.main.bundle.notify"))?;
    let stored = calls.iter().find(|c| c.reads() && c.ended > sent.began && c.text.contains(STORED))?;
    let answers = |c: &&Call| c.writes() && c.text.contains("HTTP/1.1 200") && c.text.contains("SUCCESS");
    Some(calls.iter().filter(answers).filter(|c| c.began < stored.ended).count())
}

/// The server acknowledges a bundle once it has synced it, and the ingress answers its notifications after that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_notifications_of_a_bundle_are_answered_only_after_the_server_has_synced_it() {
    const AT_ONCE: usize = 20;
    let folder = tempfile::tempdir().unwrap();
    let (of_server, of_service) = (folder.path().join("server"), folder.path().join("service"));
    let server = NatsServer::start_traced("always", of_server.clone());
    let rig = TestService::new().on(TestDb::sqlite()).with(Queue::Nats(server)).processes().await;
    rig.leave_unfinished("no order is there");
    let _worker = rig.run_beside("worker", &[]).await;
    until_read(&rig).await;
    let service = run_traced(&rig, "ingress", &of_service).await;
    // They wait together while the first is under way.
    let (mut before, mut singly_before) = (0, 0);
    let singly = loop {
        let posts = (before..before + AT_ONCE).map(async |n| {
            let numbers = [format!("A{n:06}"), format!("42000000002026112200{n:08}")];
            let body = signed(&[("out_trade_no", &numbers[0]), ("transaction_id", &numbers[1])], KEY);
            notify_until_acknowledged(&rig, &service, &body).await
        });
        join_all(posts).await;
        let (bundles, singly) = stored(&rig).await;
        if bundles > 0 {
            break singly - singly_before;
        }
        (before, singly_before) = (before + AT_ONCE, singly);
        assert!(before < 20 * AT_ONCE, "no bundle was sent");
    };
    let expected = Expected {
        message: "HPUB pay.in.main.bundle.notify",
        stored: "pay.in.main.bundle.notify",
        file: "/PAY_IN/msgs/",
        answer: STORED,
    };
    assert_eq!(judged(&of_server, &expected).await.1, Ok(()));
    let answered = || async { answered_before_the_bundle(&read(&of_service)) };
    let answered = until("the acknowledgement in the trace of the service", answered).await;
    assert!(answered <= before + singly, "{answered} of {before} and {singly} that went singly");
    rig.finish().await;
}

/// Publishes one message to a traced server and judges what the server did before its acknowledgement.
async fn nats_syncs_before_success(sync_interval: &'static str, require_fsync: bool) -> Result<(), Flaw> {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let server = NatsServer::start_traced(sync_interval, trace.clone());
    let mut settings = bus_settings(server.url(), vec![server.monitoring_url()], 1 << 30);
    settings.require_fsync = require_fsync;
    let (bus, _) = Bus::connect(&settings, None).await.unwrap();
    bus.publish(Message::new(SUBJECT, "a payment of one fen")).await.unwrap();
    let expected = Expected {
        message: "HPUB pay.in.main.notify.received",
        stored: "a payment of one fen",
        file: "/PAY_IN/msgs/",
        answer: STORED,
    };
    judged(&trace, &expected).await.1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nats_server_that_syncs_always_acknowledges_only_what_is_synced() {
    assert_eq!(nats_syncs_before_success("always", true).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nats_server_that_syncs_later_acknowledges_what_is_not_synced() {
    let flaw = nats_syncs_before_success("2m", false).await.unwrap_err();
    assert!(matches!(flaw, Flaw::Unsynced | Flaw::Unwritten), "{flaw:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_with_success_is_in_the_file_after_a_kill_and_settles() {
    const ORDERS: usize = 50;
    let number = |n: usize| format!("A{n:06}");
    let rig = TestService::embedded_sqlite().await.direct().processes().await;
    let all = rig.run_all().await;
    for n in 0..ORDERS {
        rig.place(&all.base, &number(n), 100).await;
    }
    assert!(all.terminate().await.success());
    let mut ingress = rig.run_roles("ingress").await;
    let posts = (0..ORDERS).map(async |n| {
        let transaction = format!("42000000002026112200{n:08}");
        let body = signed(&[("out_trade_no", &number(n)), ("transaction_id", &transaction)], KEY);
        notify_until_acknowledged(&rig, &ingress, &body).await;
    });
    join_all(posts).await;
    ingress.kill();

    // Only the database and its log go to the next machine, as a disk would; what memory knew of them stays behind.
    let TestDb::Sqlite(from) = &rig.db else { unreachable!("on SQLite") };
    let to = tempfile::tempdir().unwrap();
    for file in ["wxpay.db", "wxpay.db-wal"] {
        std::fs::copy(from.path().join(file), to.path().join(file)).unwrap();
    }
    let next = TestService::new().on(TestDb::Sqlite(to)).with(Queue::Embedded).direct().processes().await;
    let db = next.open_db().await;
    let kept = format!("SELECT COUNT(*) FROM bus_messages WHERE subject = '{SUBJECT}'");
    assert!(next.number(&db, &kept).await >= ORDERS as i64);
    let service = next.run_all().await;
    for n in 0..ORDERS {
        next.until_state(&service.base, &number(n), "paid").await;
    }
    next.until_drained().await;
    for table in ["ledger", "notifications WHERE verdict = 'settled'", "orders WHERE state = 'paid'"] {
        assert_eq!(next.number(&db, &format!("SELECT COUNT(*) FROM {table}")).await, ORDERS as i64, "{table}");
    }
    rig.leave_unfinished("its ingress was killed; the copy goes on");
    rig.finish().await;
    next.leave_books_open(SIGNED_BY_THE_TEST);
    next.finish().await;
}
