//! What guards the console: passwords over https, the work of a login, merchants that are chosen, the public URL.

use std::net::IpAddr;
use std::time::Duration;

use axum::http::HeaderMap;
use futures_util::FutureExt;
use wxpay_worker::config::Config;
use wxpay_worker::console::fault::Fault;
use wxpay_worker::console::login::passwords::Passwords;
use wxpay_worker::http::transport;
use wxpay_worker::ids::MerchantKey;
use wxpay_worker::secret::Secret;
use wxpay_worker::store::{Access, Role};

use super::{Browser, PASSWORD, audited, role, service};
use crate::harness::service::TestService;

const URL: &str = "https://console.example.com";

#[tokio::test]
async fn a_password_s_hash_keeps_its_permits_when_its_request_is_dropped() {
    let passwords = Passwords::default();
    let begin = || Box::pin(passwords.hash(Secret::new(PASSWORD)));
    for _ in 0..2 {
        assert!(begin().now_or_never().is_none(), "it has begun, and its request is dropped");
    }
    let mut waiting: Vec<_> = (0..32).map(|_| begin()).collect();
    assert!(waiting.iter_mut().all(|hash| hash.now_or_never().is_none()));
    assert!(matches!(begin().now_or_never(), Some(Err(Fault::Busy))));
}

#[tokio::test]
async fn behind_https_what_a_proxy_took_over_plain_http_is_refused() {
    let own = format!("public_url = {URL:?}\n");
    let stage = TestService::new().config(&format!("{}{own}", super::ON)).in_process().await;
    let mut browser = Browser::of(&stage, "anna", role("admin")).await;
    for (name, value, status) in [
        ("x-forwarded-proto", "https", 200),
        ("x-forwarded-proto", "http", 403),
        ("x-forwarded-proto", "https, HTTP", 403),
        ("forwarded", "for=203.0.113.7;proto=https", 200),
        ("forwarded", "for=203.0.113.7; Proto=\"http\"", 403),
    ] {
        browser.headers = vec![(name.to_owned(), value.to_owned())];
        assert_eq!(browser.get("/console/settings").await.status, status, "{name}: {value}");
    }
    browser.headers.clear();
    // The proxy replaces `Host`.
    browser.origin = Some(URL.to_owned());
    let fields = [("name", "otto"), ("role", "viewer"), ("merchants", "all")];
    let invited = browser.submit("/console/settings/users", &fields).await;
    assert!(invited.text().contains(&format!("{URL}/console/invitation/")), "{}", invited.text());
    browser.origin = Some("https://console.example.org".to_owned());
    assert_eq!(browser.submit("/console/settings/users", &fields).await.status, 403);
    stage.finish().await;
}

#[test]
fn behind_https_only_this_host_and_trusted_proxies_are_answered() {
    let trusted = ["10.0.0.0/24".parse().unwrap()];
    let is = |from: &str| transport::is_https(from.parse::<IpAddr>().unwrap(), &HeaderMap::new(), &trusted);
    assert!(is("127.0.0.1") && is("::1") && is("10.0.0.5"));
    assert!(!is("10.0.1.5") && !is("203.0.113.7"));
}

#[test]
fn a_public_url_with_a_path_is_refused_where_the_console_is_on() {
    let read = |text: &str| Config::from_toml_str(text);
    let with_path = "[server]\npublic_url = \"https://m.example.com/pay\"\n";
    assert!(read(with_path).is_ok());
    let refused = read(&format!("{with_path}{}", super::ON)).unwrap_err().to_string();
    assert!(refused.contains("console.public_url: is empty, and server.public_url has a path"), "{refused}");
    assert!(read(&format!("{with_path}{}public_url = {URL:?}\n", super::ON)).is_ok());
    assert!(read(&format!("{}public_url = \"{URL}/x\"\n", super::ON)).is_err());
}

#[tokio::test]
async fn all_merchants_are_chosen_explicitly_and_one_that_left_the_configuration_is_kept() {
    let stage = service().await;
    let mut admin = Browser::of(&stage, "root", role("admin")).await;
    let gone = Access::of(Role::Viewer, Some(vec![MerchantKey::parse("gone").unwrap()]));
    super::invite(&stage, "vera", gone.clone()).await;
    let vera = async || {
        let users = stage.store.console_users(10).await.unwrap();
        users.into_iter().find(|user| user.name == "vera").unwrap()
    };
    let path = format!("/console/settings/users/{}", vera().await.id);
    let form = admin.get(&path).await.text();
    assert!(form.contains("name=\"merchant\" value=\"gone\" checked"), "{form}");
    assert!(form.contains("name=\"merchants\" value=\"some\" checked"), "{form}");
    for fields in [vec![("role", "operator")], vec![("role", "operator"), ("merchants", "some")]] {
        let refused = admin.submit(&path, &fields).await;
        assert_eq!(refused.status, 422, "{}", refused.text());
        assert_eq!(vera().await.access, gone);
    }
    let same = [("role", "viewer"), ("merchants", "some"), ("merchant", "gone")];
    assert_eq!(admin.submit(&path, &same).await.status, 303);
    assert_eq!(vera().await.access, gone);
    assert_eq!(admin.submit(&path, &[("role", "viewer"), ("merchants", "all")]).await.status, 303);
    assert_eq!(vera().await.access, role("viewer"));
    stage.finish().await;
}

#[tokio::test]
async fn attempts_of_one_address_are_bounded_before_the_store_and_wrong_passwords_are_audited() {
    let stage = service().await;
    let mut browser = Browser::of(&stage, "anna", role("admin")).await;
    let new = "another long password";
    let change = [("current", "wrong wrong wrong"), ("password", new), ("repeated", new)];
    assert_eq!(browser.submit("/console/password", &change).await.status, 303);
    assert_eq!(audited(&stage, "console.set_password").await[0], ["anna", "127.0.0.1", "user:anna", "refused"]);
    for _ in 0..38 {
        browser.log_in("anna", "not her password").await;
    }
    let writes = "SELECT failures FROM console_attempts WHERE subject = 'address:127.0.0.1'";
    let before = stage.number(writes).await;
    stage.clock.advance(Duration::from_secs(600));
    assert_eq!(browser.log_in("anna", PASSWORD).await.status, 429, "the store would have passed it");
    assert_eq!(stage.number(writes).await, before);
    let refused = audited(&stage, "console.login").await.into_iter().filter(|row| row[3] == "refused").count();
    assert_eq!(refused, 1, "one row a minute");
    stage.finish().await;
}
