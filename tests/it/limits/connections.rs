//! Crowds from one address and from many, and true traffic beside them. Each address of 127.0.0.0/8 is another client.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;
use wxpay_worker::config::Server;
use wxpay_worker::http::{OfListener, serve};

use crate::harness::within_timeout;
use crate::http::client::Reply;
use crate::http::stage::{KEY, Stage};

/// No clock of a connection ends within a test.
pub(super) const NO_CLOCKS: &str = "header_timeout_ms = 60000\nbody_timeout_ms = 60000\nidle_timeout_ms = 600000\n";

/// A connection from 127.0.0.`host`.
pub async fn connect(host: u8, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, host), 0))).unwrap();
    within_timeout("a connection", socket.connect(to)).await.unwrap()
}

/// The answer to a request on a connection of its own from 127.0.0.`host`.
pub(super) async fn ask(host: u8, to: SocketAddr, request: &str) -> Reply {
    let mut socket = connect(host, to).await;
    socket.write_all(request.as_bytes()).await.unwrap();
    Reply::parse(&within_timeout("an answer", until_closed(&mut socket)).await)
}

async fn until_closed(socket: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    answer
}

/// Whether the server has closed a connection on which nothing is under way. Asked after an answer on another one.
fn is_closed(socket: &TcpStream) -> bool {
    match socket.try_read(&mut [0; 1]) {
        Ok(0) => true,
        Ok(_) => panic!("an answer to no request"),
        Err(e) => e.kind() != ErrorKind::WouldBlock,
    }
}

/// WeChat's, as far as this test goes: what is answered has been read whole.
const NOTIFICATION: &str =
    "POST /notify/main/pay HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 6\r\n\r\n<xml/>";
const ALIVE: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
const READY: &str = "GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
/// The other address at which WeChat posts.
const CALLBACK: &str =
    "POST /api/wechat/pay/callback HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 6\r\n\r\n<xml/>";
/// Of nothing, but a request like any other.
const OTHER: &str = "GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// A request whose body never comes: it stays under way.
pub(super) fn stuck(path: &str, length: usize) -> String {
    let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n");
    format!("{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n")
}

/// Sends a request that stays under way, once the server has read its head.
async fn under_way(host: u8, stage: &Stage, path: &str, length: usize) -> TcpStream {
    let mut socket = connect(host, stage.address).await;
    // Answered at once, so that the server is at the next head.
    socket.write_all(ALIVE.replace("Connection: close\r\n", "").as_bytes()).await.unwrap();
    let mut answer = [0; 4096];
    let read = within_timeout("an answer", socket.read(&mut answer)).await.unwrap();
    assert_ne!(read, 0, "no place");
    socket.write_all(stuck(path, length).as_bytes()).await.unwrap();
    socket
}

#[tokio::test]
async fn one_address_has_its_share_of_connections_and_others_are_answered() {
    let stage = Stage::with(&format!("max_connections = 40\n{NO_CLOCKS}"), "").await;
    let mut crowd = Vec::new();
    for n in 0..200 {
        let mut socket = connect(2, stage.address).await;
        // Some say nothing, some half of something.
        if n % 2 == 0 {
            let _ = socket.write_all(b"POST /notify/main/pay HTTP/1.1\r\nHost: x\r\n").await;
        }
        crowd.push(socket);
    }
    let reply = ask(3, stage.address, NOTIFICATION).await;
    assert!(reply.status == 200 && reply.text().contains("FAIL"), "{reply:?}");
    let open = || crowd.iter().filter(|socket| !is_closed(socket)).count();
    within_timeout("the others of the crowd are closed", async {
        while open() > 10 {
            assert_eq!(ask(3, stage.address, ALIVE).await.status, 200);
        }
    })
    .await;
    assert_eq!(open(), 10, "a quarter of forty");
    // The address itself is served, too: the newest one takes the place of the one that waited longest.
    assert_eq!(ask(2, stage.address, ALIVE).await.status, 200);
    drop(crowd);
    stage.finish().await;
}

#[tokio::test]
async fn addresses_of_proxies_are_not_counted() {
    let server = format!("max_connections = 40\ntrusted_proxies = [\"127.0.0.2\"]\n{NO_CLOCKS}");
    let stage = Stage::with(&server, "").await;
    let mut crowd = Vec::new();
    for _ in 0..30 {
        crowd.push(connect(2, stage.address).await);
    }
    assert_eq!(ask(2, stage.address, ALIVE).await.status, 200);
    assert_eq!(crowd.iter().filter(|socket| is_closed(socket)).count(), 0);
    drop(crowd);
    stage.finish().await;
}

/// Proxies that a reload names, or no longer names: as [`addresses_of_proxies_are_not_counted`], from then on.
#[tokio::test]
async fn proxies_of_a_configuration_read_anew_are_those_that_count() {
    let server = format!("max_connections = 40\ntrusted_proxies = [\"127.0.0.3\"]\n{NO_CLOCKS}");
    let stage = Stage::with(&server, "").await;
    let mut read = (*stage.in_force.snapshot()).clone();
    read.server.trusted_proxies = vec!["127.0.0.2/32".parse().unwrap()];
    stage.in_force.replace(read);
    let mut named = Vec::new();
    for _ in 0..30 {
        named.push(connect(2, stage.address).await);
    }
    assert_eq!(ask(2, stage.address, ALIVE).await.status, 200);
    assert_eq!(named.iter().filter(|socket| is_closed(socket)).count(), 0, "those of the proxy are not counted");
    drop(named);
    let mut no_longer = Vec::new();
    for _ in 0..30 {
        no_longer.push(connect(3, stage.address).await);
    }
    let open = || no_longer.iter().filter(|socket| !is_closed(socket)).count();
    within_timeout("the first of the other address are closed", async {
        while open() > 10 {
            assert_eq!(ask(4, stage.address, ALIVE).await.status, 200);
        }
    })
    .await;
    assert_eq!(open(), 10, "a quarter of forty");
    drop(no_longer);
    stage.finish().await;
}

/// Each client behind a proxy has shares of its own as soon as the proxy is named.
#[tokio::test]
async fn clients_behind_a_proxy_that_a_reload_names_have_shares_of_their_own() {
    let stage = Stage::with(&format!("max_connections = 64\n{NO_CLOCKS}"), "").await;
    let mut read = (*stage.in_force.snapshot()).clone();
    read.server.trusted_proxies = vec!["127.0.0.2/32".parse().unwrap()];
    let mut busy = Vec::new();
    for _ in 0..2 {
        busy.push(under_way(2, &stage, "/notify/main/pay", 6).await);
    }
    let from = |client: &str| NOTIFICATION.replace("Host: x", &format!("Host: x\r\nX-Forwarded-For: {client}"));
    // Until the last head was read, there is room.
    within_timeout("one client for all of them", async {
        while ask(2, stage.address, &from("198.51.100.7")).await.status != 503 {}
    })
    .await;
    stage.in_force.replace(read);
    let reply = ask(2, stage.address, &from("198.51.100.7")).await;
    assert!(reply.status == 200 && reply.text().contains("FAIL"), "{reply:?}");
    drop(busy);
    stage.finish().await;
}

#[tokio::test]
async fn when_all_places_are_taken_those_that_wait_longest_give_way() {
    let stage = Stage::with(&format!("max_connections = 40\n{NO_CLOCKS}"), "").await;
    let busy = under_way(9, &stage, "/v1/orders", 100).await;
    let mut crowd = Vec::new();
    for n in 0..39 {
        crowd.push(connect(10 + n, stage.address).await);
    }
    assert_eq!(ask(3, stage.address, ALIVE).await.status, 200);
    within_timeout("the first of the crowd are closed", async {
        while !is_closed(&crowd[0]) {
            assert_eq!(ask(3, stage.address, ALIVE).await.status, 200);
        }
    })
    .await;
    assert!(!is_closed(&crowd[38]), "the newest stays");
    assert!(!is_closed(&busy), "what is under way stays");
    drop((crowd, busy));
    stage.finish().await;
}

/// An answer that nothing is read of holds its connection's place as long as an idle connection does, and no longer.
#[tokio::test]
async fn a_client_that_reads_nothing_of_its_answer_is_cut_off() {
    // More than the kernel keeps for a client.
    const ANSWER: usize = 32 << 20;
    let stage = Stage::with("", "").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let (day, second) = (Duration::from_secs(86_400), Duration::from_secs(1));
    let server = Server {
        max_connections: 40,
        max_connections_per_address: 1,
        header_timeout: day,
        idle_timeout: second,
        ..stage.config.server.clone()
    };
    let router =
        Router::new().route("/large", get(|| async { vec![b'x'; ANSWER] })).route("/healthz", get(|| async { "ok" }));
    let serving = tokio::spawn({
        let (in_force, stop) = (stage.in_force.clone(), stop.clone());
        serve(listener, router, OfListener::alone(server), in_force, stop)
    });
    let mut unread = connect(2, address).await;
    unread.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut begin = [0; 12];
    within_timeout("its beginning", unread.read_exact(&mut begin)).await.unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200");
    within_timeout("its place", async {
        loop {
            let mut next = connect(2, address).await;
            let _ = next.write_all(ALIVE.as_bytes()).await;
            if !until_closed(&mut next).await.is_empty() {
                break;
            }
        }
    })
    .await;
    let rest = until_closed(&mut unread).await;
    assert!(rest.len() < ANSWER, "{} bytes: it was sent whole", rest.len());
    stop.cancel();
    serving.await.unwrap();
    stage.finish().await;
}

#[tokio::test]
async fn a_quarter_of_the_requests_under_way_is_left_to_notifications() {
    let stage = Stage::with(&format!("max_connections = 40\n{NO_CLOCKS}"), "").await;
    let mut busy = Vec::new();
    for n in 0..30 {
        busy.push(under_way(10 + n, &stage, "/v1/orders", 100).await);
    }
    let reply = within_timeout("the refusal of one more", async {
        loop {
            // Until the last head was read, there is room.
            let reply = ask(3, stage.address, OTHER).await;
            if reply.status != 404 {
                return reply;
            }
        }
    })
    .await;
    assert_eq!((reply.status, reply.problem().as_str()), (503, "overloaded"));
    assert_eq!(reply.header("connection"), Some("close"));
    for (request, says) in [(NOTIFICATION, "FAIL"), (CALLBACK, "FAIL"), (ALIVE, "ok"), (READY, "\"ready\":true")] {
        let reply = ask(3, stage.address, request).await;
        assert!(reply.status == 200 && reply.text().contains(says), "{reply:?}");
    }
    drop(busy);
    within_timeout("room for others", async { while ask(3, stage.address, OTHER).await.status != 404 {} }).await;
    stage.finish().await;
}

/// Sends requests whose bodies never come until one is refused; answers how many were not.
async fn refused_after(stage: &Stage, host: u8, request: &str) -> (usize, Vec<TcpStream>) {
    let mut taken = Vec::new();
    loop {
        let mut one = connect(host, stage.address).await;
        one.write_all(request.as_bytes()).await.unwrap();
        let mut answer = [0; 4096];
        // What is not refused gets no answer. The server has read the head when it answers a later connection.
        let waits = async {
            for _ in 0..3 {
                assert_eq!(ask(4, stage.address, ALIVE).await.status, 200);
            }
        };
        tokio::select! {
            biased;
            read = one.read(&mut answer) => {
                let reply = Reply::parse(&answer[..read.unwrap()]);
                assert_eq!((reply.status, reply.problem().as_str()), (503, "overloaded"));
                return (taken.len(), taken);
            }
            () = waits => taken.push(one),
        }
    }
}

#[tokio::test]
async fn one_client_has_its_share_of_bodies_also_behind_a_proxy() {
    wxpay_worker::http::raise_limit();
    let server = format!("trusted_proxies = [\"127.0.0.9\"]\n{NO_CLOCKS}");
    let stage = Stage::with(&server, "").await;
    let large = 64 * 1024;
    let orders = stuck("/v1/orders", large);
    // A sixteenth of 64 MiB, and of what asks for no key a sixty-fourth.
    let (count, held) = refused_after(&stage, 2, &orders).await;
    assert!((64..=66).contains(&count), "{count}");
    let forwarded =
        stuck("/notify/main/pay", large).replace("Host: x\r\n", "Host: x\r\nX-Forwarded-For: 198.51.100.7\r\n");
    let (count, behind) = refused_after(&stage, 9, &forwarded).await;
    assert!((16..=18).contains(&count), "{count}");
    // WeChat's are answered, behind the same proxy too.
    let of_wechat = NOTIFICATION.replace("Host: x\r\n", "Host: x\r\nX-Forwarded-For: 203.0.113.7\r\n");
    for (host, request) in [(3, NOTIFICATION), (9, &of_wechat)] {
        let reply = ask(host, stage.address, request).await;
        assert!(reply.status == 200 && reply.text().contains("FAIL"), "{reply:?}");
    }
    drop((held, behind));
    stage.finish().await;
}

#[tokio::test]
async fn one_client_has_few_notifications_under_way() {
    let stage = Stage::with(&format!("max_connections = 320\n{NO_CLOCKS}"), "").await;
    let (count, held) = refused_after(&stage, 2, &stuck("/notify/main/pay", 1)).await;
    assert!((10..=12).contains(&count), "{count}");
    let reply = ask(3, stage.address, NOTIFICATION).await;
    assert!(reply.status == 200 && reply.text().contains("FAIL"), "{reply:?}");
    drop(held);
    stage.finish().await;
}
