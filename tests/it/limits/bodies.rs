//! The room for bodies that the listeners of a process share.

use std::net::Ipv4Addr;

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wxpay_worker::config::Server;
use wxpay_worker::http::{Bodies, OfListener, guarded, serve};

use super::connections::{NO_CLOCKS, ask, connect, stuck};
use crate::harness::within_timeout;
use crate::http::stage::Stage;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_share_the_room_for_bodies() {
    wxpay_worker::http::raise_limit();
    let stage = Stage::with(NO_CLOCKS, "").await;
    let (stop, bodies) = (CancellationToken::new(), Bodies::default());
    let mut addresses = Vec::new();
    let mut serving = Vec::new();
    for name in ["api", "console"] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        addresses.push(listener.local_addr().unwrap());
        let router = guarded(Router::new().route("/read", post(|body: Bytes| async move { body.len().to_string() })));
        let settings = Server { max_connections: 4000, ..stage.config.server.clone() };
        let of = OfListener { name, settings, of_all: 4000, bodies: bodies.clone() };
        serving.push(tokio::spawn(serve(listener, router, of, stage.in_force.clone(), stop.clone())));
    }
    // Twelve clients take what is not left to notifications, 4 MiB each.
    let mut held = Vec::new();
    for client in 10..22 {
        for _ in 0..64 {
            let mut one = connect(client, addresses[0]).await;
            one.write_all(stuck("/read", 64 * 1024).as_bytes()).await.unwrap();
            held.push(one);
        }
    }
    let whole =
        |path: &str| format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 6\r\n\r\n<xml/>");
    within_timeout("the refusal at the other listener", async {
        while ask(50, addresses[1], &whole("/read")).await.status != 503 {}
    })
    .await;
    // A quarter is left to notifications, at whichever listener.
    assert_eq!(ask(50, addresses[1], &whole("/notify/main/pay")).await.status, 404);
    drop(held);
    within_timeout("room", async { while ask(50, addresses[1], &whole("/read")).await.status != 200 {} }).await;
    stop.cancel();
    for served in serving {
        served.await.unwrap();
    }
    stage.finish().await;
}

#[tokio::test]
async fn notifications_leave_room_for_bodies_where_others_have_a_listener_and_a_client_has_one_part_of_all() {
    wxpay_worker::http::raise_limit();
    let stage = Stage::with(NO_CLOCKS, "").await;
    let (stop, bodies) = (CancellationToken::new(), Bodies::new(true));
    let mut addresses = Vec::new();
    let mut serving = Vec::new();
    for name in ["notify", "api"] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        addresses.push(listener.local_addr().unwrap());
        let read = post(|body: Bytes| async move { body.len().to_string() });
        let router = guarded(Router::new().route("/read", read.clone()).route("/notify/main/pay", read));
        let settings = Server { max_connections: 4000, ..stage.config.server.clone() };
        let of = OfListener { name, settings, of_all: 4000, bodies: bodies.clone() };
        serving.push(tokio::spawn(serve(listener, router, of, stage.in_force.clone(), stop.clone())));
    }
    let whole =
        |path: &str| format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 6\r\n\r\n<xml/>");
    // One client takes its part at one listener: it has none at the other.
    let mut held = Vec::new();
    for _ in 0..64 {
        let mut one = connect(9, addresses[0]).await;
        one.write_all(stuck("/read", 64 * 1024).as_bytes()).await.unwrap();
        held.push(one);
    }
    within_timeout("the refusal of one client", async {
        while ask(9, addresses[1], &whole("/read")).await.status != 503 {}
    })
    .await;
    drop(held);
    // Sixty-four clients would take all of it, 1 MiB each.
    let mut held = Vec::new();
    for client in 10..74 {
        for _ in 0..16 {
            let mut one = connect(client, addresses[0]).await;
            let _ = one.write_all(stuck("/notify/main/pay", 64 * 1024).as_bytes()).await;
            held.push(one);
        }
    }
    within_timeout("the refusal of notifications", async {
        while ask(90, addresses[0], &whole("/notify/main/pay")).await.status != 503 {}
    })
    .await;
    assert_eq!(ask(90, addresses[1], &whole("/read")).await.status, 200);
    drop(held);
    stop.cancel();
    for served in serving {
        served.await.unwrap();
    }
    stage.finish().await;
}
