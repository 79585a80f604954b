//! SIGHUP: a running process reads its configuration anew.

use serde_json::{Value, json};
use wxpay_worker::secret::sha256_hex;

use crate::harness::process::Process;
use crate::harness::service::{API_KEY, KEY, OTHER_KEY, Processes, TestService, answer, jsapi};
use crate::harness::within_timeout;

fn hang_up(process: &Process) {
    let sent = std::process::Command::new("kill").args(["-HUP", &process.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

async fn readiness(service: &Processes, process: &Process) -> (u16, Value, Value) {
    within_timeout("readiness", async {
        loop {
            let (status, body) = service.get(&process.base, "/readyz").await;
            let checks = body["checks"].as_array().unwrap();
            let of = |name: &str| checks.iter().find(|check| check["name"] == name).cloned().unwrap_or_default();
            // On a busy machine a check of these may take longer than it may.
            if of("database")["ok"] == true && of("bus")["ok"] == true {
                return (status, of("configuration"), body["config_hash"].clone());
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await
}

/// Sends the signal and awaits that it took effect, or was refused.
async fn reload(service: &Processes, process: &Process) -> (u16, Value, Value) {
    let before = readiness(service, process).await.1;
    hang_up(process);
    within_timeout("the configuration was read", async {
        loop {
            let now = readiness(service, process).await;
            if now.1 != before {
                return now;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await
}

async fn place(service: &Processes, base: &str, api_key: &str, order_no: &str) -> (u16, Value) {
    let request = service.http.post(format!("{base}/v1/orders")).bearer_auth(api_key).header("prefer", "wait=0");
    let request = request.header("content-type", "application/json").body(jsapi(order_no, 100).to_string());
    answer(request).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_are_corrected_take_effect_without_a_restart() {
    let service = TestService::embedded_sqlite().await.processes().await;
    let right = std::fs::read_to_string(service.config_file()).unwrap();
    let write = |text: &str| std::fs::write(service.config_file(), text).unwrap();
    write(&right.replace(KEY, OTHER_KEY));
    let process = service.run_all().await;
    assert_eq!(place(&service, &process.base, API_KEY, "HUP0001").await.0, 202);
    let db = service.open_db().await;
    within_timeout("a refusal", async {
        let refused = "SELECT COUNT(*) FROM attempts WHERE state = 'unknown' AND setup_refusals = 0";
        while service.number(&db, refused).await < 1 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    let (_, none, at_first) = readiness(&service, &process).await;
    assert_eq!(none, Value::Null, "nothing was read anew yet");

    // Refused whole: the right key beside a mistake changes nothing.
    write(&right.replace("mch_id", "mch_idd"));
    let (status, check, hash) = reload(&service, &process).await;
    assert_eq!((status, &check["ok"], &hash), (200, &json!(false), &at_first), "{check}");
    assert!(check["reason"].as_str().unwrap().contains("refused"), "{check}");

    let other_key = "another-api-key-of-the-shop-0123456789";
    let replaced = right.replace(&sha256_hex(API_KEY.as_bytes()), &sha256_hex(other_key.as_bytes()));
    assert_ne!(replaced, right, "the key's hash is in the file");
    write(&replaced);
    hang_up(&process);
    within_timeout("the new API key", async {
        while place(&service, &process.base, other_key, "HUP0002").await.0 >= 400 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!(place(&service, &process.base, API_KEY, "HUP0003").await.0, 401, "the old key is revoked");
    write(&right.replace("\"timeout_ms\" = 8000", "\"timeout_ms\" = 8500"));
    let (status, check, hash) = until_a_restart_is_named(&service, &process).await;
    assert_eq!((status, &check["ok"]), (200, &json!(true)), "{check}");
    assert!(check["reason"].as_str().unwrap().ends_with("takes a restart: wechat.timeout_ms"), "{check}");
    assert_ne!(hash, at_first);

    // The order that WeChat refused is payable under its number.
    for order_no in ["HUP0001", "HUP0002"] {
        service.until_state(&process.base, order_no, "payable").await;
        service.pay(order_no).await;
        service.until_state(&process.base, order_no, "paid").await;
    }
    service.until_drained().await;
    let logs = service.logs();
    assert!(logs.contains("The configuration was refused"), "{logs}");
    assert!(!logs.contains(other_key), "a key is logged");
    assert!(process.terminate().await.success());
    service.finish().await;
}

/// As [`reload`], where the reading before may just be ending.
async fn until_a_restart_is_named(service: &Processes, process: &Process) -> (u16, Value, Value) {
    hang_up(process);
    within_timeout("the configuration was read", async {
        loop {
            let now = readiness(service, process).await;
            if now.1["reason"].as_str().is_some_and(|reason| reason.contains("restart")) {
                return now;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await
}
