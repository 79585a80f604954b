//! One notification on its way over the wire.
//!
//! WeChat counts a notification as taken only when the merchant answers HTTP 200 with `return_code` SUCCESS within five
//! seconds; redirects are not followed.

use std::time::Duration;

use crate::sandbox::ledger::record::Outcome;
use crate::wechat::v2::xml;

const TIMEOUT: Duration = Duration::from_secs(5);
/// How much of the merchant's answer is read, in bytes. A SUCCESS fits many times.
const ANSWER_LIMIT: usize = 8 * 1024;
/// How much of it the ledger keeps, in characters.
const ANSWER_KEPT: usize = 512;

/// The HTTP client that posts to merchants.
pub(in crate::sandbox) struct Sender(reqwest::Client);

/// How one attempt ended.
pub(super) struct Answer {
    pub outcome: Outcome,
    pub http_status: Option<u16>,
    pub text: Option<String>,
}

impl Sender {
    /// No proxy, no redirects, five seconds.
    pub fn new() -> Result<Sender, String> {
        reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent("Mozilla/4.0")
            .build()
            .map(Sender)
            .map_err(|error| error.to_string())
    }

    /// Posts one notification and reads the merchant's answer.
    pub(super) async fn post(&self, url: &str, request_id: &str, body: Vec<u8>) -> Answer {
        let sent = self
            .0
            .post(url)
            .header("Content-Type", "text/xml")
            .header("Request-ID", request_id)
            .body(body)
            .send()
            .await;
        let mut response = match sent {
            Ok(response) => response,
            Err(error) => return Answer { outcome: broken(&error), http_status: None, text: None },
        };
        let status = response.status().as_u16();
        let mut bytes = Vec::new();
        while bytes.len() < ANSWER_LIMIT {
            match response.chunk().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => return Answer { outcome: broken(&error), http_status: Some(status), text: None },
            }
        }
        let outcome = match status {
            200 if says_success(&bytes) => Outcome::Acknowledged,
            200 => Outcome::Refused,
            _ => Outcome::HttpError,
        };
        let text = String::from_utf8_lossy(&bytes).chars().take(ANSWER_KEPT).collect();
        Answer { outcome, http_status: Some(status), text: Some(text) }
    }
}

fn broken(error: &reqwest::Error) -> Outcome {
    if error.is_timeout() { Outcome::Timeout } else { Outcome::Unreachable }
}

fn says_success(answer: &[u8]) -> bool {
    xml::parse(answer).is_ok_and(|fields| fields.get("return_code").is_some_and(|code| code == "SUCCESS"))
}
