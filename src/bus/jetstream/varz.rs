//! Asks a NATS server's monitoring address how it syncs.

use std::time::Duration;

use serde::Deserialize;

use crate::bus::types::Sync;

const TIMEOUT: Duration = Duration::from_secs(3);

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
    let has_port = authority.rsplit(']').next().is_some_and(|end| end.contains(':'));
    let port = if has_port { "" } else { ":8222" };
    let answer = get(&format!("http://{authority}{port}/varz")).await.map_err(|e| cause(&e))?;
    if answer.status() != reqwest::StatusCode::OK {
        return Err(format!("status {}", answer.status().as_u16()));
    }
    let answer = answer.bytes().await.map_err(|e| cause(&e))?;
    let answer: Answer = serde_json::from_slice(&answer).map_err(|e| e.to_string())?;
    let sync = match answer.jetstream.config {
        Some(Settings { sync_always: true, .. }) => Sync::Always,
        Some(Settings { sync_interval: Some(nanos), .. }) => Sync::Every(Duration::from_nanos(nanos)),
        Some(_) | None => Sync::Unknown,
    };
    Ok(Varz { server_id: answer.server_id, version: answer.version, sync })
}

async fn get(url: &str) -> Result<reqwest::Response, reqwest::Error> {
    // The address is http://: loading the machine's certificate authorities for each request would be for nothing.
    let rules = reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(TIMEOUT);
    rules.redirect(reqwest::redirect::Policy::none()).build()?.get(url).send().await
}

/// The innermost error: the outer ones repeat the address.
fn cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), cause)
}
