//! A merchant's wrong key, and an address that an app does not allow, as their operator sees them: what to check, a
//! metric, and payments that wait or go on.

use serde_json::json;

use super::tokens::WEB;
use crate::harness::service::{API_KEY, APP_ID, OTHER_KEY, Process, Processes, TestService, answer, jsapi};
use crate::harness::within_timeout;

const WRONG_KEY: (&str, &str) = ("WXPAY__MERCHANTS__0__V2_KEY", OTHER_KEY);

async fn place(service: &Processes, base: &str, order_no: &str) {
    let request = service.http.post(format!("{base}/v1/orders")).bearer_auth(API_KEY).header("prefer", "wait=0");
    let request = request.header("content-type", "application/json").body(jsapi(order_no, 100).to_string());
    let (status, order) = answer(request).await.unwrap();
    assert_eq!((status, &order["state"]), (202, &json!("requested")), "orders are taken: {order}");
}

async fn until_metric(service: &Processes, process: &Process, line: &str) {
    within_timeout(line, async {
        loop {
            let answer = service.http.get(format!("{}/metrics", process.base)).send().await.unwrap();
            if answer.text().await.unwrap().lines().any(|l| l == line) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    })
    .await;
}

/// The events of a type, once there is one.
async fn until_events(service: &Processes, process: &Process, of_type: &str) -> usize {
    within_timeout(of_type, async {
        loop {
            let events = service.events(&process.base, of_type).await.len();
            if events > 0 {
                return events;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await
}

async fn a_wrong_key_is_one_line_and_a_metric_and_no_order_is_lost(service: Processes) {
    let numbers: Vec<String> = (1..=6).map(|n| format!("Y10000{n}")).collect();
    let first = service.run_all_with(&[WRONG_KEY]).await;
    let second = service.run_beside("worker,relay", &[WRONG_KEY]).await;
    for order_no in &numbers {
        place(&service, &first.base, order_no).await;
    }
    let db = service.open_db().await;
    within_timeout("every order was refused", async {
        let refused = "SELECT COUNT(*) FROM attempts WHERE state = 'unknown' AND setup_refusals = 0";
        while service.number(&db, refused).await < 6 {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    })
    .await;
    until_metric(&service, &first, r#"wxpay_merchant_fault{merchant="main",fault="signature"} 1"#).await;
    until_metric(&service, &first, r#"wxpay_degraded{merchant="main",what="merchant"} 1"#).await;
    until_metric(&service, &first, r#"wxpay_degraded{merchant="second",what="merchant"} 0"#).await;
    assert_eq!(until_events(&service, &first, "wxpay.merchant.degraded.v1").await, 1, "of two processes");
    let (_, order) = service.get(&first.base, "/v1/orders/Y100001?merchant=main").await;
    assert_eq!(
        (&order["state"], &order["wechat"]["err_code_des"]),
        (&json!("requested"), &json!("签名错误")),
        "{order}"
    );
    second.terminate().await;
    first.terminate().await;
    let logs = service.logs();
    let errors: Vec<&str> = logs.lines().filter(|line| line.contains("\"ERROR\"")).collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    for word in ["merchants.v2_key_file", "main", "signature", "签名错误"] {
        assert!(errors[0].contains(word), "{word}: {}", errors[0]);
    }
    let right = service.run_all().await;
    for order_no in &numbers {
        service.until_state(&right.base, order_no, "payable").await;
    }
    until_metric(&service, &right, r#"wxpay_merchant_fault{merchant="main",fault="signature"} 0"#).await;
    until_metric(&service, &right, r#"wxpay_degraded{merchant="main",what="merchant"} 0"#).await;
    assert_eq!(until_events(&service, &right, "wxpay.merchant.recovered.v1").await, 1);
    service.pay("Y100001").await;
    service.until_state(&right.base, "Y100001", "paid").await;
    assert_eq!(until_events(&service, &right, "wxpay.order.paid.v1").await, 1);
    assert!(service.events(&right.base, "wxpay.order.failed.v1").await.is_empty());
    service.until_drained().await;
    right.terminate().await;
    let again = service.logs().lines().filter(|line| line.contains("accepts the merchant's setup again")).count();
    assert_eq!(again, 1);
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_key_is_one_line_and_a_metric_and_no_order_is_lost_on_embedded_sqlite() {
    a_wrong_key_is_one_line_and_a_metric_and_no_order_is_lost(TestService::embedded_sqlite().await.processes().await)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_key_is_one_line_and_a_metric_and_no_order_is_lost_on_nats_postgres() {
    a_wrong_key_is_one_line_and_a_metric_and_no_order_is_lost(TestService::nats_postgres().await.processes().await)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_not_allowed_is_announced_once_and_payments_and_readiness_go_on() {
    let service = TestService::embedded_sqlite().await.processes().await;
    let forbidden = json!({"appid": APP_ID, "ips": ["203.0.113.9"]});
    let (status, _) = service.post(&service.wechat_url, "/_sandbox/platform/whitelist", &forbidden).await;
    assert_eq!(status, 200);
    let process = service.run_all_with(WEB).await;
    within_timeout("ready, the one app's trouble shown, the other's token there", async {
        loop {
            let (status, ready) = service.get(&process.base, "/readyz").await;
            let of_app = |name: &str| ready["checks"].as_array()?.iter().find(|check| check["name"] == name);
            let (shop, mini) = (of_app("app:shop").unwrap(), of_app("app:mini").unwrap());
            let refused = shop["reason"].as_str().is_some_and(|reason| reason.contains("40164"));
            if status == 200 && ready["ready"] == true && refused && shop["ok"] == false && mini["ok"] == true {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    service.place(&process.base, "A400001", 100).await;
    service.pay("A400001").await;
    service.until_state(&process.base, "A400001", "paid").await;
    service.until_drained().await;
    let events = service.events(&process.base, "wxpay.app.degraded.v1").await;
    let mut sources: Vec<&str> = events.iter().map(|event| event["source"].as_str().unwrap()).collect();
    sources.sort_unstable();
    assert_eq!(sources, ["wxpay/main", "wxpay/second"], "each merchant that lists the app, once");
    assert_eq!((&events[0]["data"]["errcode"], &events[0]["data"]["app"]), (&json!(40164), &json!("shop")));
    let (status, jobs) = service.get(&process.base, "/v1/ops/jobs").await;
    assert_eq!(status, 200, "{jobs}");
    let job = jobs["jobs"].as_array().unwrap().iter().find(|job| job["name"] == "platform_tokens").unwrap();
    let detail = job["last_done"]["detail"].as_str().unwrap();
    assert!(detail.contains("shop access_token: refused") || detail.contains("mini access_token: renewed"), "{job}");
    let metrics = service.http.get(format!("{}/metrics", process.base)).send().await.unwrap().text().await.unwrap();
    // A minute later it is tried again.
    let counted = r#"wxpay_token_refresh_total{app="shop",kind="access_token",outcome="refused"} "#;
    assert!(metrics.contains(counted), "{metrics}");
    assert!(metrics.contains(r#"wxpay_token_age_seconds{app="mini",kind="access_token"}"#), "{metrics}");
    service.finish().await;
}
