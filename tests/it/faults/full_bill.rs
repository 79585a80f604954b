//! A bill for which there is no room, and one that has no end: the service as a process.

use std::time::Duration;

use serde_json::{Value, json};
use wxpay_worker::clock::Clock;

use super::databases::limits::{limit_files, run_without_signal};
use super::until;
use crate::harness::db::TestDb;
use crate::harness::process::Process;
use crate::harness::service::{MCH_ID, Processes, TestService};
use crate::reconcile::day_of;

/// Longer than the other tests': no process dies, and one that a busy machine holds up for three seconds would lose its
/// run, which is made again a minute later.
const LEASE: &str = "[store]\nlease_ms = 30000\n";

/// Rows of a bill that does not fit in the memory of a sorter.
const ROWS: usize = 9_000;

async fn compared(rig: &Processes, base: &str, day: &str) -> Value {
    let body = json!({"merchant": "main", "date": day});
    let (status, asked) = rig.post(base, "/v1/reconciliations", &body).await;
    assert_eq!(status, 202, "{asked}");
    ended(rig, base, day).await
}

async fn ended(rig: &Processes, base: &str, day: &str) -> Value {
    let last = std::sync::Mutex::new(Value::Null);
    let result = until("the result", || async {
        let (_, found) = rig.get(base, &format!("/v1/reconciliations/main/{day}")).await;
        let has_ended = !matches!(found["state"].as_str(), Some("pending" | "running"));
        last.lock().unwrap().clone_from(&found);
        has_ended.then_some(found)
    });
    tokio::select! {
        found = result => found,
        () = tokio::time::sleep(Duration::from_secs(140)) => {
            let (_, jobs) = rig.get(base, "/v1/ops/jobs").await;
            panic!("{} {jobs}\n{}", last.lock().unwrap(), rig.logs())
        }
    }
}

/// A day that is over, with a bill of another system's payments alone.
async fn day_with_a_bill(rig: &Processes) -> String {
    let day = day_of(Clock::system().now().before(Duration::from_secs(2 * 24 * 3600)));
    let name = day.replace('-', "");
    let extra =
        |n: usize| json!({"kind": "extra", "out_trade_no": format!("POS{n:08}"), "day": name, "total_fee": 1 + n});
    let extras: Vec<Value> = (0..ROWS).map(extra).collect();
    for part in extras.chunks(500) {
        rig.wechat_control("bills/differences", json!({"mch_id": MCH_ID, "differences": part})).await;
    }
    day
}

/// The most memory that a process ever had.
fn most_memory(process: &Process) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_leaves_the_result_and_the_next_run_goes_well() {
    let settings = "[wechat]\ntimeout_ms = 30000\n[reconcile]\nbuffer_mb = 1\nforeign = [\"POS\"]\n";
    let service = TestService::new().on(TestDb::postgres().await).refunds().config(settings).config(LEASE);
    let rig = service.processes().await;
    let process = run_without_signal(&rig).await;
    let base = process.base.clone();
    let day = day_with_a_bill(&rig).await;
    let good = compared(&rig, &base, &day).await;
    assert_eq!((&good["state"], &good["classes"]["foreign"]), (&json!("explained"), &json!(ROWS)), "{good}");
    // While the bill is received.
    limit_files(&process, Some(100_000));
    let full = compared(&rig, &base, &day).await;
    let says = |found: &Value, words: &str| {
        let error = found["error"].as_str().unwrap_or_default();
        assert!(found["state"] == "failed" && error.contains(words), "{found}");
        assert_eq!((&found["result"], &found["bill"]), (&json!("explained"), &good["bill"]));
    };
    says(&full, "no room for the bill");
    limit_files(&process, None);
    // While its rows are sorted: the bill of the account, which is fetched behind it, takes its time.
    rig.faults(json!([{"on": "downloadfundflow", "kind": "slow", "delay_ms": 12_000, "times": 1}])).await;
    let (status, _) = rig.post(&base, "/v1/reconciliations", &json!({"merchant": "main", "date": day})).await;
    assert_eq!(status, 202);
    until("the request for the second bill", || async {
        let (_, faults) = rig.get(&rig.wechat_url, "/_sandbox/faults").await;
        (faults["faults"][0]["fired"] == 1).then_some(())
    })
    .await;
    limit_files(&process, Some(100_000));
    says(&ended(&rig, &base, &day).await, "no room in the temporary folder");
    limit_files(&process, None);
    let again = compared(&rig, &base, &day).await;
    assert_eq!((&again["state"], &again["classes"]), (&json!("explained"), &good["classes"]), "{again}");
    rig.finish().await;
    assert!(process.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_without_an_end_is_refused_at_its_bound() {
    let rig = TestService::embedded_sqlite().await.config(LEASE).processes().await;
    let process = rig.run_all().await;
    let base = process.base.clone();
    let day = day_with_a_bill(&rig).await;
    rig.wechat_control("bills/form", json!({"mch_id": MCH_ID, "form": {"spoil": {"long_line": 2048}}})).await;
    let before = most_memory(&process);
    let failed = compared(&rig, &base, &day).await;
    let error = failed["error"].as_str().unwrap_or_default();
    assert!(failed["state"] == "failed" && error.contains("line 2: longer than 65536 bytes"), "{failed}");
    let more = most_memory(&process) - before;
    assert!(more < 32 << 20, "{more} bytes for a line that is refused");
    rig.finish().await;
    assert!(process.terminate().await.success());
}
