//! `wxpayctl payers`.

use crate::ctl::support::{run, wxpayctl};
use crate::harness::service::{API_KEY, OPENID, TestService};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_ended_and_a_payer_is_erased_by_command() {
    let service = TestService::new().in_process().await;
    let folder = tempfile::TempDir::new().unwrap();
    let (key, openid) = (folder.path().join("api-key"), folder.path().join("openid"));
    std::fs::write(&key, API_KEY).unwrap();
    std::fs::write(&openid, format!("{OPENID}\n")).unwrap();
    let ctl = |arguments: &[&str]| {
        let mut command = wxpayctl(arguments);
        command.env("WXPAYCTL_URL", &service.base).env("WXPAYCTL_KEY_FILE", &key);
        run(command)
    };
    let openid = openid.to_str().unwrap();
    let of_payer = ["--openid-file", openid, "--app", "shop", "--reason", "asked for"];
    let ended = ctl(&[&["payers", "end-sessions"], &of_payer[..]].concat()).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!(service.number("SELECT COUNT(*) FROM ended_sessions").await, 1);
    let erase = [&["payers", "erase"], &of_payer[..]].concat();
    assert_eq!(ctl(&erase).await.code, 6, "without --yes");
    assert_eq!(service.number("SELECT COUNT(*) FROM erasures").await, 0);
    let asked = ctl(&[&erase[..], &["--yes", "--json"]].concat()).await;
    assert_eq!(asked.code, 0, "{}", asked.err);
    assert!(!asked.out.contains(OPENID), "{}", asked.out);
    service.until_erased().await;
    let id = asked.json()["id"].to_string();
    let shown = ctl(&["payers", "erasure", &id]).await;
    assert!(shown.code == 0 && shown.out.contains("done"), "{} {}", shown.out, shown.err);
    assert_eq!(ctl(&["payers", "erasure", "4711"]).await.code, 3);
    let all = ctl(&["payers", "erasures"]).await;
    assert!(all.code == 0 && all.out.contains("done") && !all.out.contains(OPENID), "{} {}", all.out, all.err);
    service.finish().await;
}
