//! Coming in: the invitation, the login and what slows it down, the session's end, and plain http.

use std::time::Duration;

use super::{Browser, PASSWORD, audited, invite, new_password, role, service};

const SESSION: &str = "wxpay_console_local";

#[tokio::test]
async fn an_invited_user_sets_a_password_once_signs_in_and_out() {
    let stage = service().await;
    let mut browser = Browser::new(&stage);
    let asked = browser.get("/console/audit?actor=x").await;
    assert_eq!(asked.status, 303);
    let login = asked.header("location").unwrap().to_owned();
    assert_eq!(login, "/console/login?next=%2Fconsole%2Faudit%3Factor%3Dx");

    let link = format!("/console/invitation/{}", invite(&stage, "anna", role("admin")).await);
    assert!(browser.get(&link).await.text().contains("value=\"anna\""));
    for (fields, says) in [
        ([("password", "short"), ("repeated", "short")], "at least 12"),
        ([("password", PASSWORD), ("repeated", "correct horse batterz")], "differ"),
    ] {
        let refused = browser.post(&link, &fields).await;
        assert_eq!(refused.status, 422);
        assert!(refused.text().contains(says), "{}", refused.text());
    }
    assert_eq!(browser.post(&link, &new_password()).await.status, 303);
    assert!(browser.get("/console/login").await.text().contains("The password is set"));
    assert!(!browser.get("/console/login").await.text().contains("The password is set"), "said once");
    assert_eq!(browser.post(&link, &new_password()).await.status, 410, "it was used");
    assert_eq!(browser.get(&link).await.status, 410);

    let fields = [("name", "anna"), ("password", PASSWORD), ("next", "/console/audit?actor=x")];
    let signed_in = browser.post("/console/login", &fields).await;
    assert_eq!((signed_in.status, signed_in.header("location")), (303, Some("/console/audit?actor=x")));
    let cookie = signed_in.head.lines().find(|line| line.starts_with("set-cookie: wxpay_console_local=")).unwrap();
    assert!(cookie.contains("; Path=/; Max-Age=43200; SameSite=Lax; HttpOnly"), "{cookie}");
    assert_eq!(browser.get("/console/audit").await.status, 200);
    assert_eq!(audited(&stage, "console.login").await, [["anna", "127.0.0.1", "user:anna", "done"]]);

    let token = browser.cookies[SESSION].clone();
    assert_eq!(browser.submit("/console/logout", &[]).await.status, 303);
    assert!(!browser.cookies.contains_key(SESSION));
    browser.cookies.insert(SESSION.to_owned(), token);
    assert_eq!(browser.get("/console").await.status, 303, "the session has ended, not the cookie alone");
    assert_eq!(audited(&stage, "console.end_session").await.len(), 1);
    stage.finish().await;
}

#[tokio::test]
async fn a_login_leads_to_pages_of_the_console_alone() {
    let stage = service().await;
    let mut browser = Browser::of(&stage, "anna", role("viewer")).await;
    for next in ["https://evil.example/", "//evil.example/console", "/console\\..\\x", "/consolex", "/v1/orders"] {
        let fields = [("name", "anna"), ("password", PASSWORD), ("next", next)];
        let reply = browser.post("/console/login", &fields).await;
        assert_eq!((reply.status, reply.header("location")), (303, Some("/console")), "{next}");
    }
    stage.finish().await;
}

#[tokio::test]
async fn failed_logins_say_the_same_of_every_name_wait_and_are_sampled_in_the_audit() {
    let stage = service().await;
    let mut browser = Browser::of(&stage, "anna", role("admin")).await;
    let wrong = browser.log_in("anna", "not her password").await;
    let unknown = browser.log_in("nadia", "not her password").await;
    let not_a_name = browser.log_in("<script>", "not her password").await;
    let text = |reply: &crate::http::client::Reply| {
        let (_, main) = reply.text().split_once("<section").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        main.replace("anna", "…").replace("nadia", "…").replace("&#60;script&#62;", "…")
    };
    assert_eq!((wrong.status, unknown.status, not_a_name.status), (403, 403, 403));
    assert_eq!(text(&wrong), text(&unknown));
    assert_eq!(text(&wrong), text(&not_a_name));
    for _ in 0..4 {
        assert_eq!(browser.log_in("anna", "not her password").await.status, 403);
    }
    let slowed = browser.log_in("anna", PASSWORD).await;
    assert_eq!(slowed.status, 429, "the right password waits, too");
    assert_eq!(browser.log_in("nadia", "x").await.status, 403, "another name does not");
    stage.clock.advance(Duration::from_secs(2));
    assert_eq!(browser.log_in("anna", PASSWORD).await.status, 303);
    assert_eq!(browser.log_in("anna", "not her password").await.status, 403, "its attempts are forgotten");
    let failed: Vec<String> = audited(&stage, "console.login")
        .await
        .into_iter()
        .filter(|row| row[3] == "refused")
        .map(|r| r.concat())
        .collect();
    assert_eq!(failed.len(), 1, "one a minute: {failed:?}");
    assert!(failed.iter().all(|row| row == "127.0.0.1refused"), "no name, which may be a password: {failed:?}");
    stage.finish().await;
}

#[tokio::test]
async fn a_new_password_ends_all_other_sessions_and_an_administrator_ends_any() {
    let stage = service().await;
    let mut here = Browser::of(&stage, "anna", role("operator")).await;
    let mut there = Browser::new(&stage);
    there.headers.push(("user-agent".into(), "<b>there</b>".into()));
    assert_eq!(there.log_in("anna", PASSWORD).await.status, 303);
    let shown = here.get("/console/settings").await.text();
    assert!(shown.contains("&#60;b&#62;there&#60;/b&#62;") && !shown.contains("<b>there"), "{shown}");

    let new = "another long password";
    let change = [("current", "wrong wrong wrong"), ("password", new), ("repeated", new)];
    assert_eq!(here.submit("/console/password", &change).await.status, 303);
    assert_eq!(there.get("/console").await.status, 200, "nothing was changed");
    let change = [("current", PASSWORD), ("password", new), ("repeated", new)];
    assert_eq!(here.submit("/console/password", &change).await.status, 303);
    assert_eq!(here.get("/console").await.status, 200);
    assert_eq!(there.get("/console").await.status, 303);
    assert_eq!(there.log_in("anna", PASSWORD).await.status, 403);
    assert_eq!(there.log_in("anna", new).await.status, 303);

    let mut admin = Browser::of(&stage, "root", role("admin")).await;
    let sessions = stage.store.console_sessions(None, stage.clock.now(), 10).await.unwrap();
    let of = |name: &str| sessions.iter().find(|session| session.user_name == name).unwrap().id;
    let end = |id: i64| format!("/console/settings/sessions/{id}/end");
    here.submit(&end(of("root")), &[]).await;
    assert_eq!(admin.get("/console").await.status, 200, "an operator ends its own sessions alone");
    for session in sessions.iter().filter(|session| session.user_name == "anna") {
        assert_eq!(admin.submit(&end(session.id), &[]).await.status, 303);
    }
    assert_eq!((here.get("/console").await.status, there.get("/console").await.status), (303, 303));
    stage.finish().await;
}

#[tokio::test]
async fn a_session_ends_with_its_time() {
    let stage = service().await;
    let mut browser = Browser::of(&stage, "anna", role("viewer")).await;
    stage.clock.advance(Duration::from_secs(12 * 3600 - 1));
    assert_eq!(browser.get("/console").await.status, 200);
    stage.clock.advance(Duration::from_secs(1));
    assert_eq!(browser.get("/console").await.status, 303);
    stage.finish().await;
}

#[tokio::test]
async fn over_plain_http_only_this_host_is_answered() {
    let stage = service().await;
    let mut browser = Browser::of(&stage, "anna", role("admin")).await;
    assert_eq!(browser.get("/console").await.status, 200);
    for (name, value) in [("x-forwarded-for", "203.0.113.7"), ("forwarded", "for=203.0.113.7"), ("x-real-ip", "::1")] {
        browser.headers = vec![(name.to_owned(), value.to_owned())];
        for path in ["/console", "/console/login"] {
            let refused = browser.get(path).await;
            assert_eq!(refused.status, 403, "{name} {path}");
            assert!(refused.text().contains("https is needed"), "{}", refused.text());
        }
    }
    stage.finish().await;
}
