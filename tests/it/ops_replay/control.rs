//! Pause, resume, cancel; what is refused, and who sees a replay.

use std::time::Duration;

use serde_json::{Value, json};
use wxpay_worker::secret::sha256_hex;

use super::{REPLAYS, act, park, path, plan, planned, until_done};
use crate::flows::notifications::{SIGNED_BY_THE_TEST, signed};
use crate::harness::requests::answer;
use crate::harness::service::{InProcess, KEY, TestService};
use crate::harness::within_timeout;

/// Dead letters that only take a second each: on a busy machine a request may come seconds late.
const COPIES: usize = 8;

/// Parts of so many orders, each with a dead letter that settles it, and so many copies of the last one.
async fn with_dead_letters(service: &InProcess, parts: &[(usize, usize)]) {
    service.leave_books_open(SIGNED_BY_THE_TEST);
    let all: usize = parts.iter().map(|(orders, copies)| orders + copies).sum();
    service.expect_dead_letters(&vec!["exhausted"; all]);
    let mut n = 0;
    for (orders, copies) in parts {
        let mut last = String::new();
        for _ in 0..*orders {
            n += 1;
            let (number, transaction) = (format!("C10000{n}"), format!("420000000000000000000000000{n}"));
            service.place(&number).await;
            let time_end = service.clock.now().to_beijing();
            let fields = [("out_trade_no", number.as_str()), ("transaction_id", &transaction), ("time_end", &time_end)];
            last = signed(&fields, KEY);
            park(service, &last, "exhausted").await;
        }
        for _ in 0..*copies {
            park(service, &last, "exhausted").await;
        }
    }
}

/// As `until`, of items that take a second of the host's time each: the clock of the service stands still.
async fn until_by_the_host(service: &InProcess, plan: &Value, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    within_timeout(what, async {
        loop {
            let (status, replay) = service.get(&path(plan)).await;
            assert_eq!(status, 200, "{replay}");
            if is(&replay) {
                return replay;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
}

/// How many items of a replay are done.
async fn done_of(service: &InProcess, plan: &Value) -> i64 {
    service.get(&path(plan)).await.1["done"].as_i64().unwrap()
}

/// A selection of the dead letters of these places, from 1.
async fn at(service: &InProcess, places: std::ops::RangeInclusive<i64>) -> Value {
    let first = service.number("SELECT MIN(id) FROM dead_letters").await;
    let ids: Vec<i64> = places.map(|place| first + place - 1).collect();
    json!({"kind": "dead_letter", "ids": ids})
}

/// Another replay's end shows that the workers leave this one alone.
async fn a_paused_replay_waits_and_a_cancelled_one_ends(service: InProcess) {
    with_dead_letters(&service, &[(4, COPIES), (1, 0), (3, COPIES), (1, 0)]).await;
    let slow = plan(&service, &at(&service, 1..=12).await, 1).await;
    act(&service, &slow, "start").await;
    until_by_the_host(&service, &slow, "the first item", |replay| replay["done"].as_i64() >= Some(1)).await;
    let paused = act(&service, &slow, "pause").await;
    assert_eq!(paused["state"], "paused");
    let at_pause = done_of(&service, &slow).await;
    assert_eq!(act(&service, &slow, "pause").await["state"], "paused", "twice is once");
    let other = plan(&service, &at(&service, 13..=13).await, 1).await;
    act(&service, &other, "start").await;
    until_done(&service, &other).await;
    let (_, waits) = service.get(&path(&slow)).await;
    // The item that was under way may end.
    assert!(waits["state"] == "paused" && waits["done"].as_i64() <= Some(at_pause + 1), "{at_pause}: {waits}");
    act(&service, &slow, "resume").await;
    let done = until_by_the_host(&service, &slow, "the end of the replay", |replay| replay["state"] == "done").await;
    assert_eq!(done["results"], json!({"settled": 4, "no_op": COPIES, "failed": {}}));

    let third = plan(&service, &at(&service, 14..=24).await, 1).await;
    act(&service, &third, "start").await;
    until_by_the_host(&service, &third, "the first item", |replay| replay["done"].as_i64() >= Some(1)).await;
    let cancelled = act(&service, &third, "cancel").await;
    assert!(!cancelled["ended_at"].is_null(), "{cancelled}");
    let at_cancel = done_of(&service, &third).await;
    let last = plan(&service, &at(&service, 25..=25).await, 1).await;
    act(&service, &last, "start").await;
    until_done(&service, &last).await;
    let (_, third) = service.get(&path(&third)).await;
    assert!(third["state"] == "cancelled" && third["done"].as_i64() <= Some(at_cancel + 1), "{at_cancel}: {third}");
    let left = service.number("SELECT COUNT(*) FROM dead_letters WHERE state = 'parked'").await;
    assert_eq!(left, 11 - third["done"].as_i64().unwrap(), "what was not reached stays parked");
    let (status, problem) = service.post(&format!("{}/resume", path(&third)), &json!({})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("replay_state")), "{problem}");
    let audit = "SELECT COUNT(*) FROM audit WHERE subject LIKE 'replay:%' AND action = ";
    for (action, rows) in [("start", 4), ("pause", 1), ("resume", 2), ("cancel", 1)] {
        assert_eq!(service.number(&format!("{audit}'replay.{action}'")).await, rows, "{action}");
    }
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_replay_waits_and_a_cancelled_one_ends_on_sqlite() {
    a_paused_replay_waits_and_a_cancelled_one_ends(TestService::embedded_sqlite().await.in_process().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_replay_waits_and_a_cancelled_one_ends_on_postgres() {
    a_paused_replay_waits_and_a_cancelled_one_ends(TestService::embedded_postgres().await.in_process().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_breaks_a_rule_says_which() {
    let service = TestService::embedded_sqlite().await.in_process().await;
    for (body, pointers) in [
        (json!({}), vec!["/select", "/reason"]),
        (planned(&json!({"kind": "refund"}), 1), vec!["/select/kind"]),
        (
            planned(&json!({"kind": "event", "refused": true, "reason_class": "x"}), 1),
            vec!["/select/refused", "/select/reason_class"],
        ),
        (planned(&json!({"kind": "event", "ids": []}), 1), vec!["/select/ids"]),
        (planned(&json!({"kind": "event", "form": "2026-01-01"}), 0), vec!["/rate_per_second", "/select/form"]),
    ] {
        let (status, problem) = service.post(REPLAYS, &body).await;
        assert_eq!((status, &problem["code"]), (400, &json!("invalid")), "{problem}");
        let errors = problem["errors"].as_array().unwrap();
        let mut found: Vec<&str> = errors.iter().map(|error| error["pointer"].as_str().unwrap()).collect();
        let mut pointers = pointers;
        found.sort_unstable();
        pointers.sort_unstable();
        assert_eq!(found, pointers, "{problem}");
    }
    assert_eq!(service.get(&format!("{REPLAYS}/none")).await.0, 404);
    assert_eq!(service.number("SELECT COUNT(*) FROM replays").await, 0);
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_sees_the_replays_of_its_merchants_alone() {
    const NARROW: &str = "narrow-ops-key";
    let key = format!(
        "[[api_keys]]\nname = \"narrow\"\nhash = \"sha256:{}\"\nscopes = [\"ops\"]\nmerchants = [\"second\"]\n",
        sha256_hex(NARROW.as_bytes())
    );
    let second = crate::harness::service::SECOND_MERCHANT;
    let service = TestService::embedded_sqlite().await.second_account().config(second).config(&key).in_process().await;
    with_dead_letters(&service, &[(1, 0)]).await;
    let select = json!({"kind": "dead_letter"});
    let all = plan(&service, &select, 1).await;
    assert_eq!(all["total"], 1);
    let narrow = async |method: reqwest::Method, path: &str, body: &Value| {
        let request = service.http.request(method, format!("{}{path}", service.base)).bearer_auth(NARROW);
        answer(request.header("content-type", "application/json").body(body.to_string())).await.unwrap()
    };
    let (status, own) = narrow(reqwest::Method::POST, REPLAYS, &planned(&select, 1)).await;
    assert_eq!((status, &own["total"]), (201, &json!(0)), "{own}");
    let of_main = json!({"kind": "dead_letter", "merchant": "main"});
    assert_eq!(narrow(reqwest::Method::POST, REPLAYS, &planned(&of_main, 1)).await.0, 404);
    for action in ["start", "pause", "resume", "cancel"] {
        let path = format!("{}/{action}", path(&all));
        assert_eq!(narrow(reqwest::Method::POST, &path, &json!({})).await.0, 404, "{action}");
    }
    for path in [path(&all), format!("{}/items", path(&all))] {
        assert_eq!(narrow(reqwest::Method::GET, &path, &json!({})).await.0, 404, "{path}");
    }
    assert_eq!(service.number("SELECT COUNT(*) FROM replays WHERE state <> 'planned'").await, 0);
    service.finish().await;
}
