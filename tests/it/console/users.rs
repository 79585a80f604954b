//! Users: rights, the merchants that are shown, invitations by an administrator.

use wxpay_worker::ids::MerchantKey;
use wxpay_worker::store::{Access, Right, Role};

use super::{Browser, PASSWORD, audited, role, service};
use crate::harness::service::{SECOND_MERCHANT, TestService};

#[tokio::test]
async fn only_an_administrator_sees_and_changes_users() {
    let stage = service().await;
    let mut admin = Browser::of(&stage, "root", role("admin")).await;
    let mut viewer = Browser::of(&stage, "vera", role("viewer")).await;
    let mut operator = Browser::of(&stage, "otto", role("operator")).await;
    let users = stage.store.console_users(10).await.unwrap();
    let vera = users.iter().find(|user| user.name == "vera").unwrap().id;
    let paths = [
        "/console/settings/users".to_owned(),
        format!("/console/settings/users/{vera}"),
        format!("/console/settings/users/{vera}/remove"),
        format!("/console/settings/users/{vera}/link"),
    ];
    let fields = [("name", "mallory"), ("role", "admin"), ("merchants", "all")];
    for browser in [&mut viewer, &mut operator] {
        assert!(!browser.get("/console/settings").await.text().contains("sha256"));
        assert_eq!(browser.get(&paths[1]).await.status, 403);
        for path in &paths {
            assert_eq!(browser.submit(path, &fields).await.status, 403, "{path}");
        }
    }
    assert_eq!(stage.store.console_users(10).await.unwrap().len(), 3);

    let shown = admin
        .submit(&paths[0], &[("name", "emil"), ("role", "viewer"), ("right", "replay"), ("merchants", "all")])
        .await;
    assert_eq!(shown.status, 200);
    let text = shown.text();
    let (_, link) = text.split_once("/console/invitation/").unwrap();
    let link = format!("/console/invitation/{}", &link[..43]);
    let mut emil = Browser::new(&stage);
    assert_eq!(emil.post(&link, &super::new_password()).await.status, 303);
    assert_eq!(emil.log_in("emil", PASSWORD).await.status, 303);
    let users = stage.store.console_users(10).await.unwrap();
    let found = users.iter().find(|user| user.name == "emil").unwrap();
    let has = |access: &Access| Right::ALL.iter().copied().filter(|right| access.has(*right)).collect::<Vec<_>>();
    assert_eq!(has(&found.access), [Right::View, Right::Replay]);

    // A change counts at once, for sessions that are open.
    let of_emil = format!("/console/settings/users/{}", found.id);
    assert_eq!(emil.get(&of_emil).await.status, 403);
    assert_eq!(admin.submit(&of_emil, &[("role", "admin"), ("merchants", "all")]).await.status, 303);
    assert_eq!(emil.get(&of_emil).await.status, 200);
    assert_eq!(admin.submit(&format!("{of_emil}/remove"), &[]).await.status, 303);
    assert_eq!(emil.get("/console").await.status, 303);
    let root = users.iter().find(|user| user.name == "root").unwrap().id;
    let refused = admin.submit(&format!("/console/settings/users/{root}/remove"), &[]).await;
    assert_eq!(refused.status, 303);
    assert!(admin.get("/console/settings").await.text().contains("This is the last administrator"));
    for (action, who) in [("console.change_user", "emil"), ("console.remove_user", "emil")] {
        let subject = format!("user:{who}");
        assert_eq!(audited(&stage, action).await, [["root", "127.0.0.1", subject.as_str(), "done"]]);
    }
    stage.finish().await;
}

#[tokio::test]
async fn a_user_sees_its_merchants_and_no_others() {
    let stage = TestService::new().second_account().config(SECOND_MERCHANT).config(super::ON).in_process().await;
    let second = MerchantKey::parse("second").unwrap();
    let only = |role| Access::of(role, Some(vec![second.clone()]));
    let mut limited = Browser::of(&stage, "sina", only(Role::Admin)).await;
    let mut all = Browser::of(&stage, "root", role("admin")).await;
    for path in ["/console", "/console/settings", "/console/held", "/console/refunds", "/console/audit"] {
        let (seen, whole) = (limited.get(path).await, all.get(path).await);
        assert_eq!((seen.status, whole.status), (200, 200), "{path}");
        assert!(whole.text().contains(">main<") || whole.text().contains(">main "), "{path}");
        assert!(!seen.text().contains(">main<") && !seen.text().contains(">main "), "{path}: {}", seen.text());
        assert!(!seen.text().contains(">root<"), "{path}: users and rows of all merchants");
    }
    for path in ["/console/held", "/console/refunds", "/console/audit"] {
        assert_eq!(limited.get(&format!("{path}?merchant=main")).await.status, 404, "{path}");
        assert_eq!(limited.get(&format!("{path}?merchant=second")).await.status, 200, "{path}");
    }
    let users = stage.store.console_users(10).await.unwrap();
    let root = users.iter().find(|user| user.name == "root").unwrap().id;
    assert_eq!(limited.get(&format!("/console/settings/users/{root}")).await.status, 404);
    let taken = limited.submit(&format!("/console/settings/users/{root}/link"), &[]).await;
    assert_eq!(taken.status, 404);
    limited.submit("/console/settings/users", &[("name", "mallory"), ("role", "viewer"), ("merchant", "main")]).await;
    let all = [("name", "mallory"), ("role", "viewer"), ("merchants", "all")];
    limited.submit("/console/settings/users", &all).await;
    let mine = [("name", "mine"), ("role", "viewer"), ("merchant", "second")];
    limited.submit("/console/settings/users", &mine).await;
    let users = stage.store.console_users(10).await.unwrap();
    assert!(!users.iter().any(|user| user.name == "mallory"));
    let mine = users.iter().find(|user| user.name == "mine").unwrap();
    assert_eq!(mine.access, only(Role::Viewer), "merchants of the one who invites");
    stage.finish().await;
}
