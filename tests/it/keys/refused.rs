//! Rate limits, and the bounds of what refused keys leave in the audit.

use futures_util::future::join_all;
use serde_json::json;

use super::support::{ADMIN, entry, with_admin};
use crate::harness::service::{InProcess, TestService};
use crate::harness::within_timeout;

const ROWS: &str = "SELECT COUNT(*) FROM audit WHERE action = 'api_key.refuse'";
/// Rows of an hour and reason.
const PER_HOUR: i64 = 60;

impl InProcess {
    /// A request from an address behind the proxy.
    async fn from(&self, address: &str, key: &str, path: &str) -> u16 {
        let request = self.http.get(format!("{}{path}", self.base)).bearer_auth(key);
        request.header("x-forwarded-for", address).send().await.unwrap().status().as_u16()
    }
}

async fn behind_a_proxy(more: &str) -> InProcess {
    let service = TestService::new().config("[server]\ntrusted_proxies = [\"127.0.0.0/8\"]").config(more);
    with_admin(service).in_process().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_beyond_its_rate_limit_is_answered_429_and_others_go_on() {
    let slow = entry("slow", "name = \"slow\"\nscopes = [\"orders\"]\nrate_limit_per_second = 2");
    let service = behind_a_proxy(&slow).await;
    let (mut served, mut refused) = (0, 0);
    // A second is of the host's time: on a busy machine twelve requests may come in several of them.
    within_timeout("a request beyond the limit", async {
        while refused == 0 {
            let get = || service.http.get(format!("{}/v1/orders", service.base)).bearer_auth("slow").send();
            for answer in join_all((0..12).map(|_| get())).await {
                let answer = answer.unwrap();
                if answer.status() == 200 {
                    served += 1;
                    continue;
                }
                assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (429, &"1".parse().unwrap()));
                let problem: serde_json::Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
                let said = (&problem["code"], &problem["retryable"]);
                assert_eq!(said, (&json!("rate_limited"), &json!(true)), "{problem}");
                refused += 1;
            }
        }
    })
    .await;
    assert!(served >= 2 && refused >= 1, "{served} {refused}");
    for _ in 0..12 {
        assert_eq!(service.get("/v1/orders").await.0, 200);
    }
    service
        .found("served again", || async { (service.get_by("slow", "/v1/orders").await.0 == 200).then_some(()) })
        .await;
    assert_eq!(service.number(ROWS).await, 0, "no refusal of the key itself");
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_keys_leave_a_row_per_network_and_a_bounded_number_an_hour() {
    let service = behind_a_proxy("").await;
    // All of one customer's network.
    for n in 1..6 {
        service.skip(2);
        assert_eq!(service.from(&format!("2001:db8:0:1::{n}"), "unknown", "/v1/orders").await, 401);
    }
    service.until_number("a row", ROWS, |n| n == 1).await;
    for n in 1..100 {
        service.skip(2);
        service.from(&format!("203.0.113.{n}"), "unknown", "/v1/orders").await;
    }
    service.until_number("the rows of an hour", ROWS, |n| n >= PER_HOUR).await;
    // A key without the scope is not hidden by them.
    assert_eq!(service.from("203.0.113.1", ADMIN, "/v1/events").await, 403);
    let sql = format!("{ROWS} AND result = 'forbidden' AND actor = 'admin'");
    service.until_number("a row of its own", &sql, |n| n == 1).await;
    assert_eq!(service.number(ROWS).await, PER_HOUR + 1);
    service.skip(3600);
    service.from("203.0.113.1", "unknown", "/v1/orders").await;
    service.until_number("a row of the next hour", ROWS, |n| n == PER_HOUR + 2).await;
    service.finish().await;
}
