//! Asks a NATS server's monitoring address how it syncs. One small GET of our own: the program's HTTP client is for
//! WeChat alone, and follows rules (proxies, redirects, TLS) that have no place on a monitoring port.

use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bus::types::Sync;

const TIMEOUT: Duration = Duration::from_secs(3);
/// Far above what a server answers.
const MAX_ANSWER: u64 = 1 << 20;

/// What a server says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Varz {
    pub server_id: String,
    pub version: String,
    pub sync: Sync,
}

#[derive(Deserialize)]
struct Answer {
    server_id: String,
    version: String,
    #[serde(default)]
    jetstream: JetStream,
}

#[derive(Deserialize, Default)]
struct JetStream {
    config: Option<Settings>,
}

#[derive(Deserialize)]
struct Settings {
    #[serde(default)]
    sync_always: bool,
    /// Nanoseconds.
    sync_interval: Option<u64>,
}

/// Reads `/varz` at `http://host[:port]`.
pub(super) async fn fetch(url: &str) -> Result<Varz, String> {
    let authority = url.strip_prefix("http://").ok_or("not an http:// address")?.trim_end_matches('/');
    let address = if authority.rsplit(']').next().is_some_and(|end| end.contains(':')) {
        authority.to_owned()
    } else {
        format!("{authority}:8222")
    };
    let answer = tokio::time::timeout(TIMEOUT, get(&address)).await.map_err(|_| "no answer in time")??;
    parse(&answer)
}

async fn get(address: &str) -> Result<Vec<u8>, String> {
    let mut stream = TcpStream::connect(address).await.map_err(|e| e.to_string())?;
    // HTTP/1.0: the answer ends with the connection and is never chunked.
    let request = format!("GET /varz HTTP/1.0\r\nHost: {address}\r\nAccept: application/json\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|e| e.to_string())?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await.map_err(|e| e.to_string())?;
    Ok(answer)
}

fn parse(answer: &[u8]) -> Result<Varz, String> {
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").ok_or("not an HTTP answer")?;
    let (head, body) = answer.split_at(end + 4);
    let status = head.split(|b| *b == b' ').nth(1).unwrap_or_default();
    if status != b"200" {
        return Err(format!("status {}", String::from_utf8_lossy(status).escape_default()));
    }
    let answer: Answer = serde_json::from_slice(body).map_err(|e| e.to_string())?;
    let sync = match answer.jetstream.config {
        Some(Settings { sync_always: true, .. }) => Sync::Always,
        Some(Settings { sync_interval: Some(nanos), .. }) => Sync::Every(Duration::from_nanos(nanos)),
        Some(_) | None => Sync::Unknown,
    };
    Ok(Varz { server_id: answer.server_id, version: answer.version, sync })
}
