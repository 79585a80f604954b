//! Notifications that were refused because of a wrong key are replayed after its correction by SIGHUP, as an operator
//! does it: as many settle as the plan says, although the processes are killed twice on the way. Small: forty. Long:
//! ten thousand.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::REPLAYS;
use crate::ctl::support::{Ran, run, wxpayctl};
use crate::flows::notifications::{SIGNED_BY_THE_TEST, notify, signed};
use crate::harness::service::{API_KEY, KEY, Process, Processes, TestService};
use crate::harness::sql::texts;
use crate::harness::{TEST_TIMEOUT, size, within_timeout};

const WRONG_KEY: &str = "Xa1Bc2De3Fg4Hi5Jk6Lm7No8Pq9Rs0Tu";
/// Requests under way at once.
const AT_ONCE: usize = 16;
/// Not WeChat's, nor anyone's here.
const FORGERS_KEY: &str = "00000000000000000000000000000000";

fn genuine(n: usize, key: &str) -> String {
    let (number, transaction) = (format!("R{n:06}"), format!("42000000002026113000{n:08}"));
    signed(&[("out_trade_no", &number), ("transaction_id", &transaction)], key)
}

async fn at_once<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    stream::iter(futures).buffer_unordered(AT_ONCE).collect().await
}

/// Awaits that the replay is as wanted, over whichever process answers.
async fn until(service: &Processes, process: &Process, path: &str, is: impl Fn(&Value) -> bool) -> Value {
    let progress = async {
        loop {
            if let Ok((200, replay)) = service.try_get(&process.base, path).await
                && is(&replay)
            {
                return replay;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(size(TEST_TIMEOUT, 15 * TEST_TIMEOUT), progress).await.expect("progress of the replay")
}

/// Puts a key in the place of another in the file, which a process reads at its start or at SIGHUP.
fn write_key(service: &Processes, from: &str, to: &str) {
    let file = service.config_file();
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "the file has another key");
    std::fs::write(&file, text.replace(from, to)).unwrap();
}

/// Awaits that so many refused bodies were kept, or given up.
async fn until_examined(service: &Processes, process: &Process, posted: usize) {
    let examined = async || {
        let mut all = 0;
        for outcome in ["kept", "dropped", "failed", "sampled", "not_sampled"] {
            let name = format!("wxpay_notify_refused_total{{outcome=\"{outcome}\"}}");
            all += service.metric::<usize>(process, &name).await.unwrap_or_default();
        }
        all
    };
    within_timeout("all refused bodies were examined", async {
        while examined().await < posted {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

/// Orders with notifications that a process with a wrong key refused, and a forgery; then it has the right key.
async fn refused(service: &Processes, count: usize) -> Process {
    let first = service.run_all().await;
    at_once((0..count).map(|n| {
        let (service, base) = (service, first.base.clone());
        async move { service.place(&base, &format!("R{n:06}"), 100).await }
    }))
    .await;
    service.until_drained().await;
    first.terminate().await;
    write_key(service, KEY, WRONG_KEY);
    let wrong = service.run_all().await;
    let db = service.open_db().await;
    let (mut posted, mut not_kept) = (0, (0..count).collect::<Vec<_>>());
    // As WeChat, which repeats what was refused: what came in faster than it could be kept comes again.
    while !not_kept.is_empty() {
        let bodies = not_kept.iter().map(|n| genuine(*n, KEY));
        let answers = at_once(bodies.map(|body| notify(service, &wrong, "main", body))).await;
        assert!(answers.iter().all(|(status, answer)| *status == 200 && answer.contains("FAIL")), "{answers:?}");
        posted += not_kept.len();
        until_examined(service, &wrong, posted).await;
        let kept: HashSet<String> =
            texts(&db, "SELECT out_trade_no FROM refused_notifications").await.into_iter().collect();
        not_kept.retain(|n| !kept.contains(&format!("R{n:06}")));
    }
    notify(service, &wrong, "main", genuine(0, FORGERS_KEY)).await;
    until_examined(service, &wrong, posted + 1).await;
    write_key(service, WRONG_KEY, KEY);
    let before = service.get(&wrong.base, "/readyz").await.1["config_hash"].clone();
    let sent = std::process::Command::new("kill").args(["-HUP", &wrong.id().to_string()]).status().unwrap();
    assert!(sent.success());
    within_timeout("the key is read anew", async {
        while service.get(&wrong.base, "/readyz").await.1["config_hash"] == before {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    wrong
}

/// `wxpayctl replay --refused --since 1h` with more arguments.
async fn replay_refused(service: &Processes, process: &Process, more: &[&str]) -> Ran {
    let key = service.config_file().with_file_name("api-key");
    std::fs::write(&key, API_KEY).unwrap();
    let mut command = wxpayctl(&["replay", "--refused", "--since", "1h", "--reason", super::WHY, "--json"]);
    command.args(more).env("WXPAYCTL_URL", &process.base).env("WXPAYCTL_KEY_FILE", key);
    run(command).await
}

async fn what_was_refused_settles_once_after_the_correction(service: Processes) {
    let count = size(40, 10_000);
    service.leave_books_open(SIGNED_BY_THE_TEST);
    let mut process = refused(&service, count).await;
    let mut beside = service.run_beside("worker", &[]).await;
    // Long enough to be killed on the way, also where a busy machine says late how far it is.
    let rate = (count / 20).to_string();
    let plan = replay_refused(&service, &process, &["--rate", &rate]).await.json();
    assert_eq!((&plan["total"], &plan["to_do"]), (&json!(count + 1), &json!(count)), "{plan}");
    let predicted = json!({"would_settle": count, "no_op": 0, "still_fails": {"signature": 1}});
    assert_eq!(plan["predicted"], predicted);
    let path = format!("{REPLAYS}/{}", plan["id"].as_str().unwrap());
    let (status, started) = service.post(&process.base, &format!("{path}/start"), &json!({})).await;
    assert_eq!((status, &started["state"], &started["changed"]), (202, &json!("running"), &json!([])), "{started}");
    for part in [count / 4, count / 2] {
        let reached = until(&service, &process, &path, |r| r["done"].as_u64() >= Some(part as u64)).await;
        assert_eq!(reached["state"], "running", "killed on the way: {reached}");
        // Whichever of them holds the lease.
        process.kill();
        beside.kill();
        process = service.run_all().await;
        beside = service.run_beside("worker", &[]).await;
    }
    let done = until(&service, &process, &path, |replay| replay["state"] == "done").await;
    let results = json!({"settled": count, "no_op": 0, "failed": {"signature": 1}});
    assert_eq!((&done["results"], &done["done"]), (&results, &json!(count + 1)), "{done}");

    let again = replay_refused(&service, &process, &[]).await.json();
    let nothing = json!({"would_settle": 0, "no_op": count, "still_fails": {"signature": 1}});
    assert_eq!((&again["to_do"], &again["predicted"]), (&json!(0), &nothing), "{again}");
    let path = format!("{REPLAYS}/{}", again["id"].as_str().unwrap());
    service.post(&process.base, &format!("{path}/start"), &json!({})).await;
    let done = until(&service, &process, &path, |replay| replay["state"] == "done").await;
    assert_eq!(done["results"], json!({"settled": 0, "no_op": count, "failed": {"signature": 1}}), "{done}");

    service.until_drained().await;
    let db = service.open_db().await;
    let settled = i64::try_from(count).unwrap();
    for (what, rows) in [
        ("orders WHERE state = 'paid'", settled),
        ("ledger", settled),
        ("notifications", settled),
        ("notifications WHERE verdict = 'settled'", settled),
        ("refused_notifications WHERE state = 'replayed'", settled),
        ("outbox WHERE event_type = 'wxpay.order.paid.v1'", settled),
    ] {
        assert_eq!(service.number(&db, &format!("SELECT COUNT(*) FROM {what}")).await, rows, "{what}");
    }
    assert_eq!(service.events(&process.base, "wxpay.order.paid.v1").await.len(), count);
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_refused_settles_once_after_the_correction_on_embedded_sqlite() {
    what_was_refused_settles_once_after_the_correction(TestService::embedded_sqlite().await.processes().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_refused_settles_once_after_the_correction_on_nats_postgres() {
    what_was_refused_settles_once_after_the_correction(TestService::nats_postgres().await.processes().await).await;
}
