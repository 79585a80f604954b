//! `bus` and `trigger`: the queue is read and not changed; a job runs once, whichever process has it.

use serde_json::{Value, json};

use super::support::Operator;
use crate::harness::sql::texts;
use crate::harness::within_timeout;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_is_shown_and_messages_are_read_masked_without_being_taken() {
    // Nor does a scheduler publish anything about the order, however long the commands below take.
    let operator = Operator::with_roles("ingress").await;
    let body = crate::harness::service::jsapi("BUS00001", 100);
    let (status, _) = operator.service.post(&operator.process.base, "/v1/orders", &body).await;
    assert_eq!(status, 202, "no worker takes it");

    let streams = operator.run(&["bus", "ls"]).await;
    assert!(streams.out.contains("PAY_IN") && streams.out.contains("refuses"), "{}", streams.out);
    let info = operator.run(&["bus", "info", "PAY_IN"]).await.json();
    assert_eq!((&info["messages"], &info["when_full"]), (&json!(1), &json!("refuses")), "{info}");
    assert_eq!(operator.run(&["bus", "info", "NO_STREAM"]).await.code, 3);
    let pending = async || {
        let lag = operator.run(&["bus", "lag", "--json"]).await.json();
        let of = lag["consumers"].as_array().unwrap().iter().find(|c| c["name"] == "prepare-order").cloned();
        of.unwrap()["pending"].clone()
    };
    assert_eq!(pending().await, json!(1));

    let peek = ["bus", "peek", "PAY_IN", "--consumer", "prepare-order", "--json"];
    let first = operator.run(&peek).await.json();
    let message = &first["messages"][0];
    assert_eq!(message["subject"], "pay.in.main.order.requested", "{first}");
    assert_eq!((&message["merchant"], &first["next"]), (&json!("main"), &Value::Null));
    assert!(message["message"]["data"].is_object(), "{message}");
    assert!(!first.to_string().contains(crate::harness::service::OPENID), "the payer shows: {first}");
    assert_eq!(operator.run(&peek).await.json(), first, "it is still there");
    assert_eq!(pending().await, json!(1), "no delivery was counted");
    let others = operator.run(&["bus", "peek", "PAY_IN", "--consumer", "settle", "--json"]).await.json();
    assert_eq!(others["messages"], json!([]));
    let behind = message["seq"].to_string();
    let rest = operator.run(&["bus", "peek", "PAY_IN", "--after", &behind, "--json"]).await.json();
    assert_eq!(rest["messages"], json!([]));
    assert_eq!(operator.run(&["bus", "peek", "PAY_IN", "--consumer", "nobodys"]).await.code, 3);

    let worker = operator.service.run_beside("worker,relay", &[]).await;
    operator.service.until_state(&operator.process.base, "BUS00001", "payable").await;
    operator.service.until_drained().await;
    assert!(worker.terminate().await.success());
    operator.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_triggered_job_runs_once_in_one_of_two_processes() {
    let operator = Operator::new().await;
    let beside = operator.service.run_beside("scheduler", &[]).await;
    let db = operator.service.open_db().await;
    let runs = "SELECT outcome FROM job_reports WHERE job = 'retention' AND ended_at_ms IS NOT NULL";
    let until_runs = async |n: usize| {
        within_timeout("a run of the job", async {
            while texts(&db, runs).await.len() < n {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        })
        .await;
    };
    // A job that is new is due at once.
    until_runs(1).await;
    let trigger = ["trigger", "retention", "--reason", "space is short", "--json"];
    assert_eq!(operator.run(&trigger).await.json()["result"], "done");
    until_runs(2).await;
    assert_eq!(operator.run(&trigger).await.json()["result"], "done");
    until_runs(3).await;
    // Had both processes run it after the first request, there would be more. The hourly run may have come as well.
    let started = "SELECT CAST(started_at_ms / 1000 % 3600 AS TEXT) FROM job_reports WHERE job = 'retention'";
    let is_hourly = |second: &String| (420..480).contains(&second.parse::<u32>().unwrap());
    let asked = texts(&db, started).await.into_iter().filter(|second| !is_hourly(second));
    assert!(asked.count() <= 3, "{:?}", texts(&db, started).await);

    // A process whose run failed leaves the next one to others, but not one that is asked for.
    assert!(beside.terminate().await.success());
    for (renamed, reason) in [
        ("ALTER TABLE wallet_orders RENAME TO away", "it fails"),
        ("ALTER TABLE away RENAME TO wallet_orders", "it is mended"),
    ] {
        let before = texts(&db, runs).await.len();
        db.execute("test", String::from(renamed), []).await.unwrap();
        let asked = ["trigger", "retention", "--reason", reason, "--json"];
        assert_eq!(operator.run(&asked).await.json()["result"], "done");
        until_runs(before + 1).await;
    }
    let outcomes = texts(&db, &format!("{runs} ORDER BY id")).await;
    assert_eq!(outcomes[outcomes.len() - 2..], ["failed", "idle"].map(str::to_owned), "{outcomes:?}");

    let unknown = operator.run(&["trigger", "no_such_job", "--reason", "none"]).await;
    assert_eq!((unknown.code, unknown.out.as_str()), (3, ""), "{}", unknown.err);
    let audit = operator.run(&["audit", "--json"]).await.json();
    let rows: Vec<&Value> =
        audit["audit"].as_array().unwrap().iter().filter(|row| row["action"] == "job.run").collect();
    assert_eq!(rows.len(), 4, "{audit}");
    assert_eq!((&rows[3]["subject"], &rows[3]["reason"]), (&json!("job:retention"), &json!("space is short")));
    operator.finish().await;
}
