//! `/_sandbox/platform/…`: what only WeChat's operators could do, and what tests want to know.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::wire::{Answer, Problem, Read};
use crate::sandbox::platform::api::Api;
use crate::sandbox::platform::quota::Limit;
use crate::sandbox::platform::token_store::Kind;
use crate::sandbox::state::SandboxState;

pub(in crate::sandbox) fn router() -> Router<Arc<SandboxState>> {
    Router::new()
        .route("/_sandbox/platform/calls", get(calls).delete(forget_calls))
        .route("/_sandbox/platform/kill_tokens", post(kill_tokens))
        .route("/_sandbox/platform/check", post(check))
        .route("/_sandbox/platform/whitelist", post(whitelist))
        .route("/_sandbox/platform/quota", post(quota))
}

fn unknown_app() -> Problem {
    Problem::not_found("no such app")
}

async fn calls(State(sandbox): State<Arc<SandboxState>>) -> Json<Value> {
    Json(sandbox.platform().calls.view())
}

async fn forget_calls(State(sandbox): State<Arc<SandboxState>>) -> Json<Value> {
    let mut platform = sandbox.platform();
    platform.calls.clear();
    Json(platform.calls.view())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kill {
    appid: String,
    /// The access_tokens; true by default.
    #[serde(default = "yes")]
    tokens: bool,
    #[serde(default)]
    tickets: bool,
    /// WeChat goes on giving out the values that it refuses from here on.
    #[serde(default)]
    still_current: bool,
}

fn yes() -> bool {
    true
}

async fn kill_tokens(State(sandbox): State<Arc<SandboxState>>, Read(kill): Read<Kill>) -> Answer {
    let mut platform = sandbox.platform();
    platform.app(&kill.appid).map_err(|_| unknown_app())?;
    let mut kinds = Vec::new();
    if kill.tokens {
        kinds.extend([Kind::Classic, Kind::Stable]);
    }
    if kill.tickets {
        kinds.push(Kind::Ticket);
    }
    let killed = platform.token_store.kill(&kill.appid, &kinds, sandbox.now(), kill.still_current);
    Ok(Json(json!({"killed": killed})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Check {
    /// An access_token or a jsapi_ticket.
    value: String,
}

/// Whether a token or ticket works, without using it.
async fn check(State(sandbox): State<Arc<SandboxState>>, Read(check): Read<Check>) -> Answer {
    let (platform, now) = (sandbox.platform(), sandbox.now());
    let seen = match platform.token_store.known(&check.value, now) {
        Some(known) => json!({"appid": known.appid, "alive": known.alive, "expires_at": known.expires_at}),
        None => json!({"appid": null, "alive": false, "expires_at": null}),
    };
    Ok(Json(seen))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whitelist {
    appid: String,
    /// Null: from everywhere.
    ips: Option<Vec<IpAddr>>,
}

async fn whitelist(
    State(sandbox): State<Arc<SandboxState>>,
    Read(Whitelist { appid, ips }): Read<Whitelist>,
) -> Answer {
    let mut platform = sandbox.platform();
    let app = platform.app(&appid).map_err(|_| unknown_app())?;
    app.whitelist = ips.clone().map(|ips| ips.into_iter().map(|ip| ip.to_canonical()).collect());
    Ok(Json(json!({"appid": appid, "ips": ips})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Quota {
    api: Api,
    per_day: Option<u64>,
    per_minute: Option<u64>,
}

/// Other limits than the published ones: a test account has 200 tokens a day.
async fn quota(
    State(sandbox): State<Arc<SandboxState>>,
    Read(Quota { api, per_day, per_minute }): Read<Quota>,
) -> Answer {
    sandbox.platform().limits.insert(api, Limit { per_day, per_minute });
    Ok(Json(json!({"api": api, "per_day": per_day, "per_minute": per_minute})))
}
