//! PostgreSQL is killed in the middle of everything and comes back, twice, while orders are placed and paid.

use std::sync::Arc;

use futures_util::future::join_all;

use crate::faults::load::{numbers, place_and_pay, readiness, tell, until_notified, until_paid};
use crate::faults::{audit, until};
use crate::harness::db::TestDb;
use crate::harness::nats::{NatsServer, Version};
use crate::harness::postgres::PostgresServer;
use crate::harness::service::{Process, Processes, Queue, TestService, jsapi};

/// What callers hear while the database is away. NATS keeps what WeChat tells; the queue in the database cannot.
async fn while_away(rig: &Processes, service: &Process, paid: &str) {
    let notified = join_all((0..20).map(|_| tell(rig, paid))).await;
    let nats_keeps = match &rig.queue {
        Queue::Embedded => false,
        Queue::Nats(_) | Queue::Cluster(_) => true,
    };
    assert!(notified.iter().all(|success| *success == nats_keeps), "SUCCESS: {notified:?}");
    let (status, problem) = rig.post(&service.base, "/v1/orders", &jsapi("A900000", 100)).await;
    assert_eq!(status, 503, "{problem}");
    assert_eq!(readiness(rig, &service.base, "database").await.0, 503);
}

async fn survives_restarts(server: &Arc<PostgresServer>, rig: Processes) {
    let mut service = rig.run_all().await;
    let (before, meanwhile) = (numbers(0..2), numbers(2..26));
    for (order_no, amount_fen) in &before {
        rig.place(&service.base, order_no, *amount_fen).await;
    }
    let restarting = async {
        for order_no in before.keys() {
            let (stopping, starting) = (Arc::clone(server), Arc::clone(server));
            tokio::task::spawn_blocking(move || stopping.stop_immediately()).await.unwrap();
            rig.pay(order_no).await;
            while_away(&rig, &service, order_no).await;
            tokio::task::spawn_blocking(move || starting.start_again()).await.unwrap();
            until_notified(&rig, order_no).await;
        }
    };
    tokio::join!(place_and_pay(&rig, &service.base, &meanwhile), restarting);
    let all = numbers(0..26);
    until_paid(&rig, &service.base, &all).await;
    rig.until_drained().await;
    until("ready", || async { (readiness(&rig, &service.base, "database").await.0 == 200).then_some(()) }).await;
    assert!(service.is_alive());
    audit::all_paid_once(&rig, &service.base, &all).await;
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_killed_twice_costs_time_and_no_payment_on_the_embedded_bus() {
    let server = Arc::new(PostgresServer::start());
    let rig = TestService::new().on(TestDb::postgres_on(server.url()).await).with(Queue::Embedded).processes().await;
    survives_restarts(&server, rig).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_killed_twice_costs_time_and_no_payment_on_nats() {
    let server = Arc::new(PostgresServer::start());
    let nats = Queue::Nats(NatsServer::start(Version::New));
    let rig = TestService::new().on(TestDb::postgres_on(server.url()).await).with(nats).processes().await;
    survives_restarts(&server, rig).await;
}
