//! Alive, ready, counted.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wxpay_worker::clock::Clock;
use wxpay_worker::config;
use wxpay_worker::http;
use wxpay_worker::http::{HttpShared, Ingress};
use wxpay_worker::webhooks;
use wxpay_worker::wechat::transport::Client;

use super::client::send;
use super::stage::Stage;

#[tokio::test]
async fn a_sound_process_is_alive_ready_and_counted() {
    let stage = Stage::start().await;
    assert_eq!(stage.send("GET", "/healthz", &[], b"").await.text(), "ok\n");
    let ready = stage.send("GET", "/readyz", &[], b"").await;
    assert_eq!((ready.status, &ready.json()["ready"]), (200, &true.into()));
    let metrics = stage.send("GET", "/metrics", &[], b"").await;
    assert!(metrics.text().contains("# TYPE wxpay_"), "{}", metrics.text());
    assert!(metrics.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    stage.finish().await;
}

#[tokio::test]
async fn without_its_database_a_process_is_alive_and_not_ready() {
    let stage = Stage::start().await;
    stage.store.db().read().clone().close().await.unwrap();
    assert_eq!(stage.send("GET", "/healthz", &[], b"").await.status, 200);
    let ready = stage.send("GET", "/readyz", &[], b"").await;
    assert_eq!(ready.status, 503);
    let checks = ready.json()["checks"].as_array().unwrap().clone();
    let database = checks.iter().find(|c| c["name"] == "database").unwrap();
    assert_eq!((&database["ok"], database["reason"].is_string()), (&false.into(), true), "{database}");
    stage.finish().await;
}

#[tokio::test]
async fn a_host_whose_clock_is_wrong_is_reported_and_stays_ready() {
    let stage = Stage::start().await;
    let shutdown = CancellationToken::new();
    let clock = Clock::host_off_by(3_605_000);
    // Though the service goes by the database's time: a person has to check the host.
    clock.set_by(stage.store.db().now().await.unwrap(), Instant::now());
    let sender = webhooks::Sender::new(stage.in_force.clone()).unwrap();
    let router = http::admin_router(Arc::new(HttpShared::new(Ingress {
        config: stage.in_force.clone(),
        store: stage.store.clone(),
        bus: stage.bus.clone(),
        webhooks: webhooks::Maker { store: stage.store.clone(), sender, clock: clock.clone() },
        clock,
        wechat: Client::new(&stage.config.wechat).unwrap(),
        metrics: Arc::new(String::new),
        shutdown: shutdown.clone(),
        place_here: None,
    })));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, server) = (listener.local_addr().unwrap(), stage.config.server.clone());
    let serving = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { http::serve(listener, router, &server, shutdown).await }
    });
    let ready = send(address, "GET", "/readyz", &[], b"").await;
    assert_eq!((ready.status, &ready.json()["ready"]), (200, &true.into()));
    let checks = ready.json()["checks"].as_array().unwrap().clone();
    let clock = checks.iter().find(|check| check["name"] == "clock").unwrap();
    let reason = clock["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("this host's clock is 360") && reason.ends_with(" s ahead of the database's"),
        "{clock}"
    );
    shutdown.cancel();
    serving.await.unwrap();
    stage.finish().await;
}

#[tokio::test]
async fn with_an_admin_listener_health_is_there_alone() {
    let stage = Stage::start().await;
    let apart = config::Server { admin_listen: Some("127.0.0.1:1".parse().unwrap()), ..stage.config.server.clone() };
    let shutdown = CancellationToken::new();
    let sender = webhooks::Sender::new(stage.in_force.clone()).unwrap();
    let of = |server: &config::Server| {
        Arc::new(HttpShared::new(Ingress {
            config: {
                let mut config = (*stage.config).clone();
                config.server = server.clone();
                config::ConfigHandle::new(config)
            },
            store: stage.store.clone(),
            bus: stage.bus.clone(),
            clock: Clock::system(),
            webhooks: webhooks::Maker { store: stage.store.clone(), sender: sender.clone(), clock: Clock::system() },
            wechat: Client::new(&stage.config.wechat).unwrap(),
            metrics: Arc::new(String::new),
            shutdown: shutdown.clone(),
            place_here: None,
        }))
    };
    let mut addresses = Vec::new();
    let mut servers = Vec::new();
    for router in [http::router(of(&apart), Router::new()), http::admin_router(of(&apart))] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        addresses.push(listener.local_addr().unwrap());
        let (apart, shutdown) = (apart.clone(), shutdown.clone());
        servers.push(tokio::spawn(async move { http::serve(listener, router, &apart, shutdown).await }));
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(send(addresses[0], "GET", path, &[], b"").await.problem(), "no_route");
        assert_eq!(send(addresses[1], "GET", path, &[], b"").await.status, 200);
    }
    assert_eq!(send(addresses[1], "GET", "/v1/events", &[], b"").await.problem(), "no_route");
    shutdown.cancel();
    for server in servers {
        server.await.unwrap();
    }
    stage.finish().await;
}
