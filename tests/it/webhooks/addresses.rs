//! Where a connection may go: literals, names, what names resolve to, and that nothing else is connected to.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::response::IntoResponse;
use ipnet::IpNet;
use serde_json::json;
use wxpay_worker::clock::Timestamp;
use wxpay_worker::config::{Config, ConfigHandle};
use wxpay_worker::webhooks::address::{AddressError, is_allowed, parse};
use wxpay_worker::webhooks::{Addresses, Lookup, Message, Outcome, Sender, SigningSecret};

use super::receiver::Receiver;
use super::{WEBHOOKS, endpoint, rows, service, until_attempts};
use crate::harness::service::TestService;

/// The defaults, with these lines of `[webhooks]`.
fn config(lines: &str) -> Config {
    Config::from_toml_str(&format!("[webhooks]\n{lines}\n")).unwrap()
}

#[test]
fn what_is_not_on_the_internet_is_refused_however_it_is_written() {
    let rules = config("allow_http = true").webhooks;
    for inside in [
        "http://127.0.0.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://0177.0.0.1/",
        "http://0x7f.1/",
        "http://0x7f000001/",
        "http://0.0.0.0/",
        "http://10.1.2.3/",
        "http://172.16.0.1/",
        "http://172.31.255.255/",
        "http://192.168.1.1/",
        "http://100.64.0.1/",
        "http://100.100.100.200/",
        "http://169.254.169.254/latest/meta-data/",
        "http://192.0.0.192/",
        "http://192.0.2.1/",
        "http://198.18.0.1/",
        "http://198.51.100.1/",
        "http://203.0.113.1/",
        "http://224.0.0.1/",
        "http://240.0.0.1/",
        "http://255.255.255.255/",
        "http://[::]/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://[::ffff:8.8.8.8]/",
        "http://[::127.0.0.1]/",
        "http://[64:ff9b::127.0.0.1]/",
        "http://[64:ff9b::8.8.8.8]/",
        "http://[64:ff9b:1::a00:1]/",
        "http://[fe80::1]/",
        "http://[fec0::1]/",
        "http://[fc00::1]/",
        "http://[fd00:ec2::254]/",
        "http://[ff02::1]/",
        "http://[2001:db8::1]/",
        "http://[2001::1]/",
        "http://[2002:7f00:1::]/",
        "http://[3fff::1]/",
        "http://[100::1]/",
        "http://localhost/",
        "http://LOCALHOST./",
        "http://api.localhost:8080/",
    ] {
        assert_eq!(parse(inside, &rules), Err(AddressError::Inside), "{inside}");
    }
    for outside in [
        "http://8.8.8.8/",
        "https://[2606:4700::1111]/",
        "https://[2a00::1]:8443/",
        "http://172.32.0.1/",
        "http://100.128.0.1/",
        "https://shop.example.com/hooks?of=wxpay",
    ] {
        assert!(parse(outside, &rules).is_ok(), "{outside}");
    }
}

#[test]
fn an_address_that_is_no_plain_https_url_is_refused() {
    let rules = config("").webhooks;
    for (text, why) in [
        ("http://shop.example.com/", AddressError::NotHttps),
        ("https://user@shop.example.com/", AddressError::UserInfo),
        ("https://user:secret@shop.example.com/", AddressError::UserInfo),
        ("https://shop.example.com/#part", AddressError::Fragment),
        ("ftp://shop.example.com/", AddressError::Unreadable),
        ("file:///etc/passwd", AddressError::Unreadable),
        ("shop.example.com", AddressError::Unreadable),
        ("https://", AddressError::Unreadable),
        ("https://1.2.3.4.5/", AddressError::Unreadable),
    ] {
        assert_eq!(parse(text, &rules), Err(why), "{text}");
    }
    let long = format!("https://shop.example.com/{}", "a".repeat(2048));
    assert_eq!(parse(&long, &rules), Err(AddressError::Unreadable));
}

#[test]
fn a_network_is_opened_by_name_and_no_other() {
    let networks: Vec<IpNet> = vec!["10.1.0.0/16".parse().unwrap(), "fd00:1::/32".parse().unwrap()];
    for (ip, allowed) in [
        ("10.1.2.3", true),
        ("10.2.0.1", false),
        ("::ffff:10.1.2.3", true),
        ("::ffff:10.2.0.1", false),
        ("::ffff:8.8.8.8", false),
        ("fd00:1::5", true),
        ("fd00:2::5", false),
        ("127.0.0.1", false),
        ("8.8.8.8", true),
    ] {
        assert_eq!(is_allowed(ip.parse().unwrap(), &networks), allowed, "{ip}");
    }
    let rules = config("allow_networks = [\"10.1.0.0/16\"]").webhooks;
    assert!(parse("https://10.1.2.3/", &rules).is_ok());
    assert_eq!(parse("https://10.2.0.1/", &rules), Err(AddressError::Inside));
}

/// Answers one list of addresses after the other; the last one for ever.
struct Rotating {
    answers: Mutex<Vec<Vec<IpAddr>>>,
    asked: AtomicUsize,
}

impl Rotating {
    fn new(answers: &[&[&str]]) -> Arc<Rotating> {
        let parsed = answers.iter().rev().map(|list| list.iter().map(|ip| ip.parse().unwrap()).collect());
        Arc::new(Rotating { answers: Mutex::new(parsed.collect()), asked: AtomicUsize::new(0) })
    }
}

impl Lookup for Rotating {
    fn lookup(&self, name: String) -> Addresses {
        assert_eq!(name, "hooks.example.com");
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut answers = self.answers.lock().unwrap();
        let next = if answers.len() > 1 { answers.pop() } else { answers.last().cloned() };
        Box::pin(async move { next.ok_or_else(|| io::Error::other("no such name")) })
    }
}

fn sender(lines: &str, lookup: &Arc<Rotating>) -> Sender {
    let config = config(&format!("key = \"0123456789abcdefghijklmnopqrstuv\"\nallow_http = true\n{lines}"));
    Sender::with_lookup(ConfigHandle::new(config), Arc::<Rotating>::clone(lookup)).unwrap()
}

async fn post(sender: &Sender, port: u16) -> wxpay_worker::webhooks::Answer {
    let message = Message { id: "m".into(), body: "{}".into() };
    let url = format!("http://hooks.example.com:{port}/hook");
    sender.post(&url, &[SigningSecret::random()], &message, Timestamp::from_ms(0)).await
}

#[tokio::test]
async fn the_address_that_was_checked_is_the_one_that_is_connected_to() {
    // The same port at both: only the address decides where the request goes. The one that is chosen comes from
    // 127.0.0.1, where other tests have theirs; nothing else listens at 127.0.0.2.
    let other = Receiver::on("127.0.0.1:0").await;
    let allowed = Receiver::on(&format!("127.0.0.2:{}", other.port())).await;
    let lookup = Rotating::new(&[&["127.0.0.2"], &["127.0.0.1"]]);
    let sender = sender("allow_networks = [\"127.0.0.2/32\"]", &lookup);
    assert_eq!(post(&sender, allowed.port()).await.outcome, Outcome::Delivered);
    assert_eq!((allowed.received().len(), lookup.asked.load(Ordering::Relaxed)), (1, 1), "one lookup");
    // A name that is another address by now: the kept connection is of the address that was checked, a new one is not
    // made.
    let fresh = self::sender("allow_networks = [\"127.0.0.2/32\"]", &Rotating::new(&[&["127.0.0.1"]]));
    let refused = post(&fresh, allowed.port()).await;
    assert_eq!((refused.outcome, refused.status), (Outcome::AddressRefused, None));
    assert!(!refused.error.unwrap().contains("127.0.0.1"), "the error names no address");
    // Of several, only those that are allowed.
    let mixed = self::sender("allow_networks = [\"127.0.0.2/32\"]", &Rotating::new(&[&["127.0.0.1", "127.0.0.2"]]));
    assert_eq!(post(&mixed, allowed.port()).await.outcome, Outcome::Delivered);
    assert_eq!((allowed.received().len(), other.received().len()), (2, 0));
}

#[tokio::test]
async fn an_address_whose_name_leads_inside_is_refused_before_it_is_stored() {
    let lookup = Rotating::new(&[&["10.0.0.7"]]);
    let sender = sender("", &lookup);
    assert_eq!(sender.check("http://hooks.example.com/").await, Err(AddressError::Inside));
    let none = self::sender("", &Rotating::new(&[]));
    assert_eq!(none.check("http://hooks.example.com/").await, Ok(()), "it may get an address later");
    assert_eq!(post(&none, 80).await.outcome, Outcome::NoAddress);
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_is_not_followed() {
    let (receiver, inside) = (Receiver::start().await, Receiver::start().await);
    let to = inside.url.clone();
    receiver.answer(move |_| axum::response::Redirect::temporary(&to).into_response());
    let lookup = Rotating::new(&[&["127.0.0.1"]]);
    let sender = sender("allow_networks = [\"127.0.0.0/8\"]", &lookup);
    let answer = post(&sender, receiver.port()).await;
    assert_eq!((answer.outcome, answer.status), (Outcome::Redirect, Some(307)));
    assert!(inside.received().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_setting_no_endpoint_of_this_host_is_taken_or_called() {
    let service = service().in_process().await;
    let receiver = Receiver::start().await;
    let made = endpoint(&service, &receiver.url, &["order.payable"]).await;
    // Closed again, an endpoint that was stored before is not called either.
    let mut service = service;
    service.put_in_force(|config| config.webhooks.allow_networks.clear());
    service.place("A100001").await;
    let attempts = until_attempts(&service, &made, 1, "address_refused").await;
    assert_eq!(attempts[0]["answer"], json!(null));
    assert!(receiver.received().is_empty());
    for url in [receiver.url.as_str(), "http://169.254.169.254/", "http://2130706433/"] {
        let (status, problem) = service.post(WEBHOOKS, &json!({"url": url})).await;
        assert_eq!((status, &problem["errors"][0]["pointer"]), (400, &json!("/url")), "{problem}");
    }
    assert_eq!(rows(&service, &made, "deliveries").await.len(), 1);
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn https_is_required_unless_the_setting_says_otherwise() {
    let service = TestService::new().config(&super::CONFIG.replace("allow_http = true", "")).in_process().await;
    let (status, problem) = service.post(WEBHOOKS, &json!({"url": "http://127.0.0.1:9/"})).await;
    assert_eq!(status, 400);
    assert!(problem["errors"][0]["message"].as_str().unwrap().contains("allow_http"), "{problem}");
    service.finish().await;
}
