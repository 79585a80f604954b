//! Notifications that come at once travel in bundles, whichever process dies on the way.

use async_nats::jetstream;
use futures_util::StreamExt;
use futures_util::future::join_all;

use crate::faults::audit::{self, Orders};
use crate::faults::load::numbers;
use crate::faults::until;
use crate::harness::service::{Process, Processes, TestService};

/// The roles behind an ingress.
const BEHIND: &str = "worker,relay,scheduler";

pub async fn stream(rig: &Processes) -> jetstream::stream::Stream {
    let context = jetstream::new(async_nats::connect(rig.queue.url()).await.unwrap());
    context.get_stream("PAY_IN").await.unwrap()
}

/// Awaits that the server knows of a process that reads bundles.
pub async fn until_read(rig: &Processes) {
    let stream = stream(rig).await;
    until("a request for bundles", || async {
        let found = stream.consumer_info("settle-bundles").await.ok()?;
        (found.num_waiting > 0).then_some(())
    })
    .await;
}

/// How many bundles and single notifications are in the queue.
pub async fn stored(rig: &Processes) -> (usize, usize) {
    let mut subjects = stream(rig).await.info_with_subjects("pay.in.main.*.*").await.unwrap();
    let (mut bundles, mut single) = (0, 0);
    while let Some(Ok((subject, count))) = subjects.next().await {
        match subject.as_str() {
            "pay.in.main.bundle.notify" => bundles += count,
            "pay.in.main.notify.received" => single += count,
            _ => {}
        }
    }
    (bundles, single)
}

pub async fn place(rig: &Processes, base: &str, orders: &Orders) {
    for part in orders.iter().collect::<Vec<_>>().chunks(8) {
        join_all(part.iter().map(|(order_no, amount_fen)| rig.place(base, order_no, **amount_fen))).await;
    }
}

pub async fn pay(rig: &Processes, order_nos: &[&String]) {
    join_all(order_nos.iter().map(|order_no| rig.pay(order_no))).await;
}

pub async fn until_paid(rig: &Processes, unpaid: usize) {
    let db = rig.open_db().await;
    let left = "SELECT COUNT(*) FROM orders WHERE state <> 'paid'";
    until("every order paid", || async { (rig.number(&db, left).await == unpaid as i64).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notifications_that_come_at_once_travel_in_bundles_and_settle_once() {
    let rig = TestService::nats_postgres().await.processes().await;
    let service = rig.run_all().await;
    let orders = numbers(0..40);
    place(&rig, &service.base, &orders).await;
    until_read(&rig).await;
    pay(&rig, &orders.keys().collect::<Vec<_>>()).await;
    until_paid(&rig, 0).await;
    rig.until_drained().await;
    audit::all_paid_once(&rig, &service.base, &orders).await;
    let (bundles, single) = stored(&rig).await;
    assert!(bundles > 0 && bundles + single < 40, "{bundles} bundles and {single} single notifications");
    // On a busy machine one may be stored without an acknowledgement in time, or be settled a second time.
    let sent = "wxpay_bus_bundles_total{outcome=\"stored\"}";
    let sent = rig.metric::<usize>(&service, sent).await;
    assert!(sent.is_some_and(|sent| (1..=bundles).contains(&sent)), "{sent:?} of {bundles}");
    let settled = "wxpay_bus_bundles_total{outcome=\"settled\"}";
    let settled = rig.metric::<usize>(&service, settled).await;
    assert!(settled.is_some_and(|settled| settled >= bundles), "{settled:?} of {bundles}");
    let members = "wxpay_bus_bundled_messages_total{outcome=\"settled\"}";
    let members = rig.metric::<usize>(&service, members).await;
    assert!(members.is_some_and(|members| members + single >= 40), "{members:?} in bundles, {single} single");
    // Each order is recorded and answered; the payments of a bundle share a transaction.
    let commits = rig.metric::<usize>(&service, "wxpay_store_commits_total").await;
    assert!(commits.is_some_and(|commits| commits >= bundles), "{commits:?} of {bundles} bundles");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switched_off_every_notification_is_a_message() {
    let rig = TestService::nats_sqlite().await.config("[bus]\nbundles = false").processes().await;
    let service = rig.run_all().await;
    let orders = numbers(0..12);
    place(&rig, &service.base, &orders).await;
    until_read(&rig).await;
    pay(&rig, &orders.keys().collect::<Vec<_>>()).await;
    until_paid(&rig, 0).await;
    rig.until_drained().await;
    // A repeat of one that was not stored in time is another message.
    let (bundles, single) = stored(&rig).await;
    assert!(bundles == 0 && single >= 12, "{bundles} bundles and {single} single notifications");
    rig.finish().await;
}

/// The crash points of a bundle.
#[cfg(debug_assertions)]
pub const POINTS: [&str; 3] = ["bus.bundle_stored", "bus.bundle_opened", "bus.bundle_settled"];

/// Pays in rounds until the process dies that is armed.
#[cfg(debug_assertions)]
async fn until_dead(rig: &Processes, armed: &mut Process, orders: &Orders) {
    let db = rig.open_db().await;
    let bus = rig.open_bus(&db).await;
    for (round, part) in orders.keys().collect::<Vec<_>>().chunks(10).enumerate() {
        until_read(rig).await;
        pay(rig, part).await;
        let paid = 10 * (i64::try_from(round).unwrap() + 1);
        let ended = async || {
            let sql = "SELECT COUNT(*) FROM orders WHERE state = 'paid'";
            rig.number(&db, sql).await == paid && rig.is_drained(&db, &bus).await
        };
        let ended = &ended;
        let died = until("a death, or the round's end", || {
            let died = armed.ended().is_some();
            async move { (died || ended().await).then_some(died) }
        });
        if died.await {
            return;
        }
    }
    panic!("it never passed its point");
}

#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_may_die_at_every_point_of_a_bundle() {
    for site in POINTS {
        let rig = TestService::nats_postgres().await.processes().await;
        let env = [("WXPAY_CRASH_AT", site)];
        let at_ingress = site == POINTS[0];
        let orders = numbers(0..40);
        let env_if = |is_armed: bool| if is_armed { &env[..] } else { &[] };
        let mut ingress = rig.run_with("ingress", env_if(at_ingress)).await;
        let mut worker = rig.run_beside(BEHIND, env_if(!at_ingress)).await;
        place(&rig, &ingress.base, &orders).await;
        until_dead(&rig, if at_ingress { &mut ingress } else { &mut worker }, &orders).await;
        if at_ingress {
            ingress = rig.run_roles("ingress").await;
        } else {
            worker = rig.run_beside(BEHIND, &[]).await;
        }
        // What was answered with SUCCESS is paid without being notified again, and what was not is repeated by WeChat.
        let paid = rig.wechat_books("").await["payments"].as_array().unwrap().len();
        until_paid(&rig, orders.len() - paid).await;
        let left: Vec<&String> = orders.keys().skip(paid).collect();
        pay(&rig, &left).await;
        until_paid(&rig, 0).await;
        rig.until_drained().await;
        audit::all_paid_once(&rig, &ingress.base, &orders).await;
        assert!(worker.is_alive(), "{site}");
        rig.finish().await;
    }
}
