//! Following one order.

mod limits;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use wxpay_worker::ids::OrderNo;
use wxpay_worker::secret::sha256_hex;

use super::stage::{KEY, Stage, main, order, with};
use crate::harness::sql::texts;
use crate::harness::within_timeout;

struct Stream {
    lines: Lines<BufReader<OwnedReadHalf>>,
    writer: OwnedWriteHalf,
}

impl Stream {
    async fn open(stage: &Stage, token: &str, more: &str) -> Stream {
        Stream::of(stage, "A100001", token, more).await
    }

    async fn of(stage: &Stage, order_no: &str, token: &str, more: &str) -> Stream {
        let (reader, mut writer) = TcpStream::connect(stage.address).await.unwrap().into_split();
        let head = format!(
            "GET /v1/orders/{order_no}/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{more}\r\n"
        );
        writer.write_all(head.as_bytes()).await.unwrap();
        Stream { lines: BufReader::new(reader).lines(), writer }
    }

    /// The next answer's status.
    async fn status(&mut self) -> String {
        loop {
            let line =
                within_timeout("a status line", self.lines.next_line()).await.unwrap().expect("the connection ended");
            if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
                return rest.split(' ').next().unwrap().to_owned();
            }
        }
    }

    /// What fields come until the stream ends.
    async fn rest(&mut self) -> Vec<String> {
        let mut fields = Vec::new();
        loop {
            let line = within_timeout("a line of the stream", self.lines.next_line()).await.unwrap();
            match line.as_deref() {
                None | Some("0") => return fields,
                Some(line) if line.contains(": ") => fields.push(line.to_owned()),
                Some(_) => {}
            }
        }
    }

    /// The next event's id and order; nothing when the stream ends.
    async fn next(&mut self) -> Option<(i64, Value)> {
        let mut id = None;
        let mut data = None;
        loop {
            let line = within_timeout("a line of the stream", self.lines.next_line()).await.ok()??;
            if let Some(text) = line.strip_prefix("id: ") {
                id = Some(text.parse().unwrap());
            } else if let Some(text) = line.strip_prefix("data: ") {
                data = Some(serde_json::from_str(text).unwrap());
            } else if line == "0" {
                return None;
            }
            if let (Some(id), Some(data)) = (id, &data) {
                return Some((id, Value::clone(data)));
            }
        }
    }
}

#[tokio::test]
async fn a_stream_tells_each_state_and_ends_with_the_last() {
    let stage = Stage::worked().await;
    let placed = stage.place(&order("A100001"), &[]).await.json();
    let token = placed["order_token"].as_str().unwrap();
    let mut stream = Stream::open(&stage, token, "").await;
    let (first, payable) = stream.next().await.unwrap();
    assert_eq!(payable["state"], "payable");
    assert!(payable.get("pay_params").is_none() && payable.get("order_token").is_none(), "{payable}");
    stage.pay("A100001").await;
    let (second, paid) = stream.next().await.unwrap();
    assert_eq!((&paid["state"], second > first), (&"paid".into(), true));
    assert!(stream.next().await.is_none());
    stage.finish().await;
}

#[tokio::test]
async fn a_client_that_reconnects_is_not_sent_again_what_it_saw() {
    let stage = Stage::worked().await;
    stage.place(&order("A100001"), &[]).await;
    let version = stage.stored("A100001").await.unwrap().order.version;
    let mut stream = Stream::open(&stage, KEY, &format!("Last-Event-ID: {version}\r\n")).await;
    // Asked about in vain: no news either.
    let id = stage.stored("A100001").await.unwrap().order.id;
    stage.store.query_answered(id, stage.clock.now()).await.unwrap();
    stage.pay("A100001").await;
    assert_eq!(stream.next().await.unwrap().1["state"], "paid");
    let last = stage.stored("A100001").await.unwrap().order.version.to_string();
    let authorization = format!("Bearer {KEY}");
    let headers = [("Authorization", authorization.as_str()), ("Last-Event-ID", last.as_str())];
    assert_eq!(stage.send("GET", "/v1/orders/A100001/stream", &headers, b"").await.status, 204);
    stage.finish().await;
}

#[tokio::test]
async fn a_stream_opens_only_with_a_key_or_the_orders_own_token() {
    let stage = Stage::worked().await;
    stage.place(&order("A100001"), &[]).await;
    let other = stage.place(&order("A100002"), &[]).await.json();
    let foreign = format!("Bearer {}", other["order_token"].as_str().unwrap());
    for authorization in ["", "Bearer x", foreign.as_str()] {
        let headers = [("Authorization", authorization)];
        let reply = stage.send("GET", "/v1/orders/A100001/stream", &headers, b"").await;
        assert_eq!((reply.status, reply.problem().as_str()), (401, "unauthorized"), "{authorization}");
    }
    // Whether an order exists is not disclosed to strangers.
    let none = stage.send("GET", "/v1/orders/NONE01/stream", &[("Authorization", foreign.as_str())], b"").await;
    assert_eq!(none.problem(), "unauthorized");
    assert_eq!(stage.get("/v1/orders/NONE01/stream").await.problem(), "not_found");
    // And the token opens nothing else.
    let reply = stage.send("GET", "/v1/orders/A100002", &[("Authorization", foreign.as_str())], b"").await;
    assert_eq!(reply.problem(), "unauthorized");
    stage.finish().await;
}

/// What an `EventSource` opens: it sends no headers of its own.
fn source(order_no: &str, query: &str) -> String {
    format!("/v1/orders/{order_no}/stream?{query}")
}

#[tokio::test]
async fn an_event_source_opens_with_the_token_in_its_address_and_reads_what_a_payer_may_see() {
    let stage = Stage::worked().await;
    let placed = with(order("A100001"), "metadata", json!({"margin_fen": 40}));
    let placed = stage.place(&placed, &[]).await.json();
    assert_eq!(placed["metadata"]["margin_fen"], 40);
    let token = placed["order_token"].as_str().unwrap().to_owned();
    stage.pay("A100001").await;
    let whole = stage.send("GET", &source("A100001", &format!("order_token={token}")), &[], b"").await;
    assert_eq!((whole.status, whole.header("referrer-policy")), (200, Some("no-referrer")), "{whole:?}");
    let text = whole.text();
    assert!(text.contains("\"state\":\"paid\"") && text.contains("\"metadata\":null"), "{text}");
    assert!(!text.contains("margin_fen") && !text.contains(&token), "{text}");
    // By its header it sees no more; the business sees all of it.
    let by_header = |secret: &str| format!("Bearer {secret}");
    for (secret, sees) in [(&*token, false), (KEY, true)] {
        let headers = [("Authorization", &*by_header(secret))];
        let text = stage.send("GET", &source("A100001", ""), &headers, b"").await.text();
        assert_eq!(text.contains("margin_fen"), sees, "{text}");
    }
    // No key is read from an address, and no other order's token.
    let other = stage.place(&order("A100002"), &[]).await.json();
    let foreign = other["order_token"].as_str().unwrap();
    for query in [format!("order_token={KEY}"), format!("order_token={foreign}"), "order_token=".to_owned()] {
        let reply = stage.send("GET", &source("A100001", &query), &[], b"").await;
        assert_eq!((reply.status, reply.problem().as_str()), (401, "unauthorized"), "{query}");
        assert!(!reply.text().contains(foreign) && !reply.text().contains(KEY), "{}", reply.text());
    }
    // It reads: nothing else takes it, and nothing is done with it.
    for (method, path) in [("GET", ""), ("GET", "/pay-params"), ("POST", "/close")] {
        let target = format!("/v1/orders/A100001{path}?order_token={token}");
        let reply = stage.send(method, &target, &[("Content-Type", "application/json")], b"").await;
        assert_eq!(reply.status, 401, "{method} {path}");
        let headers = [("Authorization", &*by_header(KEY)), ("Content-Type", "application/json")];
        let reply = stage.send(method, &target, &headers, b"").await;
        assert_eq!((reply.status, reply.text().contains(&token)), (400, false), "{method} {path}");
    }
    stage.finish().await;
}

#[tokio::test]
async fn an_orders_token_ends_a_day_after_the_order_and_a_keys_does_not() {
    let stage = Stage::worked().await;
    let token = stage.place(&order("A100001"), &[]).await.json()["order_token"].as_str().unwrap().to_owned();
    let open = stage.place(&order("A100002"), &[]).await.json()["order_token"].as_str().unwrap().to_owned();
    stage.pay("A100001").await;
    let by_token = source("A100001", &format!("order_token={token}"));
    stage.clock.advance(Duration::from_secs(24 * 3600 - 1));
    assert_eq!(stage.send("GET", &by_token, &[], b"").await.status, 200);
    stage.clock.advance(Duration::from_secs(2));
    assert_eq!(stage.send("GET", &by_token, &[], b"").await.problem(), "unauthorized");
    let headers = [("Authorization", &*format!("Bearer {token}"))];
    assert_eq!(stage.send("GET", &source("A100001", ""), &headers, b"").await.problem(), "unauthorized");
    assert_eq!(stage.get(&source("A100001", "")).await.status, 200);
    // One that has not ended is followed for as long as it takes.
    let mut stream = Stream::of(&stage, "A100002", &open, "").await;
    assert_eq!(stream.next().await.unwrap().1["state"], "payable");
    stage.finish().await;
}

#[tokio::test]
async fn a_stop_ends_streams() {
    let stage = Stage::worked().await;
    stage.place(&order("A100001"), &[]).await;
    let mut stream = Stream::open(&stage, KEY, "").await;
    stream.next().await.unwrap();
    stage.stop.cancel();
    assert!(stream.next().await.is_none());
    stage.finish().await;
}

#[tokio::test]
async fn a_fifth_stream_of_an_order_ends_its_oldest_and_none_of_others() {
    let stage = Stage::worked().await;
    let placed = stage.place(&order("A100001"), &[]).await.json();
    let token = placed["order_token"].as_str().unwrap();
    stage.place(&order("A100002"), &[]).await;
    let mut by_key = Stream::open(&stage, KEY, "").await;
    let mut other = Stream::of(&stage, "A100002", KEY, "").await;
    for stream in [&mut by_key, &mut other] {
        assert_eq!(stream.next().await.unwrap().1["state"], "payable");
    }
    let mut streams = Vec::new();
    for _ in 0..6 {
        let mut stream = Stream::open(&stage, token, "").await;
        assert_eq!(stream.next().await.unwrap().1["state"], "payable");
        streams.push(stream);
    }
    // The two oldest come back later than usual: living pages must not end each other's streams in a loop.
    let mut oldest: Vec<Stream> = streams.drain(..2).collect();
    for stream in &mut oldest {
        assert_eq!(stream.rest().await, ["retry: 30000"]);
    }
    // Pages of payers end no stream of the business, and none of another order.
    for order_no in ["A100001", "A100002"] {
        stage.pay(order_no).await;
    }
    for stream in streams.iter_mut().chain([&mut by_key, &mut other]) {
        assert_eq!(stream.next().await.unwrap().1["state"], "paid");
        assert!(stream.next().await.is_none());
    }
    stage.finish().await;
}

#[tokio::test]
async fn an_order_that_cannot_be_read_keeps_no_news_from_those_who_wait_for_others() {
    let stage = Stage::worked().await;
    let mut streams = Vec::new();
    for n in 1..=5 {
        let order_no = format!("A10000{n}");
        stage.place(&order(&order_no), &[]).await;
        let mut stream = Stream::of(&stage, &order_no, KEY, "").await;
        stream.next().await.unwrap();
        streams.push(stream);
    }
    // What stands in the row now would be quoted by the error of a JSON library.
    let sql = "UPDATE orders SET content = '\"oUpF8uMuAJO_M2pxb1Q9zNjWeS6o\"' WHERE order_no = 'A100003'";
    stage.execute(sql).await;
    let error = stage.store.order(&main(), &OrderNo::parse("A100003").unwrap()).await.unwrap_err().to_string();
    assert!(error.contains("column content") && !error.contains("oUpF8u"), "{error}");
    for n in [1, 2, 4, 5] {
        stage.pay(&format!("A10000{n}")).await;
        assert_eq!(streams[n - 1].next().await.unwrap().1["state"], "paid", "A10000{n}");
    }
    stage.finish().await;
}

#[tokio::test]
async fn a_request_sent_too_early_is_checked_as_closely_as_any() {
    let stage = Stage::worked().await;
    stage.place(&order("A100001"), &[]).await;
    let mut stream = Stream::open(&stage, KEY, "").await;
    assert_eq!(stream.status().await, "200");
    stream.next().await.unwrap();
    // The answer's head is out: it cannot say any more that the connection will close.
    let smuggled =
        "POST /notify/main/pay HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    stream.writer.write_all(smuggled.as_bytes()).await.unwrap();
    stage.pay("A100001").await;
    assert_eq!(stream.next().await.unwrap().1["state"], "paid");
    assert_eq!(stream.status().await, "400");
    stage.finish().await;
}

#[tokio::test]
async fn a_token_that_is_revoked_opens_nothing_and_what_it_opened_ends() {
    const OPS_KEY: &str = "wxk_ops_of_the_streams_test";
    let hash = sha256_hex(OPS_KEY.as_bytes());
    let key =
        format!("[[api_keys]]\nname = \"ops\"\nhash = \"sha256:{hash}\"\nscopes = [\"ops\"]\nmerchants = \"all\"\n");
    let stage = Stage::with("", &key).await;
    stage.work();
    let placed = stage.place(&order("A100001"), &[]).await.json();
    let other = stage.place(&order("A100002"), &[]).await.json();
    let (token, others) = (placed["order_token"].as_str().unwrap(), other["order_token"].as_str().unwrap());
    let mut by_token = Stream::open(&stage, token, "").await;
    let mut by_key = Stream::open(&stage, KEY, "").await;
    let mut of_other = Stream::of(&stage, "A100002", others, "").await;
    for stream in [&mut by_token, &mut by_key, &mut of_other] {
        assert_eq!(stream.next().await.unwrap().1["state"], "payable");
    }
    // Not without the scope, and not without a reason.
    let path = "/v1/orders/A100001/revoke-token";
    let revoke = async |key: &str, body: &str| {
        let key = format!("Bearer {key}");
        let headers = [("Authorization", key.as_str()), ("Content-Type", "application/json")];
        stage.send("POST", path, &headers, body.as_bytes()).await
    };
    let reason = r#"{"reason": "a screenshot of the page was shared"}"#;
    assert_eq!(revoke(KEY, reason).await.status, 403);
    assert_eq!(revoke(OPS_KEY, "{}").await.status, 400);
    let reply = revoke(OPS_KEY, reason).await;
    assert_eq!((reply.status, &reply.json()["order_no"]), (200, &json!("A100001")), "{reply:?}");
    assert!(by_token.next().await.is_none(), "the stream goes on");
    let bearer = format!("Bearer {token}");
    let again = stage.send("GET", "/v1/orders/A100001/stream", &[("Authorization", bearer.as_str())], b"").await;
    assert_eq!(again.status, 401);
    let by_query = stage.send("GET", &source("A100001", &format!("order_token={token}")), &[], b"").await;
    assert_eq!(by_query.status, 401);
    // The business has another one; neither its own stream nor another order's has ended.
    let new = stage.get("/v1/orders/A100001").await.json()["order_token"].as_str().unwrap().to_owned();
    assert!(new != token && !reply.text().contains(&new), "{reply:?}");
    let mut renewed = Stream::open(&stage, &new, "").await;
    assert_eq!(renewed.next().await.unwrap().1["state"], "payable");
    for order_no in ["A100001", "A100002"] {
        stage.pay(order_no).await;
    }
    for stream in [&mut by_key, &mut of_other, &mut renewed] {
        assert_eq!(stream.next().await.unwrap().1["state"], "paid");
    }
    let audit = "SELECT action || ' ' || merchant || ' ' || order_no || ' ' || reason || ' ' || result FROM audit
                 WHERE action LIKE 'order%'";
    let row = "order.revoke_token main A100001 a screenshot of the page was shared done";
    assert_eq!(texts(stage.store.db(), audit).await, [row]);
    stage.finish().await;
}

#[tokio::test]
async fn a_key_that_counts_no_more_reads_nothing_more_of_what_it_opened() {
    const ENDS_KEY: &str = "wxk_of_the_streams_test_that_ends";
    let hash = sha256_hex(ENDS_KEY.as_bytes());
    let key = format!(
        "[[api_keys]]\nname = \"ends\"\nid = \"ends\"\nscopes = [\"orders\"]\nmerchants = \"all\"\n\
         hashes = [{{ hash = \"sha256:{hash}\", until = \"2026-03-01T02:05:00Z\" }}]\n"
    );
    let stage = Stage::with("", &key).await;
    stage.work();
    stage.place(&order("A100001"), &[]).await;
    let mut of_ending = Stream::open(&stage, ENDS_KEY, "").await;
    let mut of_other = Stream::open(&stage, KEY, "").await;
    for stream in [&mut of_ending, &mut of_other] {
        assert_eq!(stream.next().await.unwrap().1["state"], "payable");
    }
    stage.clock.advance(Duration::from_secs(180));
    stage.pay("A100001").await;
    assert!(of_ending.next().await.is_none(), "it read on");
    assert_eq!(of_other.next().await.unwrap().1["state"], "paid");
    stage.finish().await;
}
