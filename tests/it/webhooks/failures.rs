//! Retries, Retry-After, giving up, disabling, recovery.

use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde_json::{Value, json};
use wxpay_worker::clock::Timestamp;
use wxpay_worker::webhooks::{Next, WINDOW, next};

use super::receiver::Receiver;
use super::{CONFIG, endpoint, get, path, rows, service, until, until_attempts};
use crate::harness::service::{InProcess, TestService};

const HOUR: u64 = 3600;

#[test]
fn pauses_grow_threefold_with_jitter_and_end_with_the_day() {
    let first = Timestamp::from_ms(0);
    let pause = |tries, random| match next(tries, first, first, None, random) {
        Next::Again(at) => at.as_ms(),
        Next::GiveUp => panic!("given up"),
    };
    for (tries, ms) in [(1, 5_000), (2, 15_000), (3, 45_000), (5, 405_000), (9, 4 * 3_600_000), (60, 4 * 3_600_000)] {
        assert_eq!((pause(tries, 0), pause(tries, 1000)), (ms * 3 / 4, ms * 5 / 4), "{tries}");
    }
    // From the first attempt to the last one there is a day, and the last one is at its end.
    for random in [0, 500, 1000] {
        let (mut now, mut tries, mut times) = (first, 1, Vec::new());
        while let Next::Again(at) = next(tries, first, now, None, random) {
            assert!(at > now);
            (now, tries) = (at, tries + 1);
            times.push(at);
        }
        assert_eq!(times.last(), Some(&first.after(WINDOW)));
        assert!((10..=20).contains(&times.len()), "{}", times.len());
    }
}

#[test]
fn retry_after_is_honoured_within_bounds() {
    let first = Timestamp::from_ms(0);
    let after = |seconds| next(1, first, first, Some(Duration::from_secs(seconds)), 500);
    let at = |seconds: i64| Next::Again(Timestamp::from_ms(seconds * 1000));
    assert_eq!(after(120), at(120));
    assert_eq!(after(1), at(5), "no sooner than it would be tried anyway");
    assert_eq!(after(u64::MAX), at(6 * 3600), "no later than six hours");
    let late = next(1, first, first.after(WINDOW - Duration::from_secs(60)), Some(Duration::from_secs(HOUR)), 0);
    assert_eq!(late, Next::Again(first.after(WINDOW)));
    assert_eq!(next(1, first, first.after(WINDOW), None, 0), Next::GiveUp);
}

/// Moves the clock over the day of a delivery until it was given up.
async fn until_given_up(service: &InProcess, made: &Value) -> Value {
    for count in 1.. {
        until_attempts(service, made, count, "http_status").await;
        let found = get(service, made).await;
        if found["pending"] == 0 {
            return found;
        }
        let due = rows(service, made, "deliveries").await[0]["next_attempt_at"].clone();
        let due = Timestamp::parse_rfc3339(due.as_str().unwrap_or_default());
        if let Ok(due) = due {
            service.skip_to(due);
        }
    }
    unreachable!("counts have no end")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_for_a_day_is_given_up_and_can_be_recovered() {
    let service = service().in_process().await;
    let receiver = Receiver::start().await;
    receiver.answer(|_| (StatusCode::INTERNAL_SERVER_ERROR, "the disk\u{0} is full").into_response());
    let made = endpoint(&service, &receiver.url, &["order.payable"]).await;
    let begun = service.clock.now();
    service.place("W100001").await;
    let given_up = until_given_up(&service, &made).await;
    assert_eq!((&given_up["failed"], &given_up["state"]), (&json!(1), &json!("enabled")));
    assert!(service.clock.now().since(begun) >= WINDOW);
    let attempts = rows(&service, &made, "attempts").await;
    assert!((10..=25).contains(&attempts.len()), "{}", attempts.len());
    assert_eq!(attempts[0]["answer"], json!({"status": 500, "body": "the disk  is full"}));
    let failed = rows(&service, &made, "deliveries?state=failed").await;
    assert_eq!(
        (failed.len(), &failed[0]["last_error"], &failed[0]["last_status"]),
        (1, &json!("http_status"), &json!(500))
    );
    // Recovered, it has another day; what came before `since` stays as it is.
    let recover = |query: &'static str| {
        let path = format!("{}/recover{query}", path(&made));
        let service = &service;
        async move { service.post(&path, &json!({"reason": "the shop is back"})).await }
    };
    assert_eq!(recover("?since=2999-01-01T00:00:00Z").await.1, json!({"recovered": 0}));
    receiver.status(200);
    assert_eq!(recover("").await.1, json!({"recovered": 1}));
    until(&service, &made, "the delivery", |found| found["failed"] == 0 && found["pending"] == 0).await;
    let got = receiver.received();
    assert!(got.iter().all(|request| request.id() == got[0].id()));
    assert_eq!(rows(&service, &made, "deliveries").await[0]["state"], "delivered");
    assert_eq!(get(&service, &made).await["failing_since"], json!(null));
    assert_eq!(service.audited("webhook.recover").await, ["done", "done"]);
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_is_left_alone_as_long_as_it_asks() {
    let service = service().in_process().await;
    let receiver = Receiver::start().await;
    receiver.answer(|_| (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "1800")]).into_response());
    let made = endpoint(&service, &receiver.url, &["order.payable"]).await;
    service.place("W100001").await;
    until_attempts(&service, &made, 1, "http_status").await;
    let row = rows(&service, &made, "deliveries").await[0].clone();
    let time = |name: &str| Timestamp::parse_rfc3339(row[name].as_str().unwrap()).unwrap();
    let pause = time("next_attempt_at").since(time("last_attempt_at"));
    assert_eq!(pause, Duration::from_secs(1800));
    receiver.status(204);
    service.skip(1801);
    until(&service, &made, "the delivery", |found| found["pending"] == 0).await;
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_answers_410_is_disabled_and_loses_nothing() {
    let service = service().in_process().await;
    let (receiver, other) = (Receiver::start().await, Receiver::start().await);
    receiver.status(410);
    let made = endpoint(&service, &receiver.url, &["order.payable"]).await;
    endpoint(&service, &other.url, &["webhook.disabled"]).await;
    service.place("W100001").await;
    let found = until(&service, &made, "its end", |found| found["state"] == "disabled").await;
    assert_eq!((&found["disabled_reason"], &found["pending"]), (&json!("gone"), &json!(1)));
    let event = other.until(1).await[0].event();
    assert_eq!((&event["data"]["endpoint"], &event["data"]["reason"]), (&made["id"], &json!("gone")));
    assert_eq!(service.audited("webhook.disable").await, ["done"]);
    // While it is disabled nothing is sent; enabled again, it gets what came meanwhile.
    receiver.status(200);
    service.place("W100002").await;
    service.skip(HOUR);
    assert_eq!(receiver.received().len(), 1);
    let (status, found) = service.send_json("PATCH", &path(&made), &json!({"state": "enabled"})).await;
    assert_eq!((status, &found["state"], &found["disabled_reason"]), (200, &json!("enabled"), &json!(null)));
    receiver.until(3).await;
    let mut names = receiver.names();
    names.sort();
    assert_eq!(names, ["W100001 order.payable", "W100001 order.payable", "W100002 order.payable"]);
    until(&service, &made, "both", |found| found["attempts"]["succeeded"] == 2).await;
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_fails_for_too_long_is_disabled() {
    let service = crate::harness::service::TestService::new()
        .config(&CONFIG.replace("timeout_ms", "disable_after_h = 24\ntimeout_ms"))
        .in_process()
        .await;
    let receiver = Receiver::start().await;
    receiver.status(500);
    let made = endpoint(&service, &receiver.url, &["order.payable"]).await;
    service.place("W100001").await;
    until_attempts(&service, &made, 1, "http_status").await;
    assert_eq!(get(&service, &made).await["state"], "enabled");
    service.skip(25 * HOUR);
    let found = until(&service, &made, "its end", |found| found["state"] == "disabled").await;
    assert_eq!(found["disabled_reason"], "failing");
    let metric = "SELECT COUNT(*) FROM outbox WHERE event_type = 'wxpay.webhook.disabled.v1'";
    service.until_number("the event", metric, |n| n == 1).await;
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_success_between_failures_keeps_an_endpoint_enabled() {
    let service = crate::harness::service::TestService::new()
        .config(&CONFIG.replace("timeout_ms", "disable_after_h = 24\ntimeout_ms"))
        .in_process()
        .await;
    let receiver = Receiver::start().await;
    let made = endpoint(&service, &receiver.url, &["order.payable"]).await;
    for (n, status) in [(1, 500), (2, 204), (3, 500)] {
        receiver.status(status);
        service.place(&format!("W10000{n}")).await;
        receiver.until(n).await;
        let outcome = if status == 204 { "delivered" } else { "http_status" };
        until_attempts(&service, &made, 1, outcome).await;
        // The first one is tried again with the second, and succeeds.
        service.skip(13 * HOUR);
        receiver.status(204);
        until(&service, &made, "all delivered", |found| found["pending"] == 0).await;
    }
    let found = get(&service, &made).await;
    assert_eq!((&found["state"], &found["failing_since"]), (&json!("enabled"), &json!(null)));
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_does_not_answer_is_tried_again() {
    let mut service = crate::harness::service::TestService::new()
        .config(&CONFIG.replace("timeout_ms = 60000", "timeout_ms = 300"))
        .in_process()
        .await;
    let receiver = Receiver::start().await;
    receiver.hold(true);
    let made = endpoint(&service, &receiver.url, &["order.payable"]).await;
    service.place("W100001").await;
    let attempts = until_attempts(&service, &made, 1, "timeout").await;
    assert_eq!(attempts[0]["answer"], json!(null));
    receiver.hold(false);
    service.put_in_force(|config| config.webhooks.timeout = Duration::from_secs(60));
    service.skip(60);
    until(&service, &made, "the delivery", |found| found["pending"] == 0).await;
    // One that no process listens for.
    let closed = endpoint(&service, "http://127.0.0.1:9/", &["order.payable"]).await;
    service.place("W100002").await;
    until_attempts(&service, &closed, 1, "not_connected").await;
    service.finish().await;
}

async fn removed_events_are_in_the_audit(service: TestService) {
    let service = service.config(CONFIG).in_process().await;
    let receiver = Receiver::start().await;
    let made = endpoint(&service, &receiver.url, &["order.payable"]).await;
    let set = async |state: &str| service.send_json("PATCH", &path(&made), &json!({"state": state})).await.0;
    assert_eq!(set("disabled").await, 200);
    for order_no in ["W100001", "W100002", "W100003"] {
        service.place(order_no).await;
    }
    let placed = "SELECT COUNT(*) FROM outbox WHERE position IS NOT NULL AND event_type = 'wxpay.order.payable.v1'";
    service.until_number("three events", placed, |n| n == 3).await;
    // As retention does when their period is over.
    let first_kept = "SELECT MIN(o.position) FROM outbox AS o WHERE o.order_no = 'W100003'";
    service.run_sql(&format!("DELETE FROM outbox WHERE position < ({first_kept})")).await;
    assert_eq!(set("enabled").await, 200);
    receiver.until(1).await;
    until_attempts(&service, &made, 1, "delivered").await;
    assert_eq!(receiver.names(), ["W100003 order.payable"]);
    assert_eq!(service.audited("webhook.skip").await, ["done"], "one row for all of them");
    let left = "SELECT COUNT(*) FROM webhook_endpoints WHERE position < (SELECT MAX(position) FROM outbox)";
    service.until_number("the feed's end", left, |n| n == 0).await;
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_events_were_removed_before_an_endpoint_was_given_them_is_in_the_audit_embedded_sqlite() {
    removed_events_are_in_the_audit(TestService::embedded_sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_events_were_removed_before_an_endpoint_was_given_them_is_in_the_audit_embedded_postgres() {
    removed_events_are_in_the_audit(TestService::embedded_postgres().await).await;
}
