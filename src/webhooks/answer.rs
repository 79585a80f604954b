//! What came of a message: the receiver's answer, or why there is none. Words of a receiver are kept short and plain.

use std::error::Error;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::address::AddressError;
use crate::clock::Timestamp;

/// Of an answer's body, so much is read and kept.
const ANSWER_BYTES: usize = 1024;

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Status 2xx in time.
    Delivered,
    /// Another status.
    HttpStatus,
    /// 3xx: redirects are not followed.
    Redirect,
    /// 410: the receiver wants no more.
    Gone,
    Timeout,
    /// The address is not one that may be called.
    AddressRefused,
    /// The name has no address.
    NoAddress,
    /// No connection, or no TLS.
    NotConnected,
    /// The connection broke before the answer.
    Broken,
    /// The event was removed before it could be sent.
    EventGone,
    /// The event cannot be read.
    EventUnreadable,
    /// The endpoint's secret was sealed under another key.
    NoSecret,
    /// A robot answered 200 and took no message; a mail server took no mail.
    Refused,
    /// No mail server is configured, or not one that can be used.
    NoMailServer,
}

named!(Outcome {
    Delivered = "delivered",
    HttpStatus = "http_status",
    Redirect = "redirect",
    Gone = "gone",
    Timeout = "timeout",
    AddressRefused = "address_refused",
    NoAddress = "no_address",
    NotConnected = "not_connected",
    Broken = "broken",
    EventGone = "event_gone",
    EventUnreadable = "event_unreadable",
    NoSecret = "no_secret",
    Refused = "refused",
    NoMailServer = "no_mail_server",
});

/// An attempt's end.
#[derive(Debug, Clone)]
pub struct Answer {
    pub outcome: Outcome,
    pub status: Option<u16>,
    /// Why there is no answer, in words that name no address of ours.
    pub error: Option<String>,
    /// How long the receiver wants to be left alone.
    pub retry_after: Option<Duration>,
    /// The beginning of the answer's body.
    pub body: Option<String>,
    pub took: Duration,
    /// Whether the fault is not the receiver's: of our mail server, which all endpoints have in common.
    pub is_ours: bool,
}

impl Answer {
    /// Without anything sent.
    pub fn unsent(outcome: Outcome, error: impl Into<String>) -> Answer {
        let error = Some(error.into());
        Answer { outcome, status: None, error, retry_after: None, body: None, took: Duration::ZERO, is_ours: false }
    }

    pub(super) fn refused(error: AddressError) -> Answer {
        let outcome = match error {
            AddressError::NoAddress => Outcome::NoAddress,
            _ => Outcome::AddressRefused,
        };
        Answer::unsent(outcome, format!("the endpoint's URL {error}"))
    }

    pub(super) fn failed(error: &reqwest::Error) -> Answer {
        let mut cause: Option<&(dyn Error + 'static)> = error.source();
        while let Some(inner) = cause {
            if let Some(refused) = inner.downcast_ref::<AddressError>() {
                return Answer::refused(*refused);
            }
            cause = inner.source();
        }
        if error.is_timeout() {
            Answer::unsent(Outcome::Timeout, "no answer in time")
        } else if error.is_connect() {
            Answer::unsent(Outcome::NotConnected, "no connection, or its TLS certificate does not verify")
        } else {
            Answer::unsent(Outcome::Broken, "the connection broke before the answer")
        }
    }

    /// Reads an answer; of its body the beginning, as far as it comes in time.
    pub(super) async fn of_response(mut response: reqwest::Response, now: Timestamp) -> Answer {
        let status = response.status();
        let retry_after = retry_after(response.headers(), now);
        let mut body = Vec::new();
        while body.len() < ANSWER_BYTES
            && let Ok(Some(chunk)) = response.chunk().await
        {
            body.extend_from_slice(&chunk[..chunk.len().min(ANSWER_BYTES - body.len())]);
        }
        let outcome = outcome(status);
        let error = (outcome != Outcome::Delivered).then(|| format!("the receiver answered {}", status.as_u16()));
        let body = Some(plain(&body)).filter(|body| !body.is_empty());
        let (status, took) = (Some(status.as_u16()), Duration::ZERO);
        Answer { outcome, status, error, retry_after, body, took, is_ours: false }
    }

    pub fn is_success(&self) -> bool {
        self.outcome == Outcome::Delivered
    }
}

fn outcome(status: StatusCode) -> Outcome {
    if status.is_success() {
        Outcome::Delivered
    } else if status.is_redirection() {
        Outcome::Redirect
    } else if status == StatusCode::GONE {
        Outcome::Gone
    } else {
        Outcome::HttpStatus
    }
}

/// Seconds, or a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    Timestamp::parse_http_date(text).ok().map(|at| at.since(now))
}

/// Text without control characters, which would change a terminal or a database's text.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let kept = text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c });
    kept.collect::<String>().trim().to_owned()
}
