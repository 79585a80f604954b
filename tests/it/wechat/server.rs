//! A server that answers each connection as prepared, down to breaking off in the middle.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::harness::service::free_port;
use crate::harness::within_timeout;

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    pub head: String,
    pub body: String,
}

pub struct Server {
    pub url: String,
    received: Arc<Mutex<Vec<Received>>>,
}

/// What the server does with a request: bytes to write; nothing more is written, and `hang` keeps the connection open.
pub enum Answer {
    Bytes(Vec<u8>),
    Hang,
}

impl Server {
    pub fn start(answer: impl Fn(&Received) -> Answer + Send + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let received = Arc::new(Mutex::new(Vec::new()));
        let log = received.clone();
        thread::spawn(move || {
            let mut hanging = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                // A client that gave up before it had sent its request sent none.
                let Some(request) = read(&mut stream) else { continue };
                log.lock().unwrap().push(request.clone());
                match answer(&request) {
                    Answer::Bytes(bytes) => {
                        // The client may have hung up over what it saw; that is its right.
                        let _ = stream.write_all(&bytes);
                    }
                    Answer::Hang => hanging.push(stream),
                }
            }
        });
        Server { url, received }
    }

    /// A 200 with this body to everyone.
    pub fn saying(body: impl Into<String>) -> Server {
        let body = body.into();
        Server::start(move |_| Answer::Bytes(http(200, &body)))
    }

    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// Awaits so many requests: a client that got no answer may have ended before they were read.
    pub async fn until(&self, count: usize) -> Vec<Received> {
        within_timeout(&format!("{count} requests"), async {
            loop {
                let received = self.received();
                if received.len() >= count {
                    return received;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
    }
}

/// An address where nothing listens.
pub fn unreachable() -> String {
    format!("http://127.0.0.1:{}", free_port())
}

pub fn http(status: u16, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} X\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn read(stream: &mut TcpStream) -> Option<Received> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let length = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
            let length: usize = length.map_or(0, |n| n.parse().unwrap());
            if bytes.len() >= end + 4 + length {
                let body = String::from_utf8(bytes[end + 4..].to_vec()).unwrap();
                return Some(Received { head, body });
            }
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return None,
            Ok(n) => bytes.extend_from_slice(&chunk[..n]),
        }
    }
}
