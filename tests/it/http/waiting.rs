//! How long a request waits, and what it is answered when that was not enough.

use std::time::Duration;

use tokio::time::Instant;
use wxpay_worker::bus::ConsumerName;
use wxpay_worker::event::command::{OrderRequested, QueryDue};
use wxpay_worker::event::envelope::Envelope;
use wxpay_worker::order::OrderState;

use super::stage::{REFRESH_WAIT, Stage, eventually, order};
use crate::harness::within_timeout;

/// Where a request waits for an order to the end, longer than any answer takes on a busy machine.
const ORDER_WAIT: Duration = Duration::from_secs(30);
/// Between two questions about one order.
const ORDER_INTERVAL: Duration = Duration::from_secs(2);

#[tokio::test]
async fn an_order_without_a_worker_is_taken_and_its_location_answers() {
    let stage = Stage::with("order_wait_ms = 30000", "").await;
    let begun = Instant::now();
    let reply = stage.place(&order("A100001"), &[("Prefer", "respond-async, wait=0")]).await;
    assert!(begun.elapsed() < ORDER_WAIT, "it waited all the same");
    assert_eq!((reply.status, reply.header("preference-applied")), (202, Some("wait=0")));
    assert_eq!(reply.header("location"), Some("/v1/orders/A100001"));
    assert_eq!(reply.json()["state"], "requested");
    assert_eq!(stage.get(reply.header("location").unwrap()).await.json()["state"], "requested");
    // And the workers have it too.
    let mut commands = stage.deliveries(ConsumerName::PREPARE_ORDER);
    let command = within_timeout("the command", commands.recv()).await.unwrap();
    let command = Envelope::<OrderRequested>::parse(&command.message.payload).unwrap();
    assert_eq!(command.data.order.order_no.as_str(), "A100001");
    stage.finish().await;
}

#[tokio::test]
async fn a_waiting_request_is_answered_as_soon_as_the_order_is_payable() {
    let stage = Stage::with("order_wait_ms = 30000", "").await;
    let body = order("A100001");
    let begun = Instant::now();
    // No worker runs while the request begins to wait.
    let (reply, ()) = tokio::join!(stage.place(&body, &[]), async {
        eventually("the request on the bus", || async {
            stage.bus.lag().await.unwrap().iter().any(|lag| lag.pending > 0)
        })
        .await;
        stage.work();
    });
    assert_eq!((reply.status, &reply.json()["state"]), (200, &serde_json::json!("payable")));
    assert!(begun.elapsed() < ORDER_WAIT, "it waited to the end");
    stage.finish().await;
}

#[tokio::test]
async fn a_request_keeps_the_configuration_that_it_began_with() {
    let stage = Stage::with("order_wait_ms = 30000", "").await;
    let body = order("A100001");
    let (reply, ()) = tokio::join!(stage.place(&body, &[]), async {
        eventually("the request on the bus", || async {
            stage.bus.lag().await.unwrap().iter().any(|lag| lag.pending > 0)
        })
        .await;
        let mut without = (*stage.config).clone();
        without.merchants.clear();
        without.api_keys.clear();
        stage.in_force.replace(without);
        stage.work();
    });
    // The merchant's key has signed the parameters.
    assert_eq!((reply.status, &reply.json()["state"]), (200, &serde_json::json!("payable")), "{}", reply.text());
    assert!(reply.json()["pay_params"]["paySign"].is_string(), "{}", reply.text());
    assert_eq!(stage.get("/v1/orders/A100001").await.status, 401, "the next request has the new one");
    stage.finish().await;
}

#[tokio::test]
async fn a_stop_answers_those_who_wait() {
    let stage = Stage::with("order_wait_ms = 30000", "").await;
    let mut commands = stage.deliveries(ConsumerName::PREPARE_ORDER);
    let body = order("A100001");
    let begun = Instant::now();
    let (reply, ()) = tokio::join!(stage.place(&body, &[]), async {
        within_timeout("the command", commands.recv()).await.unwrap();
        stage.stop.cancel();
    });
    assert_eq!(reply.status, 202, "{}", reply.text());
    assert!(begun.elapsed() < ORDER_WAIT, "it waited to the end");
    assert_eq!(stage.stored("A100001").await.unwrap().order.state, OrderState::Requested);
    stage.finish().await;
}

#[tokio::test]
async fn a_bus_that_does_not_acknowledge_is_a_retryable_problem() {
    let stage = Stage::worked().await;
    let blocked = stage.blocked().await;
    let reply = stage.place(&order("A100001"), &[]).await;
    assert_eq!((reply.status, reply.problem().as_str()), (503, "unavailable"));
    assert!(!reply.text().contains("sqlite"), "internal words show: {}", reply.text());
    drop(blocked);
    assert_eq!(stage.place(&order("A100001"), &[]).await.status, 200);
    stage.finish().await;
}

#[tokio::test]
async fn a_refresh_queries_wechat_once_and_then_waits_for_the_next_slot() {
    let stage = Stage::worked().await;
    stage.place(&order("A100001"), &[]).await;
    let mut questions = stage.deliveries(ConsumerName::QUERY);
    let begun = Instant::now();
    let (refreshed, ()) = tokio::join!(stage.get("/v1/orders/A100001?refresh=1"), async {
        let question = within_timeout("the question", questions.recv()).await.unwrap();
        let question = Envelope::<QueryDue>::parse(&question.message.payload).unwrap();
        assert_eq!(question.data.order_no.as_str(), "A100001");
        stage.pay("A100001").await;
    });
    // A busy machine may take longer for all of it than the request waits.
    assert!(refreshed.json()["state"] == "paid" || begun.elapsed() >= REFRESH_WAIT, "{}", refreshed.text());
    stage.place(&order("A100002"), &[]).await;
    let order = stage.stored("A100002").await.unwrap().order;
    let begun = Instant::now();
    let (first, ()) = tokio::join!(stage.get("/v1/orders/A100002?refresh=1"), async {
        within_timeout("the question", questions.recv()).await.unwrap();
        // Asked, and nothing new: that ends the wait as well.
        stage.store.query_answered(order.id, stage.clock.now()).await.unwrap();
    });
    assert_eq!(first.json()["state"], "payable");
    assert_eq!(stage.get("/v1/orders/A100002?refresh=1").await.json()["state"], "payable");
    // Two seconds of the machine's own clock, which a busy one may need for less.
    let is_second = questions.try_recv().is_ok();
    assert!(!is_second || begun.elapsed() >= ORDER_INTERVAL, "a second question within two seconds");
    assert_eq!(stage.get("/v1/orders/A100002?refresh=2").await.invalid(), ["refresh"]);
    stage.finish().await;
}

#[tokio::test]
async fn a_refresh_of_an_order_that_was_closed_asks_nothing() {
    let stage = Stage::worked().await;
    let mut questions = stage.deliveries(ConsumerName::QUERY);
    stage.place(&order("A100001"), &[]).await;
    stage.close("A100001").await;
    let reply = stage.get("/v1/orders/A100001?refresh=1").await;
    assert_eq!((reply.status, &reply.json()["state"]), (200, &"closed".into()));
    // A question about an order that is open comes through after that, and is the first to come.
    stage.place(&order("A100003"), &[]).await;
    let (_, question) = tokio::join!(stage.get("/v1/orders/A100003?refresh=1"), async {
        let question = within_timeout("the question", questions.recv()).await.unwrap();
        stage.pay("A100003").await;
        question
    });
    let question = Envelope::<QueryDue>::parse(&question.message.payload).unwrap();
    assert_eq!(question.data.order_no.as_str(), "A100003");
    stage.finish().await;
}
