//! Mails: what people are mailed, how often, over what, and what becomes of the password.

use serde_json::{Value, json};
use wxpay_worker::ids::OpenId;

use super::smtp::{MailServer, PASSWORD, USER};
use crate::harness::service::{InProcess, OPENID, TestService};
use crate::harness::sql::texts;
use crate::webhooks::{CONFIG, WEBHOOKS, get, path, rows, until, until_attempts};

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
    until(&service, &made, "five that wait", |found| found["pending"] == 5).await;
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
    let server = MailServer::starttls().await;
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
    // One whose certificate is for another name, one whose authority is unknown, one that has TLS where STARTTLS is
    // expected.
    let (misnamed, unknown, late) =
        (MailServer::of(false, "mail.example.net").await, MailServer::start().await, MailServer::starttls().await);
    let no_authority = |config: String| {
        let lines = config.lines().filter(|line| !line.starts_with("smtp_ca_file"));
        lines.fold(String::new(), |all, line| all + line + "\n")
    };
    for (server, config) in [
        (&misnamed, misnamed.config()),
        (&unknown, no_authority(unknown.config())),
        (&late, late.config().replace("smtp://", "smtps://")),
    ] {
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
