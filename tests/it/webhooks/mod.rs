//! Webhooks: real receivers on this host, real time for connections, the test's clock for retries.

mod addresses;
mod console;
mod ctl;
mod delivery;
mod endpoints;
mod failures;
mod killed_receivers;
mod messages;
mod packages;
mod processes;
pub mod receiver;
mod replays;
mod signing;
mod wecom;

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::service::{InProcess, TestService};
use crate::harness::within_timeout;

const WEBHOOKS: &str = "/v1/webhooks";

/// All deliveries, for [`give_up`].
const ALL: &str = "1 = 1";

/// What opens this host to webhooks, and keeps their secrets. No attempt ends for a busy machine's sake.
const CONFIG: &str = "[webhooks]\nkey = \"0123456789abcdefghijklmnopqrstuv\"\nallow_http = true\n\
                      allow_networks = [\"127.0.0.0/8\"]\ntimeout_ms = 60000\n";

fn service() -> TestService {
    TestService::new().config(CONFIG)
}

/// Makes an endpoint for these events; all where there are none.
async fn endpoint(service: &InProcess, url: &str, events: &[&str]) -> Value {
    let (status, made) = service.post(WEBHOOKS, &json!({"url": url, "events": events})).await;
    assert_eq!(status, 201, "{made}");
    made
}

fn path(endpoint: &Value) -> String {
    format!("{WEBHOOKS}/{}", endpoint["id"].as_str().unwrap())
}

async fn get(service: &InProcess, endpoint: &Value) -> Value {
    let (status, found) = service.get(&path(endpoint)).await;
    assert_eq!(status, 200, "{found}");
    found
}

/// The rows of `deliveries` or `attempts`, newest first.
async fn rows(service: &InProcess, endpoint: &Value, what: &str) -> Vec<Value> {
    let (status, page) = service.get(&format!("{}/{what}", path(endpoint))).await;
    assert_eq!(status, 200, "{page}");
    page[what.split('?').next().unwrap()].as_array().unwrap().clone()
}

/// Awaits that the endpoint is as wanted.
async fn until(service: &InProcess, endpoint: &Value, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let is = &is;
    service.found(what, || async move { Some(get(service, endpoint).await).filter(|found| is(found)) }).await
}

/// As [`until`] while the clock stands: a later moment would bring the next message.
async fn until_at_once(service: &InProcess, endpoint: &Value, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    within_timeout(what, async {
        loop {
            let found = get(service, endpoint).await;
            if is(&found) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

/// Awaits this number from the database while the clock stands.
async fn until_number_at_once(service: &InProcess, what: &str, sql: &str, expected: i64) {
    within_timeout(what, async {
        while service.number(sql).await != expected {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// Gives up these deliveries, as after a day of failures: each once what is on its way was answered, or its claim would
/// be left.
async fn give_up(service: &InProcess, only: &str, last_error: &str) {
    // Of now: retention would remove what ended long ago.
    let now = service.clock.now().as_ms();
    let ended = format!("state = 'failed', ended_at_ms = {now}, last_error = '{last_error}'");
    let of_these = format!("state <> 'failed' AND {only}");
    let give_up = format!("UPDATE webhook_deliveries SET {ended} WHERE claim IS NULL AND {of_these}");
    let left = format!("SELECT COUNT(*) FROM webhook_deliveries WHERE {of_these}");
    within_timeout("the end of these deliveries", async {
        while service.number(&left).await > 0 {
            service.run_sql(&give_up).await;
        }
    })
    .await;
}

/// Awaits so many attempts of these outcomes at an endpoint.
async fn until_attempts(service: &InProcess, endpoint: &Value, count: usize, outcome: &str) -> Vec<Value> {
    let poll = || async move {
        let attempts = rows(service, endpoint, "attempts").await;
        let of_outcome = attempts.iter().filter(|attempt| attempt["outcome"] == outcome).count();
        (of_outcome >= count).then_some(attempts)
    };
    service.found(&format!("{count} attempts: {outcome}"), poll).await
}
