//! The bus is away: an order needs the database and WeChat.

use serde_json::json;

use super::processes::LEASE;
use crate::harness::service::{Processes, Queue, TestService, jsapi};

fn stop_nats(service: &mut Processes) {
    let Queue::Nats(server) = &mut service.queue else { panic!("not on NATS") };
    server.kill();
}

fn start_nats(service: &mut Processes) {
    let Queue::Nats(server) = &mut service.queue else { panic!("not on NATS") };
    server.start_again();
}

async fn placed_without_the_bus(mut service: Processes) {
    let one = service.run_all().await;
    stop_nats(&mut service);
    let order = service.place(&one.base, "A740001", 100).await;
    assert!(order["pay_params"]["paySign"].is_string(), "{order}");
    start_nats(&mut service);
    service.until_drained().await;
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_workers_in_the_process_it_is_placed_at_once_on_sqlite() {
    placed_without_the_bus(TestService::nats_sqlite().await.processes().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_workers_in_the_process_it_is_placed_at_once_on_postgres() {
    placed_without_the_bus(TestService::nats_postgres().await.processes().await).await;
}

async fn taken_without_the_bus(mut service: Processes) {
    let ingress = service.run_roles("ingress").await;
    stop_nats(&mut service);
    let (status, order) = service.post(&ingress.base, "/v1/orders", &jsapi("A740002", 100)).await;
    assert_eq!((status, &order["state"]), (202, &json!("requested")), "{order}");
    start_nats(&mut service);
    let _workers = service.run_beside("worker,relay,scheduler", LEASE).await;
    // A minute later, as far as its row is concerned: no message tells of it, and no caller repeats the request.
    let db = service.open_db().await;
    db.execute("test", String::from("UPDATE orders SET next_query_at_ms = 1"), []).await.unwrap();
    service.until_state(&ingress.base, "A740002", "payable").await;
    assert_eq!(service.wechat_calls("unifiedorder", "A740002").await.len(), 1);
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ingress_alone_takes_it_and_its_row_has_it_placed_on_sqlite() {
    taken_without_the_bus(TestService::nats_sqlite().await.processes().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ingress_alone_takes_it_and_its_row_has_it_placed_on_postgres() {
    taken_without_the_bus(TestService::nats_postgres().await.processes().await).await;
}
