use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use wxpay_worker::config::Wechat;
use wxpay_worker::wechat::transport::{Client, ClientError, MAX_REPLY_BYTES, Reply, TransportError};

use super::server::{Answer, Received, Server, http, unreachable};
use super::wechat;
use crate::harness::{TEST_TIMEOUT, within_timeout};

fn client(main: &str, backup: &str) -> Client {
    Client::new(&wechat(main, backup)).unwrap()
}

/// A host that has not answered by then counts as slow.
const SLOW: Duration = Duration::from_secs(1);

/// The outcome of a call that was no slow one: the client cannot tell a busy machine from a slow host.
async fn unless_slow<T>(call: impl Future<Output = T>) -> Option<T> {
    let begun = Instant::now();
    let outcome = call.await;
    (begun.elapsed() < SLOW).then_some(outcome)
}

/// A main host that answers so, and a backup that answers once the main host has the call.
fn main_and_backup(answer: impl Fn(&Received) -> Answer + Send + 'static) -> (Server, Server) {
    let (has, had) = mpsc::channel();
    let main = Server::start(move |request| {
        has.send(()).unwrap();
        answer(request)
    });
    let backup = Server::start(move |_| {
        had.recv_timeout(TEST_TIMEOUT).unwrap();
        Answer::Bytes(http(200, "second"))
    });
    (main, backup)
}

/// For hosts that hang: the time that passes before the client gives up.
fn short_timeout(main: &str, backup: &str) -> Client {
    Client::new(&Wechat { timeout: Duration::from_millis(1500), ..wechat(main, backup) }).unwrap()
}

/// A client that calls this host first, and a backup that would answer.
fn to_main_first(main: &Server) -> (Client, Server) {
    let backup = Server::saying("second");
    (client(&main.url, &backup.url), backup)
}

async fn post(client: &Client) -> Result<Vec<u8>, TransportError> {
    whole(client).await.map(|reply| reply.body)
}

async fn whole(client: &Client) -> Result<Reply, TransportError> {
    client.post_xml("/pay/orderquery", "<xml>问</xml>".into()).await
}

#[tokio::test]
async fn a_call_carries_the_message_and_names_its_sender() {
    let server = Server::saying("<xml>答</xml>");
    let reply = post(&client(&format!("{}/", server.url), &unreachable())).await.unwrap();
    assert_eq!(reply, "<xml>答</xml>".as_bytes());
    let [request] = &server.received()[..] else { panic!("one request") };
    assert!(request.head.starts_with("POST /pay/orderquery HTTP/1.1\r\n"), "{}", request.head);
    let head = request.head.to_ascii_lowercase();
    assert!(head.contains("\r\ncontent-type: text/xml; charset=utf-8"), "{head}");
    assert!(head.contains(&format!("\r\nuser-agent: wxpay-worker/{}", env!("CARGO_PKG_VERSION"))), "{head}");
    assert_eq!(request.body, "<xml>问</xml>");
}

#[tokio::test]
async fn a_host_that_cannot_be_reached_is_replaced_by_the_backup() {
    let backup = Server::saying("second");
    assert_eq!(post(&client(&unreachable(), &backup.url)).await.unwrap(), b"second");
}

#[tokio::test]
async fn a_host_that_hangs_or_breaks_or_fails_is_replaced_by_the_backup() {
    let half = |_: &_| Answer::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n<xml>".to_vec());
    for (main, backup) in [
        main_and_backup(|_| Answer::Hang),
        main_and_backup(|_| Answer::Bytes(http(502, "<html>"))),
        main_and_backup(half),
        main_and_backup(|_| Answer::Bytes(Vec::new())),
    ] {
        assert_eq!(post(&client(&main.url, &backup.url)).await.unwrap(), b"second");
        let (first, second) = (&main.received()[0], &backup.received()[0]);
        assert_eq!(first.body, second.body, "the repeat is the same message");
    }
}

#[tokio::test]
async fn a_reply_tells_whether_another_host_may_have_executed_the_call_before() {
    let alone = Server::saying("second");
    let open = |client: Client| async move { whole(&client).await.unwrap().earlier_may_have_executed };
    let was_open = loop {
        if let Some(open) = unless_slow(open(client(&alone.url, &unreachable()))).await {
            break open;
        }
    };
    assert!(!was_open, "there was no other host");
    assert!(!open(client(&unreachable(), &alone.url)).await, "nothing was sent to the first");
    for (main, backup) in [
        main_and_backup(|_| Answer::Hang),
        main_and_backup(|_| Answer::Bytes(http(502, "<html>"))),
        main_and_backup(|_| Answer::Bytes(Vec::new())),
    ] {
        assert!(open(client(&main.url, &backup.url)).await);
    }
}

#[tokio::test]
async fn a_main_host_that_hangs_costs_one_second_once_and_is_called_again_when_it_answers() {
    let (client, hangs) = loop {
        let hangs = Arc::new(AtomicBool::new(true));
        let (main_hangs, backup) = (Arc::clone(&hangs), Server::saying("second"));
        let (has, had) = mpsc::channel();
        let main = Server::start(move |request| {
            // The test may have gone on to another pair.
            let _ = has.send(request.head.starts_with("POST"));
            if main_hangs.load(SeqCst) { Answer::Hang } else { Answer::Bytes(http(200, "first")) }
        });
        let client = client(&main.url, &backup.url);
        let begun = Instant::now();
        let reply = whole(&client).await.unwrap();
        assert_eq!((&reply.body[..], reply.earlier_may_have_executed), (&b"second"[..], true));
        let first = begun.elapsed();
        assert!(first >= SLOW, "{first:?}");
        assert!(had.recv_timeout(TEST_TIMEOUT).unwrap(), "the call");
        let mut prompt = 0;
        for _ in 0..3 {
            let Some(reply) = unless_slow(whole(&client)).await else { break };
            let reply = reply.unwrap();
            assert_eq!((&reply.body[..], reply.earlier_may_have_executed), (&b"second"[..], false));
            prompt += 1;
        }
        if prompt == 3 {
            assert!(!had.try_iter().any(|is_call| is_call), "only the first call went to the host that hangs");
            assert_eq!(backup.received().len(), 4);
            break (client, hangs);
        }
    };
    hangs.store(false, SeqCst);
    within_timeout("the main host, once it answers", async {
        while post(&client).await.unwrap() != b"first" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_answer_of_the_slow_host_counts_while_the_other_one_is_silent() {
    let (asked, was_asked) = mpsc::channel();
    let slow = Server::start(move |_| {
        was_asked.recv_timeout(TEST_TIMEOUT).unwrap();
        Answer::Bytes(http(200, "late"))
    });
    let silent = Server::start(move |_| {
        asked.send(()).unwrap();
        Answer::Hang
    });
    let reply = whole(&client(&slow.url, &silent.url)).await.unwrap();
    assert_eq!((&reply.body[..], reply.earlier_may_have_executed), (&b"late"[..], true));
    assert_eq!(silent.received().len(), 1);
}

#[tokio::test]
async fn a_refund_goes_to_the_other_host_only_in_its_next_call() {
    let main = Server::start(|_| Answer::Bytes(Vec::new()));
    let backup = Server::saying("second");
    let client = client(&main.url, &backup.url);
    let refund = || client.post_xml_once("/secapi/pay/refund", "<xml/>".into());
    assert!(matches!(refund().await, Err(TransportError::NoAnswer { .. })));
    assert!(backup.received().is_empty());
    assert_eq!(refund().await.unwrap(), b"second");
}

#[tokio::test]
async fn a_refusal_by_http_status_is_not_repeated() {
    for status in [400, 403, 404, 429] {
        let (refused, backup) = loop {
            let main = Server::start(move |_| Answer::Bytes(http(status, "no")));
            let (client, backup) = to_main_first(&main);
            if let Some(refused) = unless_slow(post(&client)).await {
                break (refused, backup);
            }
        };
        assert_eq!(refused, Err(TransportError::Status { status }));
        assert!(backup.received().is_empty());
    }
}

#[tokio::test]
async fn a_backup_that_is_the_main_host_is_not_asked_twice() {
    let main = Server::start(|_| Answer::Bytes(http(500, "")));
    let client = client(&main.url, &format!("{}/", main.url));
    assert_eq!(post(&client).await, Err(TransportError::Status { status: 500 }));
    assert_eq!(main.received().len(), 1);
}

#[tokio::test]
async fn the_error_that_leaves_more_open_wins() {
    let hanging = Server::start(|_| Answer::Hang);
    let error = post(&short_timeout(&hanging.url, &unreachable())).await.unwrap_err();
    assert!(matches!(error, TransportError::NoAnswer { .. }), "{error}");
    // A status that refuses the message says nothing of the host that may have taken it.
    let refusing = Server::start(|_| Answer::Bytes(http(400, "no")));
    let error = post(&short_timeout(&hanging.url, &refusing.url)).await.unwrap_err();
    assert!(matches!(error, TransportError::NoAnswer { .. }), "{error}");
    let error = post(&client(&unreachable(), &refusing.url)).await.unwrap_err();
    assert_eq!(error, TransportError::Status { status: 400 });
    let error = post(&client(&unreachable(), &unreachable())).await.unwrap_err();
    assert!(matches!(error, TransportError::NotSent { .. }), "{error}");
}

#[tokio::test]
async fn a_reply_without_end_is_given_up_at_the_cap() {
    let at_cap = Server::saying("x".repeat(MAX_REPLY_BYTES));
    assert_eq!(post(&client(&at_cap.url, &at_cap.url)).await.unwrap().len(), MAX_REPLY_BYTES);
    let over = Server::saying("x".repeat(MAX_REPLY_BYTES + 1));
    let (refused, backup) = loop {
        let (client, backup) = to_main_first(&over);
        if let Some(refused) = unless_slow(post(&client)).await {
            break (refused, backup);
        }
    };
    assert_eq!(refused, Err(TransportError::TooLarge));
    assert!(backup.received().is_empty());
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Server::saying("stolen");
    let location = elsewhere.url.clone();
    let main = Server::start(move |_| {
        Answer::Bytes(format!("HTTP/1.1 307 X\r\nlocation: {location}/\r\ncontent-length: 0\r\n\r\n").into_bytes())
    });
    assert_eq!(post(&client(&main.url, &main.url)).await, Err(TransportError::Status { status: 307 }));
    assert!(elsewhere.received().is_empty());
}

#[test]
fn an_address_with_a_query_or_a_password_or_another_scheme_makes_no_client() {
    for bad in ["", "api.mch.weixin.qq.com", "ftp://x", "https://x/?a=1", "https://x/#a", "https://u:p@x/"] {
        let error = Client::new(&wechat(bad, "https://backup.example.com")).unwrap_err();
        assert!(matches!(error, ClientError::Address { key: "pay_url" }), "{bad}: {error}");
        let error = Client::new(&wechat("https://main.example.com", bad)).unwrap_err();
        assert!(matches!(error, ClientError::Address { key: "pay_backup_url" }), "{bad}: {error}");
        assert!(!error.to_string().contains("u:p"), "an error does not repeat a password");
    }
}

#[test]
fn every_request_is_measured_with_its_api_and_outcome() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let backup = Server::saying("second");
    let client = client(&unreachable(), &backup.url);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || runtime.block_on(post(&client))).unwrap();
    let text = handle.render();
    for outcome in ["not_sent", "answered"] {
        let line = format!("wxpay_wechat_request_seconds_count{{api=\"orderquery\",outcome=\"{outcome}\"}} 1");
        assert!(text.contains(&line), "{line} in {text}");
    }
}
