//! Alive, ready, counted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wxpay_worker::clock::Clock;
use wxpay_worker::config;
use wxpay_worker::http;
use wxpay_worker::http::{HttpShared, Ingress, LastReadiness, OfListener, StreamLimits};
use wxpay_worker::intake::{Lately, LogSettings};
use wxpay_worker::reference::problem_routes;
use wxpay_worker::webhooks;
use wxpay_worker::wechat::transport::Client;

use super::client::{readiness, send, until_ready};
use super::ops_jobs::{OPS_KEY, with_ops_key};
use super::stage::{KEY, Stage};
use crate::harness::within_timeout;
use crate::intake::support as intake;

#[tokio::test]
async fn a_sound_process_is_alive_ready_and_counted() {
    let stage = Stage::start().await;
    assert_eq!(stage.send("GET", "/healthz", &[], b"").await.text(), "ok\n");
    assert_eq!(until_ready(stage.address, &[]).await.json()["ready"], true);
    let metrics = stage.send("GET", "/metrics", &[], b"").await;
    assert!(metrics.text().contains("# TYPE wxpay_"), "{}", metrics.text());
    assert!(metrics.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    stage.finish().await;
}

/// As a request that a proxy of this host forwards.
const FORWARDED: (&str, &str) = ("X-Forwarded-For", "203.0.113.9");

#[tokio::test]
async fn strangers_see_whether_it_is_ready_and_nothing_else() {
    let stage = with_ops_key().await;
    for header in [FORWARDED, ("Forwarded", "for=203.0.113.9"), ("X-Real-IP", "203.0.113.9"), ("Via", "1.1 proxy")] {
        assert_eq!(until_ready(stage.address, &[header]).await.text(), r#"{"ready":true}"#, "{header:?}");
        let metrics = stage.send("GET", "/metrics", &[header], b"").await;
        assert_eq!((metrics.status, metrics.problem().as_str()), (401, "unauthorized"), "{header:?}");
    }
    let with = |key: &str| format!("Bearer {key}");
    let (ops, orders) = (with(OPS_KEY), with(KEY));
    for (path, shown) in [("/readyz", "config_hash"), ("/metrics", "# TYPE wxpay_")] {
        let headers = [FORWARDED, ("Authorization", &*ops)];
        let reply = match path {
            "/readyz" => until_ready(stage.address, &headers).await,
            _ => stage.send("GET", path, &headers, b"").await,
        };
        assert_eq!((reply.status, reply.text().contains(shown)), (200, true), "{}", reply.text());
        let reply = stage.send("GET", path, &[FORWARDED, ("Authorization", &orders)], b"").await;
        assert_eq!((reply.status, reply.text().contains(shown)), (403, false), "{}", reply.text());
    }
    let refused = "SELECT COUNT(*) FROM audit WHERE action = 'api_key.refuse'";
    stage.until_number("the refused keys, not the requests without one", refused, |n| n >= 1).await;
    stage.finish().await;
}

#[tokio::test]
async fn strangers_without_the_database_see_that_it_is_not_ready() {
    let stage = Stage::start().await;
    stage.store.db().read().clone().close().await.unwrap();
    let ready = stage.send("GET", "/readyz", &[FORWARDED], b"").await;
    assert_eq!((ready.status, ready.text().as_str()), (503, r#"{"ready":false}"#));
    stage.finish().await;
}

#[tokio::test(start_paused = true)]
async fn however_many_strangers_ask_it_is_looked_up_once_a_second() {
    let (last, looked_up) = (LastReadiness::default(), AtomicUsize::new(0));
    let ask = || {
        last.get(async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            looked_up.fetch_add(1, Ordering::Relaxed) == 0
        })
    };
    let all = futures_util::future::join_all((0..100).map(|_| ask())).await;
    assert_eq!((all, looked_up.load(Ordering::Relaxed)), (vec![true; 100], 1));
    tokio::time::advance(Duration::from_millis(999)).await;
    assert_eq!((ask().await, looked_up.load(Ordering::Relaxed)), (true, 1));
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!((ask().await, looked_up.load(Ordering::Relaxed)), (false, 2));
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

/// What the HTTP side of a stage is made of.
fn ingress(stage: &Stage, shutdown: &CancellationToken) -> Ingress {
    let (in_force, store, clock) = (stage.in_force.clone(), stage.store.clone(), Clock::system());
    let sender = webhooks::Sender::new(in_force.clone()).unwrap();
    Ingress {
        config: in_force,
        store: store.clone(),
        bus: stage.bus.clone(),
        clock: clock.clone(),
        webhooks: webhooks::Maker { store, sender, clock },
        wechat: Client::new(&stage.config.wechat).unwrap(),
        metrics: Arc::new(String::new),
        shutdown: shutdown.clone(),
        place_here: None,
        intake: None,
        intake_found: Lately::default(),
        streams: StreamLimits::default(),
    }
}

/// The check of the intake log, and whether the process is ready.
async fn log_check(address: SocketAddr) -> (u16, bool, String) {
    let ready = readiness(address, &[]).await;
    let checks = ready.json()["checks"].as_array().unwrap().clone();
    let check = checks.iter().find(|check| check["name"] == "intake").unwrap();
    (ready.status, check["ok"].as_bool().unwrap(), check["reason"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn an_intake_log_that_fills_is_reported_and_a_full_one_is_not_ready_until_it_is_settled() {
    let (stage, shutdown, folder) = (Stage::start().await, CancellationToken::new(), TempDir::new().unwrap());
    let (appender, mut reader) = intake::open(folder.path(), LogSettings { max_bytes: 1000, ..LogSettings::DEFAULT });
    let shared = HttpShared::new(Ingress { intake: Some(appender.clone()), ..ingress(&stage, &shutdown) });
    let router = http::admin_router(Arc::new(shared), Router::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, server) = (listener.local_addr().unwrap(), stage.config.server.clone());
    let serving = tokio::spawn({
        let (in_force, shutdown) = (stage.in_force.clone(), shutdown.clone());
        async move { http::serve(listener, router, OfListener::alone(server), in_force, shutdown).await }
    });
    assert_eq!(log_check(address).await, (200, true, String::new()));
    // With its frame, 850 of the 1000 bytes; then all of them.
    appender.append(intake::record(&[1; 757])).await.unwrap();
    let (status, ok, reason) = log_check(address).await;
    assert!(status == 200 && ok && reason.starts_with("85 % of the intake log waits"), "{status} {ok} {reason}");
    appender.append(intake::record(&[2; 57])).await.unwrap();
    let (status, ok, reason) = log_check(address).await;
    assert!(status == 503 && !ok && reason.starts_with("100 % of the intake log waits"), "{status} {ok} {reason}");
    let last = within_timeout("both records", reader.take(2)).await.pop().unwrap();
    reader.log().settled_up_to(last.to);
    assert_eq!(log_check(address).await, (200, true, String::new()));
    shutdown.cancel();
    serving.await.unwrap();
    stage.finish().await;
}

#[tokio::test]
async fn a_host_whose_clock_is_wrong_is_reported_and_stays_ready() {
    let stage = Stage::start().await;
    let shutdown = CancellationToken::new();
    let clock = Clock::host_off_by(3_605_000);
    // Though the service goes by the database's time: a person has to check the host.
    clock.set_by(stage.store.db().now().await.unwrap(), Instant::now());
    let router =
        http::admin_router(Arc::new(HttpShared::new(Ingress { clock, ..ingress(&stage, &shutdown) })), Router::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, server) = (listener.local_addr().unwrap(), stage.config.server.clone());
    let serving = tokio::spawn({
        let (in_force, shutdown) = (stage.in_force.clone(), shutdown.clone());
        async move { http::serve(listener, router, OfListener::alone(server), in_force, shutdown).await }
    });
    let ready = until_ready(address, &[]).await;
    let checks = ready.json()["checks"].as_array().unwrap().clone();
    let clock = checks.iter().find(|check| check["name"] == "clock").unwrap();
    let reason = clock["reason"].as_str().unwrap();
    assert!(
        // With what passes between two readings of a clock.
        reason.starts_with("this host's clock is 36") && reason.ends_with(" s ahead of the database's"),
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
    let of = |server: &config::Server| {
        let mut config = (*stage.config).clone();
        config.server = server.clone();
        let config = config::ConfigHandle::new(config);
        Arc::new(HttpShared::new(Ingress { config, ..ingress(&stage, &shutdown) }))
    };
    let mut addresses = Vec::new();
    let mut servers = Vec::new();
    for router in [http::router(of(&apart), Router::new()), http::admin_router(of(&apart), problem_routes())] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        addresses.push(listener.local_addr().unwrap());
        let (apart, in_force, shutdown) = (apart.clone(), stage.in_force.clone(), shutdown.clone());
        let serving = async move { http::serve(listener, router, OfListener::alone(apart), in_force, shutdown).await };
        servers.push(tokio::spawn(serving));
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(send(addresses[0], "GET", path, &[], b"").await.problem(), "no_route");
        let alone = match path {
            "/readyz" => until_ready(addresses[1], &[]).await,
            _ => send(addresses[1], "GET", path, &[], b"").await,
        };
        assert_eq!(alone.status, 200, "{path}");
    }
    // A refusal there names a page there.
    let refusal = send(addresses[1], "GET", "/v1/orders", &[], b"").await.json();
    for page in [refusal["docs"].as_str().unwrap(), "/problems", "/docs/pages.css"] {
        assert_eq!(send(addresses[1], "GET", page, &[], b"").await.status, 200, "{page}");
    }
    assert_eq!(send(addresses[1], "GET", "/openapi.json", &[], b"").await.problem(), "no_route");
    assert_eq!(send(addresses[1], "GET", "/v1/events", &[], b"").await.problem(), "no_route");
    shutdown.cancel();
    for server in servers {
        server.await.unwrap();
    }
    stage.finish().await;
}
