//! `wxpayctl webhooks` beside a service.

use serde_json::json;

use super::receiver::Receiver;
use super::{ALL, give_up, service, until_attempts};
use crate::ctl::support::{run, wxpayctl};
use crate::harness::service::API_KEY;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_is_made_tested_listed_and_recovered() {
    let service = service().in_process().await;
    let receiver = Receiver::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("api-key");
    std::fs::write(&file, API_KEY).unwrap();
    let ctl = |arguments: &[&str]| {
        let mut command = wxpayctl(arguments);
        command.env("WXPAYCTL_URL", &service.base).env("WXPAYCTL_KEY_FILE", &file);
        run(command)
    };
    let new = ["webhooks", "new", &receiver.url, "--events", "order.payable", "--description", "shop"];
    let made = ctl(&new).await;
    assert_eq!((made.code, made.out.trim_end().lines().count()), (0, 1), "{} {}", made.out, made.err);
    assert!(made.out.starts_with("whsec_"));
    let list = ctl(&["webhooks", "ls", "--json"]).await.json();
    let endpoint = list["webhooks"][0].clone();
    let id = endpoint["id"].as_str().unwrap();
    assert_eq!(ctl(&["webhooks", "test", id]).await.code, 0);
    receiver.status(500);
    let failed = ctl(&["webhooks", "test", id]).await;
    assert_eq!((failed.code, failed.out.contains("http_status")), (1, true), "{}", failed.out);
    service.place("W100001").await;
    until_attempts(&service, &endpoint, 3, "http_status").await.len();
    let attempts = ctl(&["webhooks", "attempts", id]).await.out;
    assert!(attempts.contains("W100001") && attempts.contains("http_status"), "{attempts}");
    let pending = ctl(&["webhooks", "deliveries", id, "--state", "pending", "--json"]).await.json();
    assert_eq!(pending["deliveries"][0]["order_no"], "W100001");
    give_up(&service, ALL, "http_status").await;
    receiver.status(204);
    let recover = ["webhooks", "recover", id, "--since", "2020-01-01T00:00:00+08:00"];
    assert_eq!(ctl(&recover).await.code, 2, "without a reason");
    let recovered = ctl(&[&recover[..], &["--reason", "it is back", "--json"]].concat()).await;
    assert_eq!(recovered.json(), json!({"recovered": 1}), "{}", recovered.err);
    until_attempts(&service, &endpoint, 2, "delivered").await;
    assert_eq!(ctl(&["webhooks", "attempts", "none"]).await.code, 3);
    service.finish().await;
}
