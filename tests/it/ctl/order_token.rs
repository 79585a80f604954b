//! `wxpayctl orders revoke-token`.

use super::support::{run, wxpayctl};
use crate::harness::service::{API_KEY, TestService};
use crate::harness::sql::texts;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orders_token_is_ended_by_command() {
    let service = TestService::new().in_process().await;
    let folder = tempfile::TempDir::new().unwrap();
    let key = folder.path().join("api-key");
    std::fs::write(&key, API_KEY).unwrap();
    let ctl = |arguments: &[&str]| {
        let mut command = wxpayctl(arguments);
        command.env("WXPAYCTL_URL", &service.base).env("WXPAYCTL_KEY_FILE", &key);
        run(command)
    };
    let token = service.place("TOKEN001").await["order_token"].as_str().unwrap().to_owned();
    let revoke = ["orders", "revoke-token", "TOKEN001"];
    assert_eq!(ctl(&revoke).await.code, 2, "without a reason");
    assert_eq!(service.get("/v1/orders/TOKEN001").await.1["order_token"], token.as_str());
    let why = ["--reason", "a screenshot was shared", "--merchant", "main"];
    let done = ctl(&[&revoke[..], &why].concat()).await;
    assert!(done.code == 0 && done.out.contains("TOKEN001"), "{} {}", done.out, done.err);
    let (_, order) = service.get("/v1/orders/TOKEN001").await;
    let new = order["order_token"].as_str().unwrap();
    assert!(new != token && new.len() == token.len() && !done.out.contains(new), "{} {new}", done.out);
    let audit = "SELECT reason || ' ' || order_no FROM audit WHERE action = 'order.revoke_token'";
    assert_eq!(texts(service.store.db(), audit).await, ["a screenshot was shared TOKEN001"]);
    assert_eq!(ctl(&["orders", "revoke-token", "NONE", "--reason", "x"]).await.code, 3);
    service.pay("TOKEN001").await;
    service.until_state("TOKEN001", "paid").await;
    service.finish().await;
}
