//! Many orders at once: every notification lost for good, or every second answer lost after WeChat acted on it.
//!
//! Small: a hundred and fifty orders, which shows that each is found and announced once. Long: a thousand, which shows
//! that the budget of questions holds when more are due than it allows.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::audit::{self, Orders};
use super::until;
use crate::harness::service::{MCH_ID, Processes, TestService, jsapi};
use crate::harness::size;

const AT_ONCE: usize = 32;
/// What the configuration allows by default.
const QUERIES_PER_SECOND: usize = 300;

fn orders() -> Orders {
    (0..size(150, 1000)).map(|n| (format!("T{n:06}"), 100 + i64::from(n))).collect()
}

async fn place_all(rig: &Processes, base: &str, orders: &Orders) {
    let placing = stream::iter(orders).map(|(order_no, amount_fen)| async move {
        until(&format!("pay parameters of {order_no}"), || async {
            let (status, answer) = rig.try_post(base, "/v1/orders", &jsapi(order_no, *amount_fen)).await.ok()?;
            assert!([200, 202, 503].contains(&status), "{status} {answer}");
            (status == 200).then_some(())
        })
        .await;
    });
    placing.buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
}

async fn until_paid(rig: &Processes) {
    let db = rig.open_db().await;
    until("every order paid", || async {
        (rig.number(&db, "SELECT COUNT(*) FROM orders WHERE state <> 'paid'").await == 0).then_some(())
    })
    .await;
}

/// Every call of an API that reached the simulator, in milliseconds since the epoch.
async fn arrivals(rig: &Processes, api: &str) -> Vec<i64> {
    let (_, seen) = rig.get(&rig.wechat_url, &format!("/_sandbox/requests?mch_id={MCH_ID}")).await;
    let of_api = seen["requests"].as_array().unwrap().iter().filter(|r| r["api"] == api);
    let each = of_api.flat_map(|r| r["each"].as_array().unwrap().iter());
    let at =
        |call: &Value| wxpay_worker::clock::Timestamp::parse_rfc3339(call["at"].as_str().unwrap()).unwrap().as_ms();
    each.map(at).collect()
}

#[allow(clippy::print_stderr, reason = "the figures are part of the output")]
async fn all_notifications_are_lost(rig: Processes) {
    let service = rig.run_all().await;
    rig.faults(json!([{"on": "notify", "kind": "drop", "times": null}])).await;
    let orders = orders();
    let count = i64::try_from(orders.len()).unwrap();
    place_all(&rig, &service.base, &orders).await;
    let paying = stream::iter(orders.keys()).map(|order_no| rig.pay(order_no));
    paying.buffer_unordered(AT_ONCE).collect::<Vec<Value>>().await;
    until_paid(&rig).await;
    rig.until_drained().await;
    audit::all_paid_once(&rig, &service.base, &orders).await;
    let db = rig.open_db().await;
    let lag = "SELECT COUNT(*) FROM evidence e JOIN orders o ON o.id = e.order_id
               WHERE e.source = 'query' AND e.fact LIKE '%\"paid\"%' AND e.recorded_at_ms - o.paid_at_ms <= 36000";
    let prompt = rig.number(&db, lag).await;
    assert!(prompt > count / 2, "only {prompt} of {count} within 35 s of their payment, announced to the second");
    // The budget is per second of the scheduler's own clock; two of its seconds may lie in one of ours.
    let mut seconds: BTreeMap<i64, usize> = BTreeMap::new();
    for at in arrivals(&rig, "orderquery").await {
        *seconds.entry(at / 1000).or_default() += 1;
    }
    let most = seconds.values().max().copied().unwrap_or_default();
    assert!(most <= 2 * QUERIES_PER_SECOND, "{most} questions in one second");
    let window = |from: i64| seconds.range(from..from + 10).map(|(_, n)| n).sum::<usize>();
    let busiest = seconds.keys().map(|from| window(*from)).max().unwrap_or_default();
    assert!(busiest <= 11 * QUERIES_PER_SECOND, "{busiest} questions in ten seconds");
    let total: usize = seconds.values().sum();
    eprintln!("{prompt} of {count} within 35 s; {total} questions, at most {most} in a second, {busiest} in ten");
    assert!(total <= orders.len() * 3, "{total} questions for {count} orders");
    rig.finish().await;
}

async fn every_second_answer_is_lost(rig: Processes) {
    let service = rig.run_all().await;
    rig.faults(json!([{"on": "unifiedorder", "kind": "answer_lost", "times": null, "probability_percent": 50}])).await;
    let orders = orders();
    let count = i64::try_from(orders.len()).unwrap();
    place_all(&rig, &service.base, &orders).await;
    let db = rig.open_db().await;
    let attempts = "SELECT COUNT(*) FROM attempts";
    assert_eq!(rig.number(&db, attempts).await, count, "one number each");
    assert_eq!(rig.number(&db, "SELECT COUNT(*) FROM attempts WHERE state <> 'payable'").await, 0);
    let (_, ledger) = rig.get(&rig.wechat_url, &format!("/_sandbox/ledger?mch_id={MCH_ID}")).await;
    assert_eq!(ledger["orders"].as_array().map(Vec::len), Some(orders.len()), "one number each at WeChat");
    let calls = arrivals(&rig, "unifiedorder").await.len();
    assert!(calls > orders.len() * 3 / 2, "{calls} calls: answers were hardly lost");
    let paying = stream::iter(orders.keys()).map(|order_no| rig.pay(order_no));
    paying.buffer_unordered(AT_ONCE).collect::<Vec<Value>>().await;
    until_paid(&rig).await;
    rig.until_drained().await;
    audit::all_paid_once(&rig, &service.base, &orders).await;
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_notifications_are_made_good_by_queries_on_embedded_sqlite() {
    all_notifications_are_lost(TestService::embedded_sqlite().await.processes().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_notifications_are_made_good_by_queries_on_nats_postgres() {
    all_notifications_are_lost(TestService::nats_postgres().await.processes().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_whose_answers_are_lost_have_one_number_each() {
    every_second_answer_is_lost(TestService::nats_postgres().await.processes().await).await;
}

/// Everything in a process that believes to be in New York.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hosts_zone_changes_nothing() {
    let rig = TestService::embedded_sqlite().await.processes().await;
    let service = rig.run_all_with(&[("TZ", "America/New_York")]).await;
    rig.place(&service.base, "Z100001", 100).await;
    let (_, order) = rig.get(&service.base, "/v1/orders/Z100001?merchant=main").await;
    let at_wechat = rig.wechat_ledger("Z100001").await["orders"][0].clone();
    let time = |text: &Value| wxpay_worker::clock::Timestamp::parse_rfc3339(text.as_str().unwrap()).unwrap().as_ms();
    let difference = time(&order["expires_at"]) - time(&at_wechat["expires_at"]);
    assert!(difference.abs() < 1000, "{order} {at_wechat}");
    rig.pay("Z100001").await;
    let paid = rig.until_state(&service.base, "Z100001", "paid").await;
    let now = wxpay_worker::clock::Clock::system().now().as_ms();
    assert!((now - time(&paid["paid_at"])).abs() < Duration::from_secs(60).as_millis() as i64, "{paid}");
    rig.finish().await;
}
