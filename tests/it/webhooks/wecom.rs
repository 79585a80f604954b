//! Group robots of WeCom: what they are sent, how often, and what becomes of their keys.

use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use wxpay_worker::webhooks::robot_body;

use super::receiver::{Received, Receiver};
use super::{WEBHOOKS, get, path, rows, service, until, until_at_once, until_attempts};
use crate::harness::service::InProcess;
use crate::harness::sql::texts;

const KEY: &str = "693axxx6-7aoc-4bc4-97a0-0ec2sifa5aaa";

fn answer(receiver: &Receiver, errcode: i64) {
    let body = json!({"errcode": errcode, "errmsg": "as the test says"}).to_string();
    receiver.answer(move |_| (StatusCode::OK, body.clone()).into_response());
}

/// A robot on this host.
async fn robot(service: &InProcess, receiver: &Receiver, events: &[&str]) -> Value {
    let url = format!("{}?key={KEY}", receiver.url);
    let (status, made) = service.post(WEBHOOKS, &json!({"format": "wecom", "url": url, "events": events})).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!((&made["url"], &made["format"], &made["secret"]), (&json!(receiver.url), &json!("wecom"), &Value::Null));
    made
}

/// The lines of a message below its title.
fn lines(received: &Received) -> Vec<String> {
    let message: Value = serde_json::from_str(&received.body).unwrap();
    assert_eq!((&message["msgtype"], message.as_object().unwrap().len()), (&json!("markdown"), 2), "{message}");
    let content = message["markdown"]["content"].as_str().unwrap();
    assert!(content.len() <= 4096, "{} bytes", content.len());
    content.lines().skip(1).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_at_once_is_one_message_and_there_are_few_in_a_minute() {
    let (service, receiver) = (service().in_process().await, Receiver::start().await);
    answer(&receiver, 0);
    let endpoint = robot(&service, &receiver, &["order.paid", "payment.held"]).await;
    service.paid("WECOM001").await;
    let first = receiver.until(1).await.remove(0);
    assert_eq!(first.query, format!("key={KEY}"));
    assert!(!first.headers.contains_key("webhook-signature"), "{:?}", first.headers);
    let shown_lines = lines(&first);
    assert_eq!(shown_lines.len(), 1, "{shown_lines:?}");
    for part in ["已支付 order.paid", "main", "WECOM001", "¥1.00"] {
        assert!(shown_lines[0].contains(part), "{part}: {shown_lines:?}");
    }
    // Nothing more is sent for a while; then all of it at once.
    for n in 2..=6 {
        service.paid(&format!("WECOM00{n}")).await;
    }
    let pending = |found: &Value| found["pending"] == 5;
    until_at_once(&service, &endpoint, "five that wait", pending).await;
    assert_eq!(receiver.received().len(), 1);
    service.skip(4);
    let second = receiver.until(2).await.remove(1);
    let shown_lines = lines(&second);
    assert_eq!(shown_lines.len(), 5, "{shown_lines:?}");
    for n in 2..=6 {
        assert!(shown_lines.iter().any(|line| line.contains(&format!("WECOM00{n}"))), "{n}: {shown_lines:?}");
    }
    until_attempts(&service, &endpoint, 6, "delivered").await;
    assert_eq!(receiver.received().len(), 2);
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_into_a_message_is_in_the_next_one() {
    let (service, receiver) = (service().in_process().await, Receiver::start().await);
    answer(&receiver, 0);
    let endpoint = robot(&service, &receiver, &["order.payable", "order.paid"]).await;
    let number = |n: usize| format!("WECOM-A-LONG-NUMBER-OF-AN-ORD-{n:02}");
    service.paid(&number(0)).await;
    receiver.until(1).await;
    for n in 1..=60 {
        service.paid(&number(n)).await;
    }
    let is_cut = |shown: &[String]| shown.last().is_some_and(|line| line.contains(" more"));
    let reported = || -> Vec<String> {
        let each = receiver.received().into_iter().map(|message| lines(&message));
        each.flat_map(|mut shown| {
            shown.truncate(shown.len() - usize::from(is_cut(&shown)));
            shown
        })
        .collect()
    };
    let total = 122;
    while reported().len() < total {
        let waits = |found: &Value| found["pending"] == total - reported().len();
        until_at_once(&service, &endpoint, "the others wait", waits).await;
        let messages = receiver.received().len();
        service.skip(4);
        receiver.until(messages + 1).await;
    }
    let (reported, messages) = (reported(), receiver.received());
    assert!(messages.iter().any(|message| is_cut(&lines(message))), "{} messages", messages.len());
    for n in 0..=60 {
        for fact in ["order.payable", "order.paid"] {
            let (fact, number) = (format!(" {fact} "), number(n));
            let lines = reported.iter().filter(|line| line.contains(&fact) && line.contains(&number)).count();
            assert_eq!(lines, 1, "{fact} {number}: {reported:?}");
        }
    }
    until(&service, &endpoint, "all of it reported", |found| found["pending"] == 0).await;
    let delivered = "SELECT COUNT(*) FROM webhook_deliveries WHERE state = 'delivered'";
    assert_eq!(service.number(delivered).await, 122);
    assert_eq!(receiver.received().len(), messages.len());
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_robot_that_takes_no_message_is_asked_again_and_after_too_many_a_minute_later() {
    let (service, receiver) = (service().in_process().await, Receiver::start().await);
    answer(&receiver, 45009);
    let endpoint = robot(&service, &receiver, &["order.paid"]).await;
    service.paid("WECOM101").await;
    let attempts = until_attempts(&service, &endpoint, 1, "refused").await;
    assert_eq!(attempts[0]["error"], "the robot answered errcode 45009", "{attempts:?}");
    let delivery = rows(&service, &endpoint, "deliveries").await.remove(0);
    let times = ["next_attempt_at", "last_attempt_at"].map(|name| delivery[name].as_str().unwrap().to_owned());
    let [next, last] = times.map(|text| wxpay_worker::clock::Timestamp::parse_rfc3339(&text).unwrap());
    assert!(next.since(last).as_secs() >= 60, "{delivery}");
    answer(&receiver, 93000);
    service.skip(61);
    until_attempts(&service, &endpoint, 2, "refused").await;
    assert!(get(&service, &endpoint).await["failing_since"].is_string(), "it counts against the endpoint");
    answer(&receiver, 0);
    service.skip(3600);
    until_attempts(&service, &endpoint, 1, "delivered").await;
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_robots_key_is_kept_sealed_and_shown_nowhere() {
    let (service, receiver) = (service().in_process().await, Receiver::start().await);
    answer(&receiver, 0);
    let endpoint = robot(&service, &receiver, &["order.paid"]).await;
    let tested = service.post(&format!("{}/test", path(&endpoint)), &json!({})).await;
    assert_eq!((tested.0, &tested.1["outcome"]), (200, &json!("delivered")), "{tested:?}");
    assert!(lines(&receiver.until(1).await[0])[0].contains("测试消息"));
    // Its address as it is shown changes nothing of it; another key is another address.
    let same = json!({"url": receiver.url, "description": "ops"});
    let (status, same) = service.send_json("PATCH", &path(&endpoint), &same).await;
    assert_eq!((status, &same["description"]), (200, &json!("ops")), "{same}");
    let other = "00000000-1111-2222-3333-444444444444";
    let (status, changed) =
        service.send_json("PATCH", &path(&endpoint), &json!({"url": format!("{}?key={other}", receiver.url)})).await;
    assert_eq!((status, &changed["url"]), (200, &json!(receiver.url)), "{changed}");
    let (status, problem) = service.post(&format!("{}/test", path(&endpoint)), &json!({})).await;
    assert_eq!(status, 429, "a test is a message like others: {problem}");
    service.skip(4);
    service.post(&format!("{}/test", path(&endpoint)), &json!({})).await;
    assert_eq!(receiver.until(2).await[1].query, format!("key={other}"));
    for wrong in ["", "?key=", "?key=short", "?token=693axxx6-7aoc", "?key=693axxx6-7aoc&x=1"] {
        let url = format!("{}{wrong}", receiver.url.replace("hook", "other"));
        let (status, problem) = service.post(WEBHOOKS, &json!({"format": "wecom", "url": url})).await;
        assert_eq!((status, &problem["errors"][0]["pointer"]), (400, &json!("/url")), "{wrong}: {problem}");
    }
    let (status, problem) = service.post(&format!("{}/rotate", path(&endpoint)), &json!({})).await;
    assert_eq!(status, 400, "{problem}");
    for (table, columns) in [
        ("webhook_endpoints", "url || secret"),
        ("webhook_attempts", "url || COALESCE(error, '') || COALESCE(answer, '')"),
        ("audit", "COALESCE(reason, '') || COALESCE(subject, '')"),
    ] {
        for text in texts(service.store.db(), &format!("SELECT {columns} FROM {table}")).await {
            assert!(!text.contains(KEY) && !text.contains(other), "{table}: {text}");
        }
    }
    let (_, list) = service.get(WEBHOOKS).await;
    let (_, attempts) = service.get(&format!("{}/attempts", path(&endpoint))).await;
    assert!(!list.to_string().contains(other) && !attempts.to_string().contains(other), "{list} {attempts}");
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_robots_address_is_no_endpoint_of_events() {
    let (service, receiver) = (service().in_process().await, Receiver::start().await);
    let (status, made) = service.post(WEBHOOKS, &json!({"url": receiver.url})).await;
    assert_eq!(status, 201, "{made}");
    for at in ["https://qyapi.weixin.qq.com", "HTTPS://QyApi.Weixin.QQ.com.", "https://qyapi.weixin.qq.com:443"] {
        let url = format!("{at}/cgi-bin/webhook/send?key={KEY}");
        for (method, to, body) in [
            ("POST", WEBHOOKS.to_owned(), json!({"url": url})),
            ("POST", WEBHOOKS.to_owned(), json!({"url": url, "format": "events"})),
            ("PATCH", path(&made), json!({"url": url})),
        ] {
            let (status, problem) = service.send_json(method, &to, &body).await;
            assert_eq!((status, &problem["errors"][0]["pointer"]), (400, &json!("/url")), "{method}: {problem}");
            assert!(problem.to_string().contains("format must be wecom"), "{problem}");
            assert!(!problem.to_string().contains(KEY), "{problem}");
        }
    }
    let (_, list) = service.get(WEBHOOKS).await;
    assert!(list.to_string().contains(&receiver.url) && !list.to_string().contains(KEY), "{list}");
    for text in texts(service.store.db(), "SELECT url FROM webhook_endpoints").await {
        assert!(!text.contains(KEY), "{text}");
    }
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_robot_inside_is_refused_as_any_endpoint() {
    let service = crate::harness::service::TestService::new()
        .config("[webhooks]\nkey = \"0123456789abcdefghijklmnopqrstuv\"\nallow_http = true\n")
        .in_process()
        .await;
    let url = format!("http://127.0.0.1:9/cgi-bin/webhook/send?key={KEY}");
    let (status, problem) = service.post(WEBHOOKS, &json!({"format": "wecom", "url": url})).await;
    assert_eq!(status, 400, "{problem}");
    assert!(!problem.to_string().contains(KEY), "{problem}");
    service.finish().await;
}

#[test]
fn many_events_fit_into_one_message_and_texts_are_no_markup() {
    let event = |n: usize| {
        json!({"type": "wxpay.dead_letter.parked.v1", "source": "wxpay/main", "subject": format!("A{n:05}"),
               "time": "2026-12-01T02:00:00.000Z",
               "data": {"consumer": "notify", "reason": "unknown_order",
                        "error": "<a href=x>[a](http://x)</a>\n> # `x`"}})
    };
    let all: Vec<Value> = (0..100).map(event).collect();
    let message: Value = serde_json::from_str(&robot_body(&all).0).unwrap();
    let content = message["markdown"]["content"].as_str().unwrap();
    assert!(content.len() <= 4096, "{}", content.len());
    let (first, last) = (content.lines().next().unwrap(), content.lines().last().unwrap());
    let shown = content.lines().count() - 2;
    assert_eq!(robot_body(&all).1, shown, "what is said to be reported is reported");
    assert!(first.contains(&format!(" {shown} events")), "{first}");
    assert!(shown > 10 && last.contains(&format!("{} more", 100 - shown)), "{last}");
    let line = content.lines().nth(1).unwrap();
    let begin = "> <font color=\"warning\">死信</font> dead_letter.parked · main · A00000 · ";
    assert!(line.starts_with(begin), "{line}");
    assert!(!line.contains("<a") && !line.contains('[') && !line.contains('`'), "{line}");
    let held = json!({"type": "wxpay.payment.held.v1", "source": "wxpay/main", "subject": "A1",
                      "data": {"amount_fen": 123_405, "reason": "late", "currency": "CNY"}});
    assert!(robot_body(&[held]).0.contains("¥1234.05 · late"));
}
