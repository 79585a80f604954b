//! Replays of what robots did not take: few messages a minute, many deliveries in one, and other endpoints go on.

use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use crate::harness::service::{InProcess, TestService};
use crate::settling::on_both;
use crate::webhooks::receiver::{Received, Receiver};
use crate::webhooks::{ALL, WEBHOOKS, endpoint, give_up, until, until_at_once, until_attempts, until_number_at_once};

pub const REPLAYS: &str = "/v1/ops/replays";
const KEY: &str = "693axxx6-7aoc-4bc4-97a0-0ec2sifa5aaa";
const FAILED: &str = "SELECT COUNT(*) FROM webhook_deliveries WHERE state = 'failed'";

pub fn answer(receiver: &Receiver, errcode: i64) {
    let body = json!({"errcode": errcode, "errmsg": "as the test says"}).to_string();
    receiver.answer(move |_| (StatusCode::OK, body.clone()).into_response());
}

pub async fn robot(service: &InProcess, receiver: &Receiver) -> Value {
    let url = format!("{}?key={KEY}", receiver.url);
    let wanted = json!({"format": "wecom", "url": url, "events": ["order.payable"]});
    let (status, made) = service.post(WEBHOOKS, &wanted).await;
    assert_eq!(status, 201, "{made}");
    made
}

/// The orders that a message is about.
pub fn orders(received: &Received) -> Vec<String> {
    let message: Value = serde_json::from_str(&received.body).unwrap();
    let content = message["markdown"]["content"].as_str().unwrap().to_owned();
    let events = content.lines().filter(|line| line.contains(" order.payable "));
    events.map(|line| line.split(" · ").nth(2).unwrap().to_owned()).collect()
}

/// Deliveries of all these orders that were given up.
pub async fn given_up(service: &InProcess, order_nos: &[String], endpoints: usize) {
    for order_no in order_nos {
        service.place(order_no).await;
    }
    let made = i64::try_from(order_nos.len() * endpoints).unwrap();
    let sql = "SELECT COUNT(*) FROM webhook_deliveries";
    service.until_number("deliveries of all", sql, |n| n == made).await;
    give_up(service, ALL, "refused").await;
}

pub async fn started(service: &InProcess) -> String {
    let select = json!({"kind": "webhook", "reason_class": "refused"});
    let wanted = json!({"select": select, "reason": "the group is back", "rate_per_second": 100});
    let (status, plan) = service.post(REPLAYS, &wanted).await;
    assert_eq!(status, 201, "{plan}");
    let path = format!("{REPLAYS}/{}", plan["id"].as_str().unwrap());
    let (status, started) = service.post(&format!("{path}/start"), &json!({})).await;
    assert_eq!(status, 202, "{started}");
    path
}

/// Awaits that what was sent is written, while the clock stands.
pub async fn until_written(service: &InProcess) {
    let claimed = "SELECT COUNT(*) FROM webhook_deliveries WHERE claim IS NOT NULL";
    until_number_at_once(service, "what was sent is written", claimed, 0).await;
}

pub async fn until_done(service: &InProcess, path: &str) -> Value {
    let done = || async { Some(service.get(path).await.1).filter(|replay| replay["state"] == "done") };
    service.found("the end of the replay", done).await
}

/// Numbers so long that some forty fit into a message.
pub fn numbers(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{name}-A-LONG-NUMBER-OF-AN-{n:03}")).collect()
}

on_both! {
    async fn a_replay_to_a_robot_is_a_few_messages_and_keeps_no_other_endpoint(db: TestDb) {
        let service = TestService::new().on(db).config(crate::webhooks::CONFIG).in_process().await;
        let (group, shop) = (Receiver::start().await, Receiver::start().await);
        answer(&group, 93000);
        shop.status(500);
        let robot = robot(&service, &group).await;
        let other = endpoint(&service, &shop.url, &["order.payable"]).await;
        let all = numbers("TOGETHER", 60);
        given_up(&service, &all, 2).await;
        answer(&group, 0);
        shop.status(204);
        let (before, at_shop) = (group.received().len(), shop.received().len());
        service.skip(5);
        let path = started(&service).await;
        // Of the other endpoint each is sent at once, while the robot has got one message.
        shop.until(at_shop + all.len()).await;
        let mut reported = orders(&group.until(before + 1).await[before]);
        assert_eq!(group.received().len(), before + 1, "no second message at that time");
        let delivered = format!(
            "SELECT COUNT(*) FROM webhook_attempts WHERE outcome = 'delivered' AND endpoint_id = '{}'",
            other["id"].as_str().unwrap()
        );
        until_number_at_once(&service, "all of the other endpoint", &delivered, 60).await;
        assert!(reported.len() > 20 && reported.len() < all.len(), "{}", reported.len());
        let mut messages = 1;
        while reported.len() < all.len() {
            let rest = i64::try_from(all.len() - reported.len()).unwrap();
            until_number_at_once(&service, "the others wait", FAILED, rest).await;
            assert_eq!(service.get(&path).await.1["state"], "running");
            service.skip(5);
            messages += 1;
            reported.extend(orders(&group.until(before + messages).await[before + messages - 1]));
        }
        let done = until_done(&service, &path).await;
        assert_eq!(done["results"], json!({"settled": 120, "no_op": 0, "failed": {}}), "{done}");
        reported.sort();
        assert_eq!(reported, all, "each once");
        assert_eq!(service.number(FAILED).await, 0);
        assert_eq!(group.received().len(), before + messages);
        until(&service, &robot, "nothing waits", |found| found["pending"] == 0).await;
        service.finish().await;
    }

    async fn what_is_due_goes_before_what_is_replayed_and_another_replay_does_not_wait(db: TestDb) {
        let service = TestService::new().on(db).config(crate::webhooks::CONFIG).in_process().await;
        let (group, shop) = (Receiver::start().await, Receiver::start().await);
        answer(&group, 93000);
        let robot = robot(&service, &group).await;
        let all = numbers("BEHIND", 60);
        given_up(&service, &all, 1).await;
        answer(&group, 0);
        let before = group.received().len();
        service.skip(5);
        let first = started(&service).await;
        assert!(!orders(&group.until(before + 1).await[before]).is_empty());
        // While the rest of the first one waits, another replay runs to its end.
        shop.status(500);
        let other = endpoint(&service, &shop.url, &["order.paid"]).await;
        service.paid("BEHIND001").await;
        until_attempts(&service, &other, 1, "http_status").await;
        give_up(&service, "event_type = 'wxpay.order.paid.v1'", "refused").await;
        shop.status(204);
        let select = json!({"kind": "webhook", "order_no": "BEHIND001", "reason_class": "refused"});
        let (_, plan) = service.post(REPLAYS, &json!({"select": select, "reason": "the shop is back"})).await;
        assert_eq!(plan["total"], 1, "{plan}");
        let second = format!("{REPLAYS}/{}", plan["id"].as_str().unwrap());
        service.post(&format!("{second}/start"), &json!({})).await;
        assert_eq!(until_done(&service, &second).await["results"]["settled"], 1);
        assert_eq!(service.get(&first).await.1["state"], "running");
        // The order's own event is pending for the robot: it is in the next message, and no other one is.
        until_at_once(&service, &robot, "one that is due", |found| found["pending"] == 1).await;
        service.skip(4);
        assert_eq!(orders(&group.until(before + 2).await[before + 1]), ["BEHIND001"]);
        until(&service, &robot, "it was sent", |found| found["pending"] == 0).await;
        while service.get(&first).await.1["state"] != "done" {
            let sent = group.received().len();
            service.skip(5);
            let more = || async {
                let is_more = group.received().len() > sent || service.get(&first).await.1["state"] == "done";
                is_more.then_some(())
            };
            service.found("another message", more).await;
        }
        service.finish().await;
    }

    async fn a_robot_that_wants_a_pause_gets_one_and_no_item_fails_by_it(db: TestDb) {
        let service = TestService::new().on(db).config(crate::webhooks::CONFIG).in_process().await;
        let group = Receiver::start().await;
        answer(&group, 93000);
        let robot = robot(&service, &group).await;
        let all = numbers("PAUSED", 3);
        given_up(&service, &all, 1).await;
        let before = group.received().len();
        answer(&group, 45009);
        service.skip(5);
        let path = started(&service).await;
        group.until(before + 1).await;
        until_written(&service).await;
        answer(&group, 0);
        service.skip(30);
        // A fresh event has to wait as well.
        service.place("PAUSED-AND-FRESH").await;
        until_at_once(&service, &robot, "it waits", |found| found["pending"] == 1).await;
        assert_eq!(group.received().len(), before + 1);
        service.skip(30);
        assert_eq!(orders(&group.until(before + 2).await[before + 1]), ["PAUSED-AND-FRESH"]);
        service.skip(5);
        assert_eq!(orders(&group.until(before + 3).await[before + 2]), all);
        assert_eq!(until_done(&service, &path).await["results"], json!({"settled": 3, "no_op": 0, "failed": {}}));
        service.finish().await;
    }

    async fn a_message_that_is_refused_fails_what_it_was_about(db: TestDb) {
        let service = TestService::new().on(db).config(crate::webhooks::CONFIG).in_process().await;
        let group = Receiver::start().await;
        answer(&group, 93000);
        robot(&service, &group).await;
        let all = numbers("REFUSED", 3);
        given_up(&service, &all, 1).await;
        service.skip(5);
        let path = started(&service).await;
        let done = until_done(&service, &path).await;
        assert_eq!(done["results"], json!({"settled": 0, "no_op": 0, "failed": {"refused": 3}}), "{done}");
        assert_eq!(service.number(FAILED).await, 3);
        let caused = "SELECT COUNT(*) FROM webhook_attempts WHERE cause = 'replay' AND outcome = 'refused'";
        assert_eq!(service.number(caused).await, 3);
        service.finish().await;
    }
}
