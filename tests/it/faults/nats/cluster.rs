//! Three NATS servers lose the one that leads the stream of work, and then two of three.

use futures_util::future::join_all;

use crate::faults::load::{numbers, place_and_pay, place_at_last, readiness, tell, until_notified, until_paid};
use crate::faults::{audit, until};
use crate::harness::db::TestDb;
use crate::harness::nats::cluster::{NODES, NatsCluster};
use crate::harness::service::{Process, Processes, Queue, TestService};

async fn rig() -> Processes {
    TestService::new().on(TestDb::postgres().await).with(Queue::Cluster(NatsCluster::start().await)).processes().await
}

fn cluster(rig: &Processes) -> &NatsCluster {
    let Queue::Cluster(cluster) = &rig.queue else { unreachable!("on a cluster") };
    cluster
}

async fn all_is_well(rig: &Processes, mut service: Process, orders: usize) {
    let all = numbers(0..orders);
    until_paid(rig, &service.base, &all).await;
    rig.until_drained().await;
    assert!(service.is_alive());
    audit::all_paid_once(rig, &service.base, &all).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_leader_is_elected_wechat_hears_fail_in_time_or_a_success_that_is_kept() {
    let rig = rig().await;
    let service = rig.run_all().await;
    let (before, meanwhile) = (numbers(0..8), numbers(8..20));
    for (order_no, amount_fen) in &before {
        rig.place(&service.base, order_no, *amount_fen).await;
    }
    let electing = async {
        let leader = cluster(&rig).leader_of("PAY_IN").await;
        for order_no in before.keys() {
            rig.pay(order_no).await;
        }
        cluster(&rig).kill(leader);
        // Each notification is repeated until it is taken. Every answer before that is a FAIL in time.
        join_all(before.keys().map(|order_no| until_notified(&rig, order_no))).await;
        assert_ne!(cluster(&rig).leader_of("PAY_IN").await, leader, "the others elected one of them");
        let another = rig.run_another_ingress().await;
        place_at_last(&rig, &another.base, "A000020", 100).await;
        let logged = format!("{} does not answer as a NATS monitoring address", rig.queue.monitoring_urls()[leader]);
        assert!(rig.logs().contains(&logged), "one that starts meanwhile says whom it could not ask");
        cluster(&rig).start_node_with(leader, "2m");
        let lazy = until("the objection", || async {
            let (status, check) = readiness(&rig, &another.base, "bus").await;
            (status == 503 && check["reason"].as_str()?.contains("syncs")).then_some(check)
        });
        assert!(lazy.await["reason"].as_str().unwrap().contains(&rig.queue.monitoring_urls()[leader]));
        cluster(&rig).kill(leader);
        cluster(&rig).start_node(leader);
        until("no objection", || async { (readiness(&rig, &another.base, "bus").await.0 == 200).then_some(()) }).await;
    };
    tokio::join!(place_and_pay(&rig, &service.base, &meanwhile), electing);
    all_is_well(&rig, service, 20).await;
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_every_caller_hears_fail_and_afterwards_everything_recovers() {
    let rig = rig().await;
    let service = rig.run_all().await;
    let (before, meanwhile) = (numbers(0..1), numbers(1..9));
    rig.place(&service.base, "A000000", before["A000000"]).await;
    let lonely = async {
        let leader = cluster(&rig).leader_of("PAY_IN").await;
        let other = (leader + 1) % NODES;
        cluster(&rig).kill(other);
        cluster(&rig).kill(leader);
        rig.pay("A000000").await;
        for _ in 0..2 {
            let notified = join_all((0..20).map(|_| tell(&rig, "A000000"))).await;
            assert!(notified.iter().all(|success| !success), "SUCCESS from one server of three");
        }
        let order = rig.place(&service.base, "A900000", 100).await;
        assert_eq!(order["state"], "payable", "{order}");
        until("unready", || async { (readiness(&rig, &service.base, "bus").await.0 == 503).then_some(()) }).await;
        for n in [leader, other] {
            cluster(&rig).start_node(n);
        }
        until_notified(&rig, "A000000").await;
    };
    tokio::join!(place_and_pay(&rig, &service.base, &meanwhile), lonely);
    until("ready", || async { (readiness(&rig, &service.base, "bus").await.0 == 200).then_some(()) }).await;
    all_is_well(&rig, service, 9).await;
    rig.finish().await;
}
