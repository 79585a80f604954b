//! Connections that do not want an answer: slow, oversized, ambiguous, too many.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::client::{Reply, raw, until_ready};
use super::stage::{KEY, Stage, order, with};
use crate::harness::within_timeout;

const POST: &str = "POST /notify/main/pay HTTP/1.1\r\nHost: x\r\n";

/// Connections end soon after their answer, whether or not it says so. A head and a body have the time that a busy
/// machine may take for them.
async fn quick() -> Stage {
    Stage::with("idle_timeout_ms = 1500\n", "").await
}

/// Between two pieces: shorter than any timeout here.
const PAUSE: Duration = Duration::from_millis(300);
/// How many pieces come at most, fewer than a head may have lines.
const PIECES: usize = 90;
/// When the last of them comes at the earliest: a timeout that each began anew would end later.
const ALL_PIECES: Duration = Duration::from_secs(27);

/// Sends `pieces` with pauses between them and says after how long the server closed, and with what.
async fn dribble(stage: &Stage, pieces: &[&str], pause: Duration) -> (Duration, Vec<u8>) {
    // The server's clock begins with the connection.
    let begun = Instant::now();
    let socket = TcpStream::connect(stage.address).await.unwrap();
    let (mut reader, mut writer) = socket.into_split();
    let mut answer = Vec::new();
    let write = async {
        for piece in pieces {
            if writer.write_all(piece.as_bytes()).await.is_err() {
                break;
            }
            tokio::time::sleep(pause).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = within_timeout("the close", reader.read_to_end(&mut answer)) => {}
        () = write => {}
    }
    (begun.elapsed(), answer)
}

#[tokio::test]
async fn a_head_that_dribbles_in_is_cut_off() {
    let stage = Stage::with("header_timeout_ms = 400\n", "").await;
    let head: Vec<&str> =
        std::iter::once("GET /healthz HTTP/1.1\r\n").chain(std::iter::repeat_n("A: b\r\n", PIECES)).collect();
    let (took, answer) = dribble(&stage, &head, PAUSE).await;
    assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    assert!(took >= Duration::from_millis(350) && took < ALL_PIECES, "{took:?}");
    let (took, answer) = dribble(&stage, &[], Duration::ZERO).await;
    assert!(answer.is_empty() && took < ALL_PIECES, "{took:?}");
    stage.finish().await;
}

#[tokio::test]
async fn a_body_that_dribbles_in_is_answered_408_and_cut_off() {
    let stage = Stage::with("body_timeout_ms = 600\n", "").await;
    let head = format!("{POST}Content-Length: 1000\r\n\r\n");
    let pieces: Vec<&str> = std::iter::once(head.as_str()).chain(std::iter::repeat_n("x", PIECES)).collect();
    let (took, answer) = dribble(&stage, &pieces, PAUSE).await;
    let reply = Reply::parse(&answer);
    assert_eq!((reply.status, reply.header("connection")), (408, Some("close")));
    assert!(took < ALL_PIECES, "{took:?}");
    stage.finish().await;
}

#[tokio::test]
async fn an_idle_connection_may_wait_longer_than_a_head_but_not_for_ever() {
    let stage = Stage::with("header_timeout_ms = 1500\nidle_timeout_ms = 9000\n", "").await;
    let get = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let (took, answer) = dribble(&stage, &[get, get], Duration::from_millis(2500)).await;
    let answers = String::from_utf8(answer).unwrap().matches("HTTP/1.1 200 OK").count();
    assert_eq!(answers, 2, "a pause shorter than idle_timeout ended the connection");
    assert!(took >= Duration::from_secs(11), "{took:?}");
    stage.finish().await;
}

#[tokio::test]
async fn a_chunked_body_without_end_is_refused_at_the_limit() {
    let stage = quick().await;
    let mut request = format!("{POST}Transfer-Encoding: chunked\r\n\r\n");
    for _ in 0..20 {
        request.push_str(&format!("1000\r\n{}\r\n", "x".repeat(0x1000)));
    }
    let reply = Reply::parse(&raw(stage.address, request.as_bytes()).await);
    assert_eq!((reply.status, reply.header("connection")), (413, Some("close")));
    stage.finish().await;
}

#[tokio::test]
async fn a_stated_length_over_the_limit_is_refused_before_the_body_and_one_too_long_in_the_end() {
    let stage = Stage::with("body_timeout_ms = 600\nidle_timeout_ms = 1500\n", "").await;
    let over = format!("{POST}Content-Length: 99999999\r\n\r\nx");
    let reply = Reply::parse(&raw(stage.address, over.as_bytes()).await);
    assert_eq!((reply.status, reply.header("connection")), (413, Some("close")));
    let short = format!("{POST}Content-Length: 100\r\n\r\nx");
    let reply = Reply::parse(&raw(stage.address, short.as_bytes()).await);
    assert_eq!((reply.status, reply.header("connection")), (408, Some("close")));
    stage.finish().await;
}

#[tokio::test]
async fn requests_that_two_readers_would_cut_differently_are_refused() {
    let stage = quick().await;
    let smuggled = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let heads = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x5\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding : chunked\r\n",
        " Transfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\n Transfer-Encoding: chunked\r\n",
        "Host: y\r\nContent-Length: 0\r\n",
    ];
    for head in heads {
        let request = format!("{POST}{head}\r\n0\r\n\r\n{smuggled}");
        let answer = raw(stage.address, request.as_bytes()).await;
        assert_eq!(Reply::parse(&answer).status, 400, "{head:?}");
        let answers = String::from_utf8(answer).unwrap().matches("HTTP/1.1 ").count();
        assert_eq!(answers, 1, "{head:?}: what lay behind was answered too");
    }
    for request in [
        "GET /healthz HTTP/1.1\r\n\r\n",
        "GET /healthz HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "\x16\x03\x01\r\n\r\n",
        // An empty line before a request is skipped; its head is checked all the same.
        "\r\nPOST /notify/main/pay HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\
         Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        assert_eq!(Reply::parse(&raw(stage.address, request.as_bytes()).await).status, 400, "{request:?}");
    }
    stage.finish().await;
}

#[tokio::test]
async fn behind_a_chunked_body_nothing_more_is_read() {
    let stage = quick().await;
    let request = format!("{POST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    let answer = raw(stage.address, request.as_bytes()).await;
    assert_eq!(Reply::parse(&answer).header("connection"), Some("close"));
    assert_eq!(String::from_utf8(answer).unwrap().matches("HTTP/1.1 ").count(), 1);
    stage.finish().await;
}

#[tokio::test]
async fn behind_a_request_sent_too_early_the_connection_ends() {
    let stage = quick().await;
    let next = format!("{POST}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    for first in ["GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", &format!("{POST}Content-Length: 6\r\n\r\n<xml/>")] {
        let answer = raw(stage.address, format!("{first}{next}").as_bytes()).await;
        let reply = Reply::parse(&answer);
        assert_eq!((reply.status, reply.header("connection")), (200, Some("close")), "{first:?}");
        assert_eq!(String::from_utf8(answer).unwrap().matches("HTTP/1.1 ").count(), 1, "{first:?}");
    }
    stage.finish().await;
}

#[tokio::test]
async fn requests_that_wait_for_the_answer_before_them_share_a_connection() {
    let stage = Stage::start().await;
    let mut socket = TcpStream::connect(stage.address).await.unwrap();
    for body in ["<xml/>", "", "<xml>0</xml>"] {
        let head = format!("{POST}Content-Length: {}\r\n\r\n", body.len());
        // The body after its head, so that it comes while the request is being answered.
        for piece in [head.as_bytes(), body.as_bytes()] {
            socket.write_all(piece).await.unwrap();
            socket.flush().await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut answer = Vec::new();
        while !answer.ends_with(b"</xml>") {
            let read = within_timeout("an answer", socket.read_buf(&mut answer)).await.unwrap();
            assert_ne!(read, 0, "the connection ended after {:?}", String::from_utf8_lossy(&answer));
        }
        assert_eq!(Reply::parse(&answer).header("connection"), None, "{body:?}");
    }
    stage.finish().await;
}

#[tokio::test]
async fn too_many_headers_and_a_long_target_are_refused() {
    let stage = quick().await;
    let many: String = (0..200).map(|n| format!("A{n}: b\r\n")).collect();
    let request = format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{many}\r\n");
    assert_eq!(Reply::parse(&raw(stage.address, request.as_bytes()).await).status, 431);
    let large = format!("GET /healthz HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "b".repeat(200_000));
    assert_eq!(Reply::parse(&raw(stage.address, large.as_bytes()).await).status, 431);
    let long = stage.get(&format!("/v1/orders/{}", "x".repeat(9_000))).await;
    assert_eq!((long.status, long.problem().as_str()), (414, "uri_too_long"));
    stage.finish().await;
}

#[tokio::test]
async fn a_crowd_of_silent_connections_does_not_keep_true_traffic_out() {
    let stage = Stage::with("max_connections = 20\nheader_timeout_ms = 400\n", "").await;
    let mut crowd = Vec::new();
    for _ in 0..60 {
        crowd.push(TcpStream::connect(stage.address).await.unwrap());
    }
    let reply = within_timeout("an answer behind the crowd", stage.send("GET", "/healthz", &[], b"")).await;
    assert_eq!(reply.status, 200);
    drop(crowd);
    stage.finish().await;
}

#[tokio::test]
async fn unknown_paths_methods_and_types_are_problems() {
    let stage = quick().await;
    let nowhere = stage.get("/v1/%3Cscript%3E").await;
    assert_eq!((nowhere.status, nowhere.problem().as_str()), (404, "no_route"));
    assert!(!nowhere.text().contains("script"));
    let delete = stage.send("DELETE", "/v1/orders", &[], b"").await;
    assert_eq!(
        (delete.status, delete.problem().as_str(), delete.header("allow")),
        (405, "method_not_allowed", Some("POST,GET,HEAD"))
    );
    let authorization = format!("Bearer {KEY}");
    let auth = ("Authorization", authorization.as_str());
    let form = stage.send("POST", "/v1/orders", &[auth, ("Content-Type", "text/plain")], b"{}").await;
    assert_eq!((form.status, form.problem().as_str()), (415, "media_type"));
    let json = ("Content-Type", "application/json; charset=utf-8");
    let gzip = stage.send("POST", "/v1/orders", &[auth, json, ("Content-Encoding", "gzip")], b"{}").await;
    assert_eq!((gzip.status, gzip.problem().as_str()), (415, "content_encoding"));
    let large = stage.send("POST", "/v1/orders", &[auth, json], &vec![b' '; 64 * 1024 + 1]).await;
    assert_eq!((large.status, large.problem().as_str()), (413, "too_large"));
    for key in ["", "a b", "ключ", &"k".repeat(256)] {
        let reply = stage.send("POST", "/v1/orders", &[auth, json, ("Idempotency-Key", key)], b"{}").await;
        assert_eq!(reply.invalid(), ["Idempotency-Key"], "{key:?}");
    }
    assert_eq!(stage.get("/v1/orders/A1?refrsh=1").await.invalid(), ["refrsh"]);
    stage.finish().await;
}

#[tokio::test]
async fn a_stop_finishes_what_is_under_way_and_refuses_what_is_new() {
    let stage = Stage::start().await;
    let mut socket = TcpStream::connect(stage.address).await.unwrap();
    socket.write_all(format!("{POST}Content-Length: 5\r\n\r\n<x").as_bytes()).await.unwrap();
    // An answered request on another connection says that this one was accepted before.
    assert_eq!(stage.send("GET", "/healthz", &[], b"").await.status, 200);
    stage.stop.cancel();
    socket.write_all(b"ml>").await.unwrap();
    let mut answer = Vec::new();
    within_timeout("the answer", socket.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(Reply::parse(&answer).status, 200);
    let address = stage.address;
    stage.finish().await;
    assert!(TcpStream::connect(address).await.is_err(), "a listener is still open");
}

#[tokio::test]
async fn an_answer_names_fifty_errors_at_most() {
    let stage = Stage::start().await;
    let mut body = order("E100001");
    for n in 0..1000 {
        body[format!("unknown{n}")] = n.into();
    }
    let refused = stage.place(&body, &[]).await;
    assert_eq!((refused.status, refused.problem().as_str()), (400, "invalid"));
    let problem = refused.json();
    assert_eq!((problem["errors"].as_array().unwrap().len(), &problem["errors_left_out"]), (50, &950.into()));
    let refused = stage.place(&with(order("E100001"), "unknown", 1.into()), &[]).await.json();
    assert_eq!((refused["errors"].as_array().unwrap().len(), refused.get("errors_left_out")), (1, None), "{refused}");
    stage.finish().await;
}

#[tokio::test]
async fn no_answer_is_kept_by_a_cache_or_read_as_another_type() {
    let stage = Stage::start().await;
    let authorization = ("Authorization", &*format!("Bearer {KEY}"));
    for (path, status) in
        [("/healthz", 200), ("/readyz", 200), ("/v1/events", 200), ("/v1/orders/NONE", 404), ("/nothing", 404)]
    {
        let reply = match path {
            "/readyz" => until_ready(stage.address, &[authorization]).await,
            _ => stage.send("GET", path, &[authorization], b"").await,
        };
        let headers = ["cache-control", "x-content-type-options"].map(|name| reply.header(name));
        assert_eq!((reply.status, headers), (status, [Some("no-store"), Some("nosniff")]), "{path}");
    }
    stage.finish().await;
}
