//! `wxpayctl keys` beside a service: keys of the database.

use super::support::{run, wxpayctl};
use crate::harness::service::TestService;
use crate::keys::{ADMIN, with_admin};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_made_listed_and_revoked() {
    let service = with_admin(TestService::new()).in_process().await;
    let folder = std::env::temp_dir().join(format!("wxpayctl-keys-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("api-key");
    std::fs::write(&file, ADMIN).unwrap();
    let ctl = |arguments: &[&str]| {
        let mut command = wxpayctl(arguments);
        command.env("WXPAYCTL_URL", &service.base).env("WXPAYCTL_KEY_FILE", &file);
        run(command)
    };
    let new = ["keys", "new", "--remote", "--name", "shop-2", "--scopes", "orders", "--merchants", "main"];
    assert_eq!(ctl(&new).await.code, 2, "without a reason");
    let made = ctl(&[&new[..], &["--reason", "the second shop"]].concat()).await;
    let key = made.out.trim_end();
    assert_eq!((made.code, key.lines().count()), (0, 1), "{} {}", made.out, made.err);
    assert_eq!(service.get_by(key, "/v1/orders").await.0, 200);
    let list = ctl(&["keys", "list", "--json"]).await.json();
    let id = list["keys"].as_array().unwrap().iter().find(|key| key["name"] == "shop-2").unwrap()["id"].clone();
    let id = id.as_str().unwrap();
    let revoke = ["keys", "revoke", id, "--reason", "no longer used"];
    assert_eq!(ctl(&revoke).await.code, 6, "without --yes");
    assert_eq!(service.get_by(key, "/v1/orders").await.0, 200);
    assert_eq!(ctl(&[&revoke[..], &["--yes"]].concat()).await.code, 0);
    assert_eq!(service.get_by(key, "/v1/orders").await.0, 401);
    let table = ctl(&["keys", "list"]).await.out;
    let row = table.lines().find(|line| line.starts_with(id)).unwrap_or_else(|| panic!("{table}"));
    assert!(row.contains("shop-2") && row.contains("database"), "{table}");
    let missing = ctl(&["keys", "revoke", "key-of-none", "--reason", "x", "--yes"]).await;
    assert_eq!(missing.code, 3, "{}", missing.err);
    std::fs::remove_dir_all(&folder).unwrap();
    service.finish().await;
}
