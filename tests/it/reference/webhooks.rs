//! Real answers about webhooks by the document: endpoints, and what receivers of this host took and refused.

use serde_json::json;

use super::answers::Caller;
use crate::webhooks::receiver::Receiver;

const CONFIG: &str = "[webhooks]\nallow_http = true\nallow_networks = [\"127.0.0.0/8\"]\ntimeout_ms = 5000\n";
const ONE: &str = "/v1/webhooks/{id}";

#[tokio::test]
async fn answers_about_webhooks_are_as_described() {
    let caller = Caller::start().await;
    let new = json!({"url": "https://shop.example.com/hooks", "events": ["order.paid"], "description": "Warehouse"});
    let made = caller.post("/v1/webhooks", "/v1/webhooks", new, 201).await;
    assert!(made["secret"].is_string(), "{made}");
    let (one, path) = ("/v1/webhooks/{id}", format!("/v1/webhooks/{}", made["id"].as_str().unwrap()));
    caller.get("/v1/webhooks", "/v1/webhooks").await;
    caller.get(one, &path).await;
    caller.call("PATCH", one, &path, Some(json!({"state": "disabled"}))).await;
    caller.post(&format!("{one}/rotate"), &format!("{path}/rotate"), json!({"reason": "It leaked"}), 200).await;
    caller.get(&format!("{one}/deliveries"), &format!("{path}/deliveries")).await;
    caller.get(&format!("{one}/attempts"), &format!("{path}/attempts")).await;
    caller.post(&format!("{one}/recover"), &format!("{path}/recover"), json!({}), 200).await;
    let (status, _) = caller.call("DELETE", one, &path, None).await;
    assert_eq!(status, 204);
    caller.service.finish().await;
}

#[tokio::test]
async fn answers_about_what_receivers_took_and_refused_are_as_described() {
    let caller = Caller::with(CONFIG).await;
    let receiver = Receiver::start().await;
    let new = json!({"url": receiver.url, "reason": "To see it"});
    let made = caller.post("/v1/webhooks", "/v1/webhooks", new, 201).await;
    let path = format!("/v1/webhooks/{}", made["id"].as_str().unwrap());
    let test = caller.post(&format!("{ONE}/test"), &format!("{path}/test"), json!({}), 200).await;
    receiver.until(1).await;
    caller.place("A100001").await;
    caller.until_credited("A100001").await;
    let (template, of_attempts) = (format!("{ONE}/attempts"), format!("{path}/attempts"));
    let rows = |outcome: &'static str| {
        let (caller, template, of_attempts) = (&caller, &template, &of_attempts);
        move || async move {
            let page = caller.get(template, of_attempts).await;
            let is_there = page["attempts"].as_array().unwrap().iter().any(|row| row["outcome"] == outcome);
            is_there.then_some(page)
        }
    };
    let attempts = caller.found("a delivery that was taken", rows("delivered")).await;
    assert_eq!(attempts["attempts"][0]["answer"]["status"], 204, "{attempts} {test}");
    receiver.status(500);
    caller.post(&format!("{ONE}/test"), &format!("{path}/test"), json!({}), 200).await;
    caller.place("A100002").await;
    caller.until_credited("A100002").await;
    caller.found("a delivery that was refused", rows("http_status")).await;
    // Tests of an endpoint are attempts, too, and none of these.
    let (template, of_deliveries) = (format!("{ONE}/deliveries"), format!("{path}/deliveries"));
    let listed = || async {
        let page = caller.get(&template, &of_deliveries).await;
        (!page["deliveries"].as_array().unwrap().is_empty()).then_some(())
    };
    caller.found("deliveries", listed).await;
    caller.get(ONE, &path).await;
    receiver.status(204);
    caller.post(&format!("{ONE}/recover"), &format!("{path}/recover"), json!({"reason": "It is back"}), 200).await;
    caller.service.leave_unfinished("deliveries are on their way");
    caller.service.finish().await;
}
