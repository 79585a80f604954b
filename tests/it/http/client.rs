//! An HTTP client that sends exactly the bytes a test wants and hides nothing of the answer.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::within_timeout;

/// An answer as it came.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn parse(bytes: &[u8]) -> Reply {
        let split = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or_else(|| {
            panic!("no answer but {:?}", String::from_utf8_lossy(bytes));
        });
        let head = String::from_utf8(bytes[..split].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply { status, head, body: bytes[split + 4..].to_vec() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (n, value) = line.split_once(':')?;
            n.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// The `code` of a problem, after checking what every problem has.
    pub fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{problem}");
        assert_eq!(problem["request_id"].as_str(), self.header("x-request-id"), "{problem}");
        let code = problem["code"].as_str().unwrap();
        let slug = code.replace('_', "-");
        assert_eq!(problem["type"], format!("https://wxpay-worker.dev/problems/{slug}"));
        assert_eq!(problem["docs"], format!("/problems/{slug}"));
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
        assert_eq!(problem["retryable"], self.header("retry-after").is_some(), "{problem}");
        code.to_owned()
    }

    /// The pointers, parameters and headers of an `invalid` problem, sorted.
    pub fn invalid(&self) -> Vec<String> {
        assert_eq!((self.status, self.problem().as_str()), (400, "invalid"), "{}", self.text());
        let problem = self.json();
        let place =
            |e: &Value| ["pointer", "parameter", "header"].iter().find_map(|k| e[k].as_str().map(str::to_owned));
        let mut places: Vec<String> = problem["errors"].as_array().unwrap().iter().map(|e| place(e).unwrap()).collect();
        places.sort();
        places
    }
}

/// Sends bytes, keeps the sending side open, and reads until the server closes.
pub async fn raw(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).await.unwrap();
    // The server may close before it has read everything: that is an answer too.
    let _ = socket.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = within_timeout("the end of an answer", socket.read_to_end(&mut answer)).await;
    answer
}

/// What `/readyz` answers where every check has its answer: one that takes longer than a second counts as failed there,
/// which on a busy machine says nothing.
pub async fn readiness(address: SocketAddr, headers: &[(&str, &str)]) -> Reply {
    readiness_that(address, headers, |_| true).await
}

/// The same, once it is ready.
pub async fn until_ready(address: SocketAddr, headers: &[(&str, &str)]) -> Reply {
    readiness_that(address, headers, |reply| reply.status == 200).await
}

async fn readiness_that(address: SocketAddr, headers: &[(&str, &str)], is: impl Fn(&Reply) -> bool) -> Reply {
    within_timeout("an answer of every check", async {
        loop {
            let reply = send(address, "GET", "/readyz", headers, b"").await;
            let text = reply.text();
            let is_late = text.contains("does not answer in time") || text.contains("the database does not say");
            if !is_late && is(&reply) {
                return reply;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

/// One request on a connection of its own.
pub async fn send(address: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let mut request = format!("{method} {target} HTTP/1.1\r\nHost: pay.example.com\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        request.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    request.push_str("\r\n");
    let mut bytes = request.into_bytes();
    bytes.extend_from_slice(body);
    Reply::parse(&raw(address, &bytes).await)
}
