//! Where the state of merchants is read.

use std::time::Duration;

use serde_json::Value;

use crate::harness::service::InProcess;
use crate::harness::sql::texts;
use crate::harness::within_timeout;

impl InProcess {
    /// The events of merchants so far, as `degraded app:mini`, oldest first.
    pub async fn health_events(&self) -> Vec<String> {
        let sql = "SELECT payload FROM outbox WHERE event_type LIKE 'wxpay.merchant.%' ORDER BY id";
        let event = |payload: &String| {
            let event: Value = serde_json::from_str(payload).unwrap();
            let fact = event["type"].as_str().unwrap().split('.').nth(2).unwrap().to_owned();
            assert_eq!(event["source"], "wxpay/main");
            format!("{fact} {}", event["data"]["what"].as_str().unwrap())
        };
        texts(self.store.db(), sql).await.iter().map(event).collect()
    }

    pub async fn until_health_events(&self, expected: &[&str]) {
        let what = format!("{expected:?}");
        self.found(&what, || async { (self.health_events().await == expected).then_some(()) }).await;
    }

    /// The list for operators.
    pub async fn degraded(&self) -> Vec<Value> {
        let (status, list) = self.get("/v1/ops/health").await;
        assert_eq!(status, 200, "{list}");
        list["degraded"].as_array().unwrap().clone()
    }

    /// What the process says of its readiness: it stays ready. On a busy machine a check may take longer than it may.
    pub async fn ready(&self) -> Value {
        within_timeout("a process that is ready", async {
            loop {
                let (status, ready) = self.get("/readyz").await;
                if status == 200 {
                    assert_eq!(ready["ready"], Value::Bool(true), "{ready}");
                    return ready;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await
    }

    /// The merchant's check.
    pub async fn merchant_check(&self) -> Value {
        let ready = self.ready().await;
        let checks = ready["checks"].as_array().unwrap();
        checks.iter().find(|check| check["name"] == "merchant:main").unwrap_or_else(|| panic!("{ready}")).clone()
    }
}
