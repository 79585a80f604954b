//! Ingress, workers and scheduler in processes of their own, and a stranger who listens for what they tell.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::audit::{self, Orders};
use crate::deploy::{root, tool};
use crate::harness::service::{Queue, TestService};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_processes_take_a_payment_and_a_foreign_consumer_hears_of_it_once() {
    let rig = TestService::nats_postgres().await.processes().await;
    let Queue::Nats(server) = &rig.queue else { unreachable!("on NATS") };
    let ingress = rig.run_roles("ingress").await;
    let workers = rig.run_roles("worker,relay").await;
    let scheduler = rig.run_roles("scheduler").await;
    // It waits for two events and gets one: it ends by time, so a second one would show.
    let mut consumer = Command::new(tool("WXPAY_TEST_PYTHON"));
    consumer.arg(root().join("tests/sdk/nats_consumer.py")).args(["--url", &server.url()]);
    consumer.args(["--filter", "pay.event.main.order.paid", "--count", "2", "--timeout", "60"]);
    let consumer = consumer.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();

    let order = rig.place(&ingress.base, "A800001", 8800).await;
    assert!(order["pay_params"]["paySign"].is_string(), "{order}");
    rig.pay("A800001").await;
    rig.until_state(&ingress.base, "A800001", "paid").await;
    rig.until_drained().await;
    audit::all_paid_once(&rig, &ingress.base, &Orders::from([("A800001".to_owned(), 8800)])).await;

    let heard = tokio::task::spawn_blocking(move || consumer.wait_with_output().unwrap()).await.unwrap();
    let errors = String::from_utf8_lossy(&heard.stderr);
    assert_eq!(heard.status.code(), Some(3), "it ended otherwise than by time: {errors}");
    let said = String::from_utf8(heard.stdout).unwrap();
    let events: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len(), 1, "{events:?}");
    let feed = rig.events(&ingress.base, "wxpay.order.paid.v1").await;
    assert_eq!(events[0]["id"], feed[0]["id"]);
    assert_eq!((&events[0]["data"], &events[0]["delivered"]), (&feed[0], &json!(1)));
    for process in [ingress, workers, scheduler] {
        assert!(process.terminate().await.success(), "a clean end");
    }
    rig.finish().await;
}
