//! Mail to operators: events as lines of text, many of them in one mail, over SMTP with TLS.
//!
//! What must stay true: nothing is sent without TLS from the first byte on; nothing goes to a domain that is not
//! configured; a mail that was taken is not one that failed, whatever follows; the password is in no error, log or row,
//! also where a server repeats it; the same events have the same Message-ID and others have another one, so that a
//! mailbox that drops repeats drops no event.

use std::error::Error;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lettre::Address;
use lettre::address::Envelope;
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;
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
/// How long a server's answer to a whole mail is awaited: until then it may have been taken.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(60);
/// How long a goodbye is.
const PARTING: Duration = Duration::from_secs(5);
/// The server's word for going away, whatever it was asked.
const CLOSING: u16 = 421;

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

/// The addresses, if all of them are in domains that may be mailed to.
fn allowed(smtp: &Smtp, url: &str) -> Result<Vec<Address>, AddressError> {
    let to = recipients(url)?;
    let is_allowed = |address: &Address| smtp.domains.iter().any(|one| one.eq_ignore_ascii_case(address.domain()));
    if to.iter().all(is_allowed) { Ok(to) } else { Err(AddressError::MailDomain) }
}

/// Checks what an endpoint of mails is to have for its address; answers it as it is stored.
pub fn parse(text: &str, smtp: &Smtp) -> Result<String, AddressError> {
    let all: Vec<String> = allowed(smtp, text)?.iter().map(ToString::to_string).collect();
    Ok(format!("{MAILTO}{}", all.join(",")))
}

/// Mails these events; answers what came of it and how many bytes the mail has.
pub(super) async fn send(settings: &Webhooks, url: &str, events: &[Value]) -> (Answer, usize) {
    let Some(smtp) = &settings.smtp else {
        let why = "webhooks.smtp_url is not configured: there is no mail server";
        return (Answer::unsent(Outcome::NoMailServer, why), 0);
    };
    let mail = match allowed(smtp, url).map_err(Answer::refused).and_then(|to| compose(smtp, to, events)) {
        Ok(mail) => mail,
        Err(answer) => return (answer, 0),
    };
    let bytes = mail.formatted();
    let begun = tokio::time::timeout(settings.timeout, begun(smtp, settings.timeout, mail.envelope())).await;
    let mut connection = match begun {
        Ok(Ok(connection)) => connection,
        Ok(Err(answer)) => return (answer, bytes.len()),
        Err(_) => return (late(), bytes.len()),
    };
    // From here on the server may have the mail, and its answer is worth more time.
    let answer = match tokio::time::timeout(ANSWER_TIME, connection.message(&bytes)).await {
        Ok(Ok(response)) => taken(smtp, &response),
        Ok(Err(error)) => refused(smtp, &error, false),
        Err(_) => late(),
    };
    part(connection);
    (answer, bytes.len())
}

fn late() -> Answer {
    Answer { is_ours: true, ..Answer::unsent(Outcome::Timeout, "no answer in time") }
}

/// A connection on which the mail's text is awaited.
async fn begun(smtp: &Smtp, time: Duration, envelope: &Envelope) -> Result<AsyncSmtpConnection, Answer> {
    let tls = tls(smtp).await?;
    let (server, hello) = ((smtp.host.as_str(), smtp.port), ClientId::default());
    let connected = AsyncSmtpConnection::connect_tokio1(server, Some(time), &hello, Some(tls), None).await;
    let mut connection = connected.map_err(|error| refused(smtp, &error, true))?;
    match introduced(smtp, envelope, &mut connection).await {
        Ok(()) => Ok(connection),
        Err((error, is_ours)) => {
            part(connection);
            Err(refused(smtp, &error, is_ours))
        }
    }
}

/// Up to the mail's text; or the error, and whether it is one of our server or our name instead of the recipients.
async fn introduced(
    smtp: &Smtp,
    envelope: &Envelope,
    connection: &mut AsyncSmtpConnection,
) -> Result<(), (SmtpError, bool)> {
    if let Some((user, password)) = &smtp.login {
        let login = Credentials::new(user.clone(), password.expose().to_owned());
        connection.auth(&[Mechanism::Plain, Mechanism::Login], &login).await.map_err(|error| (error, true))?;
    }
    let from = envelope.from().cloned();
    connection.command(Mail::new(from, Vec::new())).await.map_err(|error| (error, true))?;
    for address in envelope.to() {
        connection.command(Rcpt::new(address.clone(), Vec::new())).await.map_err(|error| (error, false))?;
    }
    connection.command(Data).await.map_err(|error| (error, false))?;
    Ok(())
}

/// Says goodbye, which changes nothing of what was answered, and which is not awaited.
fn part(mut connection: AsyncSmtpConnection) {
    tokio::spawn(async move { tokio::time::timeout(PARTING, connection.abort()).await });
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

async fn tls(smtp: &Smtp) -> Result<TlsParameters, Answer> {
    let no_tls = |what: &str| Answer { is_ours: true, ..Answer::unsent(Outcome::NotConnected, what) };
    let mut tls = TlsParameters::builder(smtp.host.clone());
    if let Some(file) = &smtp.ca_file {
        let unreadable = "webhooks.smtp_ca_file cannot be read";
        let pem = tokio::fs::read(file).await.map_err(|_| no_tls(unreadable))?;
        let authority = Certificate::from_pem(&pem).map_err(|_| no_tls(unreadable))?;
        tls = tls.certificate_store(CertificateStore::None).add_root_certificate(authority);
    }
    tls.build_rustls().map_err(|_| no_tls("TLS cannot be set up"))
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
        is_ours: false,
    }
}

/// What an error means. Only what the server says of recipients and of the mail counts against the endpoint: the server
/// is the same for all of them.
fn refused(smtp: &Smtp, error: &SmtpError, is_ours: bool) -> Answer {
    if let Some(code) = error.status() {
        let code = u16::from(code);
        let words = error.source().map(ToString::to_string).unwrap_or_default();
        let (status, body) = (Some(code), words_of(smtp, &words));
        let is_ours = is_ours || code == CLOSING;
        let answer = Answer::unsent(Outcome::Refused, format!("the mail server answered {code}"));
        return Answer { status, body, is_ours, ..answer };
    }
    let answer = if error.is_timeout() {
        return late();
    } else if error.is_client() {
        Answer::unsent(Outcome::NotConnected, "the mail server offers no way to log in that is known")
    } else {
        Answer::unsent(Outcome::NotConnected, "no connection, or its TLS certificate does not verify")
    };
    Answer { is_ours: true, ..answer }
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
