//! `server.notify_listen`: notifications are taken there whatever happens at the address of everything else.

use std::io::ErrorKind;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::connections::connect;
use crate::flows::notifications::{SIGNED_BY_THE_TEST, signed};
use crate::harness::ports::free_port;
use crate::harness::service::{API_KEY, KEY, TestService};
use crate::harness::within_timeout;
use crate::http::client::Reply;

/// Of 40 connections 30 are those of the public listener. No clock of one ends within the test.
const SERVER: &str = "[server]\nmax_connections = 40\nnotify_listen = \"127.0.0.1:0\"\nheader_timeout_ms = 60000\n\
                      body_timeout_ms = 60000\nidle_timeout_ms = 600000\n";
const PUBLIC: u8 = 30;

/// The server says when it waits for the body, which never comes.
const STUCK: &str = "POST /notify/main/pay HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n";
const ALIVE: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

async fn ask(host: u8, to: SocketAddr, request: &str) -> Reply {
    let mut socket = connect(host, to).await;
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    within_timeout("an answer", socket.read_to_end(&mut answer)).await.unwrap();
    Reply::parse(&answer)
}

fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notification_is_settled_while_every_place_of_the_public_listener_is_taken() {
    let service = TestService::new().config(SERVER).in_process().await;
    let public: SocketAddr = service.base.trim_start_matches("http://").parse().unwrap();
    let notify = service.notify.unwrap();
    service.place("N100001").await;
    service.place("N100002").await;

    // Each of the crowd is at an address of its own, and a request is under way on each connection: none gives way.
    let mut crowd = Vec::new();
    for n in 0..PUBLIC {
        let mut socket = connect(10 + n, public).await;
        socket.write_all(STUCK.as_bytes()).await.unwrap();
        let mut answer = [0; 21];
        within_timeout("the server waits for its body", socket.read_exact(&mut answer)).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 100 Continue");
        crowd.push(socket);
    }
    let of = |order_no: &str, transaction_id: &str| {
        let body = signed(&[("out_trade_no", order_no), ("transaction_id", transaction_id)], KEY);
        post("/notify/main/pay", &body)
    };
    let mut waiting = connect(3, public).await;
    waiting.write_all(of("N100001", "4200000000202611220000000001").as_bytes()).await.unwrap();

    // The same of another order, where only WeChat's notifications are taken.
    let reply = ask(3, notify, &of("N100002", "4200000000202611220000000002")).await;
    assert!(reply.status == 200 && reply.text().contains("SUCCESS"), "{reply:?}");
    service.until("credited", "N100002", |stored| stored.order.paid_reported).await;
    let unanswered = waiting.try_read(&mut [0; 1]);
    assert_eq!(unanswered.unwrap_err().kind(), ErrorKind::WouldBlock, "the public listener has no place for it");
    assert!(service.stored("N100001").await.order.paid_by.is_none());

    // Once the crowd is gone it is taken there as well.
    drop(crowd);
    let mut answer = Vec::new();
    within_timeout("the answer", waiting.read_to_end(&mut answer)).await.unwrap();
    let reply = Reply::parse(&answer);
    assert!(reply.status == 200 && reply.text().contains("SUCCESS"), "{reply:?}");
    service.until("credited", "N100001", |stored| stored.order.paid_reported).await;
    service.leave_books_open(SIGNED_BY_THE_TEST);
    service.finish().await;
}

/// WeChat posts from few addresses, and all of them may be one behind a proxy: a client has as many under way as it has
/// where there is one listener for everything, a thirty-second of all connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_has_no_less_there_than_at_the_public_listener() {
    let server = SERVER.replace("max_connections = 40", "max_connections = 64");
    let service = TestService::new().config(&server).in_process().await;
    let notify = service.notify.unwrap();
    let mut under_way = Vec::new();
    for _ in 0..2 {
        let mut socket = connect(5, notify).await;
        socket.write_all(STUCK.as_bytes()).await.unwrap();
        let mut answer = [0; 21];
        within_timeout("the server waits for its body", socket.read_exact(&mut answer)).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 100 Continue");
        under_way.push(socket);
    }
    let notification = post("/notify/main/pay", "<xml/>");
    assert_eq!(ask(5, notify, &notification).await.status, 503, "a third");
    assert_eq!(ask(6, notify, &notification).await.status, 200, "of another client");
    drop(under_way);
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_but_notifications_is_answered_there() {
    let service = TestService::new().config(SERVER).in_process().await;
    let notify = service.notify.unwrap();
    let with_key = format!("Host: x\r\nAuthorization: Bearer {API_KEY}\r\n");
    for path in ["/v1/orders", "/healthz", "/readyz", "/metrics", "/console", "/docs", "/api/wechat/jssdk", "/"] {
        let request = ALIVE.replace("/healthz", path).replace("Host: x\r\n", &with_key);
        let reply = ask(3, notify, &request).await;
        assert_eq!((reply.status, reply.problem().as_str()), (404, "no_route"), "{path}");
    }
    for path in ["/notify/main/pay", "/notify/main/refund", "/api/wechat/pay/callback"] {
        let reply = ask(3, notify, &post(path, "<xml/>")).await;
        assert!(reply.status == 200 && reply.text().contains("FAIL"), "{path}: {reply:?}");
        assert_eq!(ask(3, notify, &ALIVE.replace("/healthz", path)).await.status, 405, "{path}");
    }
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_listens_there_and_names_the_address_at_its_start() {
    let port = free_port();
    let config = format!("[server]\nnotify_listen = \"127.0.0.1:{port}\"\n");
    let service = TestService::embedded_sqlite().await.config(&config).processes().await;
    let process = service.run_all().await;
    service.place(&process.base, "N100001", 100).await;
    let notify = SocketAddr::from(([127, 0, 0, 1], port));
    let reply = ask(3, notify, &post("/notify/main/pay", "<xml/>")).await;
    assert!(reply.status == 200 && reply.text().contains("FAIL"), "{reply:?}");
    let logs = service.logs();
    let line = logs.lines().find(|line| line.contains("notify_address")).unwrap_or_else(|| panic!("{logs}"));
    assert!(line.contains(&format!("127.0.0.1:{port}")), "{line}");
    service.finish().await;
}
