//! Mail to operators: events as lines of text, many of them in one mail, over SMTP with TLS.
//!
//! What must stay true: nothing is sent without TLS; the password is in no error, log or row, also where a server
//! repeats it; the same events have the same Message-ID and others have another one, so that a mailbox that drops
//! repeats drops no event.

use std::error::Error;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::response::Response;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use serde_json::Value;

use super::address::{AddressError, MAX_BYTES, RECIPIENTS};
use super::answer::{Answer, Outcome};
use super::text::{Line, line};
use crate::config::{Smtp, Webhooks};
use crate::secret::sha256_hex;
use crate::store::MAILTO;

/// The longest subject, in characters.
const SUBJECT_MAX: usize = 120;
/// Of a server's words, so much is kept.
const ANSWER_CHARS: usize = 500;

/// The addresses of `mailto:ops@example.com,finance@example.com`.
fn recipients(text: &str) -> Result<Vec<Address>, AddressError> {
    let listed = text.strip_prefix(MAILTO).filter(|_| text.len() <= MAX_BYTES).ok_or(AddressError::Mailto)?;
    // What a URL gives a meaning of its own is in no address here.
    if !listed.bytes().all(|b| b.is_ascii_alphanumeric() || b"@.,_+-= ".contains(&b)) {
        return Err(AddressError::Mailto);
    }
    let listed = listed.split(',');
    let parsed: Result<Vec<Address>, _> = listed.map(|one| one.trim().parse::<Address>()).collect();
    let parsed = parsed.map_err(|_| AddressError::Mailto)?;
    if (1..=RECIPIENTS).contains(&parsed.len()) { Ok(parsed) } else { Err(AddressError::Mailto) }
}

/// Checks what an endpoint of mails is to have for its address; answers it as it is stored.
pub fn parse(text: &str) -> Result<String, AddressError> {
    let all: Vec<String> = recipients(text)?.iter().map(ToString::to_string).collect();
    Ok(format!("{MAILTO}{}", all.join(",")))
}

/// Mails these events; answers what came of it and how many bytes the mail has.
pub(super) async fn send(settings: &Webhooks, url: &str, events: &[Value]) -> (Answer, usize) {
    let Some(smtp) = &settings.smtp else {
        let why = "webhooks.smtp_url is not configured: there is no mail server";
        return (Answer::unsent(Outcome::NoMailServer, why), 0);
    };
    let (mail, transport) = match prepared(smtp, settings.timeout, url, events).await {
        Ok(prepared) => prepared,
        Err(answer) => return (answer, 0),
    };
    let bytes = mail.formatted().len();
    let answer = match tokio::time::timeout(settings.timeout, transport.send(mail)).await {
        Ok(Ok(response)) => taken(smtp, &response),
        Ok(Err(error)) => refused(smtp, &error),
        Err(_) => Answer::unsent(Outcome::Timeout, "no answer in time"),
    };
    (answer, bytes)
}

type Transport = AsyncSmtpTransport<Tokio1Executor>;

async fn prepared(smtp: &Smtp, timeout: Duration, url: &str, events: &[Value]) -> Result<(Message, Transport), Answer> {
    let to = recipients(url).map_err(Answer::refused)?;
    let mail = compose(smtp, to, events)?;
    Ok((mail, transport(smtp, timeout).await?))
}

fn compose(smtp: &Smtp, to: Vec<Address>, events: &[Value]) -> Result<Message, Answer> {
    let unusable = |what: &str| Answer::unsent(Outcome::NoMailServer, what);
    let from = smtp.from.parse::<Mailbox>().map_err(|_| unusable("webhooks.smtp_from is not an address of mail"))?;
    let id = message_id(events, from.email.domain());
    let lines: Vec<Line> = events.iter().map(line).collect();
    let automatic = HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
    let mut mail = Message::builder().from(from).message_id(Some(id)).subject(subject(&lines)).raw_header(automatic);
    for address in to {
        mail = mail.to(Mailbox::new(None, address));
    }
    // A line may be longer than SMTP takes, and is not ASCII.
    let mail = mail.header(ContentType::TEXT_PLAIN).header(ContentTransferEncoding::Base64);
    mail.body(text(events, &lines)).map_err(|_| unusable("the mail cannot be written"))
}

/// Of one event its id, of several a hash of theirs.
fn message_id(events: &[Value], domain: &str) -> String {
    let ids: Vec<&str> = events.iter().map(|event| event["id"].as_str().unwrap_or_default()).collect();
    match ids.as_slice() {
        [one] if one.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') && !one.is_empty() => {
            format!("<{one}@{domain}>")
        }
        several => format!("<{}@{domain}>", &sha256_hex(several.join("\n").as_bytes())[..32]),
    }
}

/// What the first event is that needs a person, or the first of all, and how many more there are.
fn subject(lines: &[Line]) -> String {
    let shown = lines.iter().find(|line| line.needs_person).or(lines.first());
    let mut parts = vec!["wxpay".to_owned()];
    if let Some(line) = shown {
        parts.push(format!("{} {}", line.word, line.fact));
        parts.extend(line.about.iter().cloned());
    }
    let subject: String = parts.join(" · ").chars().take(SUBJECT_MAX).collect();
    match lines.len().saturating_sub(1) {
        0 => subject,
        more => format!("{subject} (+{more})"),
    }
}

fn text(events: &[Value], lines: &[Line]) -> String {
    let mut text = String::new();
    for (event, line) in events.iter().zip(lines) {
        let mark = if line.needs_person { "! " } else { "" };
        let head = format!("{mark}{} {}", line.word, line.fact);
        let parts = [vec![head], line.about.clone(), line.details.clone()].concat().join(" · ");
        let id = event["id"].as_str().unwrap_or_default();
        text.push_str(&format!("{parts}\r\n  id {id}\r\n\r\n"));
    }
    text
}

async fn transport(smtp: &Smtp, timeout: Duration) -> Result<Transport, Answer> {
    let no_tls = |what: &str| Answer::unsent(Outcome::NotConnected, what);
    let mut tls = TlsParameters::builder(smtp.host.clone());
    if let Some(file) = &smtp.ca_file {
        let unreadable = "webhooks.smtp_ca_file cannot be read";
        let pem = tokio::fs::read(file).await.map_err(|_| no_tls(unreadable))?;
        let authority = Certificate::from_pem(&pem).map_err(|_| no_tls(unreadable))?;
        tls = tls.certificate_store(CertificateStore::None).add_root_certificate(authority);
    }
    let tls = tls.build_rustls().map_err(|_| no_tls("TLS cannot be set up"))?;
    let tls = if smtp.is_starttls { Tls::Required(tls) } else { Tls::Wrapper(tls) };
    let mut builder = Transport::builder_dangerous(smtp.host.clone()).port(smtp.port).tls(tls).timeout(Some(timeout));
    if let Some((user, password)) = &smtp.login {
        builder = builder.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
    }
    Ok(builder.build())
}

fn taken(smtp: &Smtp, response: &Response) -> Answer {
    let words = response.message().collect::<Vec<_>>().join(" ");
    let body = words_of(smtp, &words);
    Answer {
        outcome: Outcome::Delivered,
        status: Some(response.code().into()),
        error: None,
        retry_after: None,
        body,
        took: Duration::ZERO,
    }
}

fn refused(smtp: &Smtp, error: &lettre::transport::smtp::Error) -> Answer {
    if let Some(code) = error.status() {
        let code = u16::from(code);
        let words = error.source().map(ToString::to_string).unwrap_or_default();
        let (status, body) = (Some(code), words_of(smtp, &words));
        return Answer { status, body, ..Answer::unsent(Outcome::Refused, format!("the mail server answered {code}")) };
    }
    if error.is_timeout() {
        Answer::unsent(Outcome::Timeout, "no answer in time")
    } else if error.is_client() {
        Answer::unsent(Outcome::NotConnected, "the mail server offers no STARTTLS, or no way to log in that is known")
    } else {
        Answer::unsent(Outcome::NotConnected, "no connection, or its TLS certificate does not verify")
    }
}

/// A server's words without control characters; none where they repeat the password.
fn words_of(smtp: &Smtp, words: &str) -> Option<String> {
    let is_secret = smtp.login.as_ref().is_some_and(|(user, password)| {
        let password = password.expose();
        let encoded = [STANDARD.encode(password), STANDARD.encode(format!("\0{user}\0{password}"))];
        words.contains(password) || encoded.iter().any(|text| words.contains(text))
    });
    let plain = words.chars().take(ANSWER_CHARS).map(|c| if c.is_control() { ' ' } else { c });
    let plain = plain.collect::<String>().trim().to_owned();
    Some(plain).filter(|text| !is_secret && !text.is_empty())
}
