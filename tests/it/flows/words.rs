//! What WeChat said, in the log.

use serde_json::json;

use crate::harness::service::{API_KEY, TestService, answer, jsapi};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_words_of_an_answer_that_proves_nothing_are_one_log_line() {
    // A claim that ends within the three calls would have them made again.
    let service = TestService::embedded_sqlite().await.config("[store]\nlease_ms = 60000\n").processes().await;
    let process = service.run_all().await;
    let body = "<xml><return_code>FAIL</return_code><return_msg>服务器\n忙\u{202e}，请重试</return_msg></xml>";
    service.faults(json!([{"on": "unifiedorder", "kind": "raw", "body": body, "times": 3}])).await;
    let request =
        service.http.post(format!("{}/v1/orders", process.base)).bearer_auth(API_KEY).header("prefer", "wait=0");
    let request = request.header("content-type", "application/json").body(jsapi("A800001", 100).to_string());
    let (status, order) = answer(request).await.unwrap();
    assert!(matches!(status, 200 | 202), "{order}");
    service.until_state(&process.base, "A800001", "payable").await;
    service.until_drained().await;
    process.terminate().await;
    let logs = service.logs();
    let lines: Vec<&str> = logs.lines().filter(|line| line.contains("服务器")).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("服务器 忙 ，请重试") && lines[0].contains("A800001"), "{}", lines[0]);
    service.finish().await;
}
