//! Mails: what people are mailed, how often, over what, and what becomes of the password.

use serde_json::{Value, json};
use wxpay_worker::ids::OpenId;

use super::smtp::{MailServer, PASSWORD, USER};
use crate::ctl::support::{run, wxpayctl};
use crate::harness::service::{API_KEY, InProcess, OPENID, TestService};
use crate::harness::sql::texts;
use crate::webhooks::receiver::Receiver;
use crate::webhooks::{CONFIG, WEBHOOKS, get, path, rows, until, until_at_once, until_attempts, until_number_at_once};

const OPS: &str = "mailto:ops@example.com";

fn service(more: &str) -> TestService {
    TestService::new().config(&format!("{CONFIG}{more}"))
}

async fn endpoint(service: &InProcess, url: &str, events: &[&str]) -> Value {
    let (status, made) = service.post(WEBHOOKS, &json!({"format": "mail", "url": url, "events": events})).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!((&made["format"], &made["url"], &made["secret"]), (&json!("mail"), &json!(url), &Value::Null), "{made}");
    made
}

/// The ids of the events that a mail is about.
fn ids(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("  id ")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_mailed_once_and_what_follows_within_a_minute_is_one_mail() {
    let server = MailServer::start().await;
    let service = service(&server.config()).in_process().await;
    let both = "mailto:ops@example.com,finance@example.com";
    let made = endpoint(&service, both, &["order.paid"]).await;
    service.paid("MAIL0001").await;
    let first = server.until(1).await.remove(0);
    assert_eq!((first.from.as_str(), &first.to), (USER, &vec!["ops@example.com".into(), "finance@example.com".into()]));
    assert_eq!(first.header("From"), format!("wxpay <{USER}>"));
    assert_eq!(first.header("Auto-Submitted"), "auto-generated");
    assert_eq!(first.subject(), "wxpay · 已支付 order.paid · main · MAIL0001");
    let text = first.text();
    for part in ["已支付 order.paid", "main", "MAIL0001", "¥1.00"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let openid = OpenId::parse(OPENID).unwrap();
    assert!(!text.contains(openid.as_str()), "{text}");
    // The event's id is the mail's.
    let event_id = rows(&service, &made, "deliveries").await[0]["event_id"].as_str().unwrap().to_owned();
    assert_eq!(ids(&text), [event_id.as_str()]);
    assert_eq!(first.header("Message-ID"), format!("<{event_id}@example.com>"));
    for n in 2..=6 {
        service.paid(&format!("MAIL000{n}")).await;
    }
    until_at_once(&service, &made, "five that wait", |found| found["pending"] == 5).await;
    service.skip(30);
    // Another endpoint does not wait for it.
    let other = endpoint(&service, "mailto:other@example.com", &["order.payable"]).await;
    service.place("MAIL0007").await;
    assert_eq!(server.until(2).await[1].to, ["other@example.com"]);
    assert_eq!(get(&service, &made).await["pending"], 5);
    service.skip(30);
    let all = server.until(3).await.remove(2);
    assert_eq!(all.subject(), "wxpay · 已支付 order.paid · main · MAIL0002 (+4)");
    let text = all.text();
    for n in 2..=6 {
        assert!(text.contains(&format!("MAIL000{n}")), "{n}: {text}");
    }
    assert_eq!(ids(&text).len(), 5);
    let id = all.header("Message-ID");
    assert!(id.ends_with("@example.com>") && !ids(&text).iter().any(|one| id.contains(one)), "{id}");
    let attempts = until_attempts(&service, &made, 6, "delivered").await;
    assert_eq!(attempts[0]["answer"], json!({"status": 250, "body": "2.0.0 queued as 4711"}), "{attempts:?}");
    until_attempts(&service, &other, 1, "delivered").await;
    assert_eq!(server.taken().len(), 3);
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_that_is_not_taken_is_sent_again_and_is_known_by_its_id() {
    let server = MailServer::start().await;
    let service = service(&server.config()).in_process().await;
    server.answer_recipients("450 4.2.0 greylisted");
    let made = endpoint(&service, OPS, &["order.paid"]).await;
    service.paid("MAIL0101").await;
    let attempts = until_attempts(&service, &made, 1, "refused").await;
    assert_eq!(attempts[0]["error"], "the mail server answered 450");
    assert_eq!(attempts[0]["answer"], json!({"status": 450, "body": "4.2.0 greylisted"}));
    assert!(get(&service, &made).await["failing_since"].is_string(), "it counts against the endpoint");
    server.answer_recipients("250 ok");
    server.answer("554 5.7.1 spam");
    service.skip(61);
    until_attempts(&service, &made, 2, "refused").await;
    server.answer("250 ok");
    service.skip(120);
    let mail = server.until(1).await.remove(0);
    until_attempts(&service, &made, 1, "delivered").await;
    let delivery = rows(&service, &made, "deliveries").await.remove(0);
    assert_eq!(mail.header("Message-ID"), format!("<{}@example.com>", delivery["event_id"].as_str().unwrap()));
    assert_eq!((&delivery["attempts"], &delivery["state"]), (&json!(3), &json!("delivered")), "{delivery}");
    assert_eq!(server.taken().len(), 1);
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_without_tls_or_to_a_server_whose_certificate_does_not_verify() {
    // One whose certificate is for another name, one whose authority is unknown, one that has no TLS.
    let (misnamed, unknown, plain) =
        (MailServer::of(false, "mail.example.net").await, MailServer::start().await, MailServer::plain().await);
    let no_authority = |config: String| {
        let lines = config.lines().filter(|line| !line.starts_with("smtp_ca_file"));
        lines.fold(String::new(), |all, line| all + line + "\n")
    };
    for (server, config) in
        [(&misnamed, misnamed.config()), (&unknown, no_authority(unknown.config())), (&plain, plain.config())]
    {
        let service = service(&config).in_process().await;
        let made = endpoint(&service, OPS, &["order.paid"]).await;
        let (status, tested) = service.post(&format!("{}/test", path(&made)), &json!({})).await;
        assert_eq!((status, &tested["outcome"]), (200, &json!("not_connected")), "{tested}");
        assert!(server.connections() > 0 && server.taken().is_empty(), "{:?}", server.taken());
        service.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_password_is_shown_nowhere_also_where_the_server_repeats_it() {
    let server = MailServer::start().await;
    let wrong = "wr0ng-horse of the mail tests";
    std::fs::write(server.file("password"), wrong).unwrap();
    let service = service(&server.config()).in_process().await;
    let made = endpoint(&service, OPS, &["order.paid"]).await;
    service.paid("MAIL0201").await;
    let attempts = until_attempts(&service, &made, 1, "refused").await;
    assert_eq!(
        (&attempts[0]["error"], &attempts[0]["answer"]),
        (&json!("the mail server answered 535"), &json!({"status": 535, "body": null}),)
    );
    // It is our server's word, not the recipients': an expired password disables no endpoint.
    assert_eq!(get(&service, &made).await["failing_since"], Value::Null);
    let shown = format!("{:?}", service.in_force.snapshot().webhooks);
    assert!(shown.contains("127.0.0.1") && !shown.contains(wrong) && !shown.contains(PASSWORD), "{shown}");
    let encoded = {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(format!("\0{USER}\0{wrong}"))
    };
    for (table, columns) in [
        ("webhook_endpoints", "url || secret"),
        ("webhook_attempts", "url || COALESCE(error, '') || COALESCE(answer, '')"),
        ("audit", "COALESCE(reason, '') || COALESCE(subject, '')"),
    ] {
        for text in texts(service.store.db(), &format!("SELECT {columns} FROM {table}")).await {
            assert!(!text.contains(wrong) && !text.contains(&encoded), "{table}: {text}");
        }
    }
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_are_checked_and_without_a_server_there_is_no_endpoint() {
    let server = MailServer::start().await;
    let with = service(&server.config()).in_process().await;
    let eleven = format!("mailto:{}", ["a@example.com"; 11].join(","));
    for wrong in [
        "ops@example.com",
        "mailto:",
        "mailto:ops",
        "mailto:ops@example.com?subject=x",
        "https://example.com",
        "mailto:ops@example.com,",
        "mailto:a@example.com\u{7f}",
        "mailto:ops@example.net",
        "mailto:ops@example.com,me@sub.example.com",
        &eleven,
    ] {
        let (status, problem) = with.post(WEBHOOKS, &json!({"format": "mail", "url": wrong})).await;
        assert_eq!((status, &problem["errors"][0]["pointer"]), (400, &json!("/url")), "{wrong}: {problem}");
    }
    // No address of mails is one of events, and the other way round; there is nothing to rotate.
    let (status, _) = with.post(WEBHOOKS, &json!({"url": OPS})).await;
    assert_eq!(status, 400);
    let made = endpoint(&with, OPS, &[]).await;
    let (status, problem) = with.post(&format!("{}/rotate", path(&made)), &json!({})).await;
    assert_eq!(status, 400, "{problem}");
    let (status, changed) = with.send_json("PATCH", &path(&made), &json!({"url": "mailto: b@example.com"})).await;
    assert_eq!((status, &changed["url"]), (200, &json!("mailto:b@example.com")), "{changed}");
    let (status, _) = with.send_json("PATCH", &path(&made), &json!({"url": "https://example.com"})).await;
    assert_eq!(status, 400);
    // A version before takes it for a robot's, whose key it cannot open.
    assert_eq!(texts(with.store.db(), "SELECT format || secret FROM webhook_endpoints").await, ["wecom"]);
    with.finish().await;
    let without = service("").in_process().await;
    let (status, problem) = without.post(WEBHOOKS, &json!({"format": "mail", "url": OPS})).await;
    assert_eq!((status, &problem["errors"][0]["pointer"]), (400, &json!("/url")), "{problem}");
    without.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_is_a_message_like_others_and_no_two_come_within_a_minute() {
    let server = MailServer::start().await;
    let service = service(&server.config()).in_process().await;
    let made = endpoint(&service, OPS, &["order.paid"]).await;
    let test = format!("{}/test", path(&made));
    let (status, tested) = service.post(&test, &json!({})).await;
    // The server answers no goodbye: what it took was taken all the same.
    assert_eq!((status, &tested["outcome"]), (200, &json!("delivered")), "{tested}");
    let (status, problem) = service.post(&test, &json!({})).await;
    assert_eq!((status, &problem["code"]), (429, &json!("rate_limited")), "{problem}");
    service.skip(60);
    assert_eq!(service.post(&test, &json!({})).await.0, 200);
    // An address whose domain was taken out of the configuration gets nothing.
    service.run_sql("UPDATE webhook_endpoints SET url = 'mailto:ops@example.net'").await;
    service.skip(60);
    let (status, tested) = service.post(&test, &json!({})).await;
    assert_eq!((status, &tested["outcome"]), (200, &json!("address_refused")), "{tested}");
    assert_eq!(server.taken().len(), 2);
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_one_order_are_one_mail_and_a_repeat_has_the_same_id() {
    let server = MailServer::start().await;
    let service = service(&server.config()).in_process().await;
    let made = endpoint(&service, OPS, &["order.payable", "order.paid"]).await;
    service.place("MAIL0301").await;
    server.until(1).await;
    until_attempts(&service, &made, 1, "delivered").await;
    service.paid("MAIL0302").await;
    service.place("MAIL0303").await;
    until_at_once(&service, &made, "three that wait", |found| found["pending"] == 3).await;
    server.answer("451 4.3.0 later");
    service.skip(60);
    let waits = "SELECT COUNT(*) FROM webhook_deliveries WHERE state = 'pending' AND tries = 1";
    until_number_at_once(&service, "all of them were refused", waits, 3).await;
    // They come back at one time, whatever the pause is.
    let times = "SELECT COUNT(DISTINCT due_at_ms) FROM webhook_deliveries WHERE state = 'pending'";
    assert_eq!(service.number(times).await, 1);
    server.answer("250 ok");
    service.skip(61);
    let all = server.until(2).await.remove(1);
    let text = all.text();
    let found: Vec<usize> = ["MAIL0302", "MAIL0303"].iter().map(|order| text.matches(order).count()).collect();
    assert_eq!((ids(&text).len(), found), (3, vec![2, 1]), "{text}");
    let offered: Vec<String> = server.offered().iter().map(|mail| mail.header("Message-ID")).collect();
    assert_eq!(offered.len(), 3, "{offered:?}");
    assert_eq!(offered[1], offered[2]);
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_mail_server_what_waits_goes_on_waiting() {
    let service = service("").in_process().await;
    let shop = Receiver::start().await;
    let made = crate::webhooks::endpoint(&service, &shop.url, &["order.paid"]).await;
    // As another process made it that has one.
    service.run_sql("UPDATE webhook_endpoints SET format = 'wecom', url = 'mailto:ops@example.com', secret = ''").await;
    crate::webhooks::endpoint(&service, &shop.url, &["order.paid"]).await;
    for n in 1..=3_usize {
        service.paid(&format!("MAIL040{n}")).await;
        shop.until(n).await;
        service.skip(13 * 3600);
    }
    let found = until(&service, &made, "three that wait", |found| found["pending"] == 3).await;
    assert_eq!((&found["failed"], &found["attempts"]["total"]), (&json!(0), &json!(0)), "{found}");
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_password_is_in_no_log_of_a_process() {
    let server = MailServer::start().await;
    let wrong = "wr0ng-horse of the mail tests";
    std::fs::write(server.file("password"), wrong).unwrap();
    let service = TestService::new().config(&format!("{CONFIG}{}", server.config())).processes().await;
    let all = service.run_all().await;
    let body = json!({"format": "mail", "url": OPS, "events": ["order.paid"], "merchant": "main"});
    let (status, made) = service.post(&all.base, WEBHOOKS, &body).await;
    assert_eq!(status, 201, "{made}");
    let (status, tested) = service.post(&all.base, &format!("{}/test", path(&made)), &json!({})).await;
    assert_eq!((status, &tested["outcome"]), (200, &json!("refused")), "{tested}");
    assert!(all.terminate().await.success());
    let logs = service.logs();
    assert!(!logs.is_empty() && !logs.contains(wrong) && !logs.contains(PASSWORD), "{logs}");
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_that_makes_one_says_nothing_of_a_robot() {
    let server = MailServer::start().await;
    let service = service(&server.config()).in_process().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("api-key");
    std::fs::write(&file, API_KEY).unwrap();
    let mut command = wxpayctl(&["webhooks", "new", OPS, "--format", "mail", "--events", "order.paid"]);
    command.env("WXPAYCTL_URL", &service.base).env("WXPAYCTL_KEY_FILE", &file);
    let made = run(command).await;
    assert_eq!(made.code, 0, "{}", made.err);
    assert!(made.err.contains("wxpayctl webhooks test") && !made.err.contains("robot"), "{}", made.err);
    service.finish().await;
}
