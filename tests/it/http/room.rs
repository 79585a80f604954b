//! A queue that fills up: what is done makes room, what is outstanding refuses new work, and health says which it is.

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::client::{Reply, readiness};
use super::stage::{Stage, eventually, http_only, order, with};
use crate::harness::service::Queue;

/// The least that can be configured.
const SMALL: &str = "[bus]\nmax_bytes = 1048576";
/// Placed without waiting for a worker.
const AT_ONCE: [(&str, &str); 1] = [("Prefer", "wait=0")];

/// An order whose command takes about four kilobytes of the queue.
fn large(n: usize) -> Value {
    with(order(&format!("R{n:06}")), "metadata", json!({"note": "x".repeat(3500)}))
}

/// The check of the queue's room: whether it is ok, and what it says.
async fn space(stage: &Stage) -> (u16, bool, String) {
    let ready = readiness(stage.address, &[]).await;
    let checks = ready.json()["checks"].as_array().unwrap().clone();
    let check = checks.iter().find(|check| check["name"] == "bus_space").unwrap().clone();
    (ready.status, check["ok"] == true, check["reason"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_times_what_the_queue_holds_goes_through_it() {
    let stage = Stage::of(http_only("", "").config(SMALL)).await;
    stage.work();
    // Three times the limit, a few at once; the duplicate window is ten minutes.
    {
        let place = async |n: usize| stage.place(&large(n), &[]).await;
        let mut placed = std::pin::pin!(stream::iter((0..800).map(place)).buffer_unordered(16));
        while let Some(reply) = placed.next().await {
            assert!([200, 202].contains(&reply.status), "{}", reply.text());
        }
    }
    eventually("no warning", || async { space(&stage).await == (200, true, String::new()) }).await;
    stage.finish().await;
}

/// Awaits that the check calls the queue full: on a busy machine its size may come too late for one answer.
async fn until_full(stage: &Stage) {
    let full = (503, false, "PAY_IN holds 99 % of bus.max_bytes".to_owned());
    eventually("a full queue", || async { space(stage).await == full }).await;
}

/// Places orders until one is refused; on the way there the check warns. Answers how many were accepted.
async fn fill(stage: &Stage) -> (usize, Reply) {
    let (mut accepted, mut warned) = (0, false);
    loop {
        let reply = stage.place(&large(accepted), &AT_ONCE).await;
        if reply.status != 202 {
            assert!(warned, "it was full without a warning");
            return (accepted, reply);
        }
        accepted += 1;
        if accepted % 10 == 0 {
            let (status, ok, reason) = space(stage).await;
            if status == 200 && reason.starts_with("PAY_IN holds 8") {
                assert!(ok, "a warning is no failure");
                warned = true;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outstanding_work_fills_the_queue_health_says_so_and_work_makes_room() {
    let stage = Stage::of(http_only("", "").config(SMALL)).await;
    let (accepted, refused) = fill(&stage).await;
    assert_eq!((refused.status, refused.problem().as_str()), (503, "unavailable"), "{}", refused.text());
    assert!((200..300).contains(&accepted), "{accepted} were accepted");
    // It is recorded all the same, so that its repeat adds no work: that is answered.
    let repeated = stage.place(&large(accepted), &AT_ONCE).await;
    assert_eq!((repeated.status, &repeated.json()["state"]), (202, &json!("requested")), "{}", repeated.text());
    until_full(&stage).await;
    stage.work();
    eventually("room", || async { space(&stage).await == (200, true, String::new()) }).await;
    assert_eq!(stage.place(&large(accepted), &AT_ONCE).await.status, 202);
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_nats_a_full_queue_refuses_and_health_says_so() {
    let stage = Stage::of(http_only("", "").config(SMALL).with(Queue::nats())).await;
    let (accepted, refused) = fill(&stage).await;
    assert_eq!((refused.status, refused.problem().as_str()), (503, "unavailable"), "{}", refused.text());
    until_full(&stage).await;
    // There, what is done keeps its room until the duplicate window ends.
    stage.work();
    let last = format!("R{:06}", accepted - 1);
    eventually("the work", || async { stage.stored(&last).await.is_some() }).await;
    eventually("no room all the same", || async { space(&stage).await.0 == 503 }).await;
    stage.finish().await;
}
