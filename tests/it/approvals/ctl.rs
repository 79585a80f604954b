//! `wxpayctl approvals`.

use super::{DESK, LEAD, service};
use crate::ctl::support::{run, wxpayctl};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_listed_and_decided_by_command() {
    let service = service().in_process().await;
    service.paid("APT00001").await;
    let (first, second) = (service.waiting("APT00001", "t1", 70).await, service.waiting("APT00001", "t2", 65).await);
    let folder = tempfile::TempDir::new().unwrap();
    let ctl = |key: &str, arguments: &[&str]| {
        let file = folder.path().join("api-key");
        std::fs::write(&file, key).unwrap();
        let mut command = wxpayctl(arguments);
        command.env("WXPAYCTL_URL", &service.base).env("WXPAYCTL_KEY_FILE", &file);
        run(command)
    };
    let listed = ctl(LEAD, &["approvals", "list"]).await;
    assert_eq!((listed.code, listed.out.lines().count()), (0, 3), "{} {}", listed.out, listed.err);
    let (first, second) = (first.to_string(), second.to_string());
    let approve = ["approvals", "approve", first.as_str(), "--reason", "seen"];
    assert_eq!(ctl(LEAD, &approve).await.code, 6, "without --yes");
    let own = ctl(DESK, &[&approve[..], &["--yes"]].concat()).await;
    assert!(own.code != 0 && own.err.contains("another person"), "{} {}", own.code, own.err);
    assert_eq!(service.refunds_here().await, 0);
    let done = ctl(LEAD, &[&approve[..], &["--yes", "--json"]].concat()).await;
    assert_eq!((done.code, done.json()["state"].as_str()), (0, Some("approved")), "{}", done.err);
    let refused = ctl(LEAD, &["approvals", "refuse", second.as_str(), "--reason", "too much"]).await;
    assert!(refused.code == 0 && refused.out.contains("refused"), "{} {}", refused.out, refused.err);
    assert_eq!(ctl(LEAD, &["approvals", "show", "4711"]).await.code, 3);
    assert_eq!(service.refunds_here().await, 1);
    service.poll_until("t1", "processing").await;
    service.ends("t1", "SUCCESS").await;
    service.until_refunded("t1", "succeeded").await;
    service.finish().await;
}
