//! How many streams there may be of a client and in all, and how often the key of one is checked.

use std::time::Duration;

use serde_json::json;
use wxpay_worker::http::StreamLimits;

use super::Stream;
use crate::harness::service::TestService;
use crate::http::stage::{KEY, Stage, http_only, order};
use crate::keys::{ADMIN, with_admin};

/// Behind a proxy on this host, with two orders and their tokens.
async fn behind_proxy(limits: StreamLimits) -> (Stage, [String; 2]) {
    worked(http_only("trusted_proxies = [\"127.0.0.1\"]", "").streams(limits)).await
}

async fn worked(service: TestService) -> (Stage, [String; 2]) {
    let stage = Stage::of(service).await;
    stage.work();
    let mut tokens = [String::new(), String::new()];
    for (order_no, token) in ["A100001", "A100002"].into_iter().zip(&mut tokens) {
        let placed = stage.place(&order(order_no), &[]).await.json();
        *token = placed["order_token"].as_str().unwrap().to_owned();
    }
    (stage, tokens)
}

/// A stream of an order that was opened by a client behind the proxy, and its first event.
async fn opened(stage: &Stage, order_no: &str, token: &str, client: &str) -> Stream {
    let mut stream = Stream::of(stage, order_no, token, &format!("X-Forwarded-For: {client}\r\n")).await;
    assert_eq!(stream.next().await.unwrap().1["state"], "payable", "{client}");
    stream
}

#[tokio::test]
async fn where_all_streams_are_taken_a_new_one_ends_the_oldest_of_the_client_with_the_most() {
    let (stage, [one, two]) = behind_proxy(StreamLimits { in_all: 8, ..StreamLimits::default() }).await;
    let mut others = Vec::new();
    // Of the proxy itself no client is known: these are many clients'.
    for _ in 0..2 {
        let mut stream = Stream::of(&stage, "A100002", &two, "").await;
        assert_eq!(stream.next().await.unwrap().1["state"], "payable");
        others.push(stream);
    }
    // One network of IPv6 is one client.
    let mut oldest = opened(&stage, "A100001", &one, "2001:db8:0:1::1").await;
    let mut second = opened(&stage, "A100001", &one, "2001:db8:0:1::2").await;
    others.push(opened(&stage, "A100001", &one, "2001:db8:0:1::3").await);
    others.push(opened(&stage, "A100002", &two, "2001:db8:0:1::1").await);
    // The business at the same address counts apart.
    others.push(opened(&stage, "A100001", KEY, "2001:db8:0:1::1").await);
    others.push(opened(&stage, "A100001", KEY, "203.0.113.6").await);
    others.push(opened(&stage, "A100002", KEY, "203.0.113.7").await);
    assert_eq!(oldest.rest().await, ["retry: 30000"]);
    others.push(opened(&stage, "A100002", KEY, "203.0.113.8").await);
    assert_eq!(second.rest().await, ["retry: 30000"]);
    for order_no in ["A100001", "A100002"] {
        stage.pay(order_no).await;
    }
    for stream in &mut others {
        assert_eq!(stream.next().await.unwrap().1["state"], "paid");
        assert!(stream.next().await.is_none());
    }
    stage.finish().await;
}

#[tokio::test]
async fn where_all_have_one_stream_a_client_has_a_new_one_in_place_of_its_own() {
    let (stage, [one, two]) = behind_proxy(StreamLimits { in_all: 2, ..StreamLimits::default() }).await;
    let mut first = opened(&stage, "A100001", &one, "203.0.113.1").await;
    let mut other = opened(&stage, "A100002", &two, "203.0.113.2").await;
    let headers = [("Authorization", &*format!("Bearer {one}")), ("X-Forwarded-For", "203.0.113.3")];
    let refused = stage.send("GET", "/v1/orders/A100001/stream", &headers, b"").await;
    assert_eq!((refused.status, refused.problem().as_str()), (503, "too_many_streams"));
    let mut second = opened(&stage, "A100002", &two, "203.0.113.1").await;
    assert_eq!(first.rest().await, ["retry: 30000"]);
    stage.pay("A100002").await;
    for stream in [&mut other, &mut second] {
        assert_eq!(stream.next().await.unwrap().1["state"], "paid");
        assert!(stream.next().await.is_none());
    }
    // What has ended takes no place any more.
    for client in ["203.0.113.3", "203.0.113.4"] {
        drop(opened(&stage, "A100001", &one, client).await);
    }
    stage.finish().await;
}

#[tokio::test]
async fn pages_take_no_place_of_the_business() {
    let (stage, [one, two]) = behind_proxy(StreamLimits { in_all: 4, ..StreamLimits::default() }).await;
    let mut others = Vec::new();
    for (order_no, client) in [("A100001", "203.0.113.6"), ("A100002", "203.0.113.6")] {
        others.push(opened(&stage, order_no, KEY, client).await);
    }
    let mut oldest = opened(&stage, "A100001", &one, "203.0.113.1").await;
    others.push(opened(&stage, "A100002", &two, "203.0.113.1").await);
    // The business has as many: none of them ends.
    let mut page = opened(&stage, "A100001", &one, "203.0.113.2").await;
    assert_eq!(oldest.rest().await, ["retry: 30000"]);
    let headers = [("Authorization", &*format!("Bearer {one}")), ("X-Forwarded-For", "203.0.113.3")];
    let refused = stage.send("GET", "/v1/orders/A100001/stream", &headers, b"").await;
    assert_eq!((refused.status, refused.problem().as_str()), (503, "too_many_streams"));
    for order_no in ["A100001", "A100002"] {
        stage.pay(order_no).await;
    }
    for stream in &mut others {
        assert_eq!(stream.next().await.unwrap().1["state"], "paid");
        assert!(stream.next().await.is_none());
    }
    assert_eq!(page.next().await.unwrap().1["state"], "paid");
    stage.finish().await;
}

#[tokio::test]
async fn a_key_that_is_revoked_ends_what_it_opened_though_nothing_happens() {
    let limits = StreamLimits { key_checked_every: Duration::from_millis(50), ..StreamLimits::default() };
    let (stage, [one, _]) = worked(with_admin(http_only("", "")).streams(limits)).await;
    let body = json!({"name": "shop", "scopes": ["orders"], "reason": "x"});
    let (status, made) = stage.post_by(ADMIN, "/v1/ops/keys", &body).await;
    assert_eq!(status, 201, "{made}");
    let mut revoked = opened(&stage, "A100001", made["key"].as_str().unwrap(), "203.0.113.9").await;
    let mut by_key = opened(&stage, "A100001", KEY, "203.0.113.9").await;
    let mut by_token = opened(&stage, "A100001", &one, "203.0.113.9").await;
    let path = format!("/v1/ops/keys/{}/revoke", made["id"].as_str().unwrap());
    let (status, ended) = stage.post_by(ADMIN, &path, &json!({"reason": "leaked"})).await;
    assert_eq!(status, 200, "{ended}");
    assert!(revoked.next().await.is_none(), "it goes on");
    stage.pay("A100001").await;
    for stream in [&mut by_key, &mut by_token] {
        assert_eq!(stream.next().await.unwrap().1["state"], "paid");
    }
    stage.finish().await;
}
