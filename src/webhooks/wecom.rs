//! Messages for a group robot of WeCom: events as lines of text, many of them in one message.
//!
//! The robot's key is a secret: it is taken out of the address before anything is stored, is kept sealed as an
//! endpoint's secret is, and is put back where a message is sent. A process of the version before cannot open such a
//! secret: it sends nothing, and what it was to send is sent later.

use serde_json::{Value, json};
use url::Url;

use super::address::AddressError;
use super::answer::{Answer, Outcome};
use super::text;
use super::text::Line;
use crate::secret::Secret;

/// What stands before the key where it is sealed.
const SEALED: &str = "wecom:";
/// The longest text of a message, in bytes.
const CONTENT_MAX: usize = 4096;
/// What is kept of it for the first line.
const TITLE_BYTES: usize = 64;
/// What is kept of it for the last line.
const REST_BYTES: usize = 64;
/// WeCom's word for too many messages in a minute.
const TOO_OFTEN: i64 = 45009;
/// Where robots are.
const HOST: &str = "qyapi.weixin.qq.com";
const PATH: &str = "/cgi-bin/webhook/";
const MINUTE: std::time::Duration = std::time::Duration::from_secs(60);

/// A robot's address and its key.
#[derive(Debug, Clone)]
pub struct Robot {
    /// Without the key: what is stored and shown.
    pub address: String,
    key: Secret,
}

impl Robot {
    /// Of an address as WeCom shows it: `https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=…`.
    pub fn parse(text: &str) -> Result<Robot, AddressError> {
        let mut url = Url::parse(text).map_err(|_| AddressError::Unreadable)?;
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let [(name, key)] = pairs.as_slice() else { return Err(AddressError::NoKey) };
        let is_key = (8..=128).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if name != "key" || !is_key {
            return Err(AddressError::NoKey);
        }
        url.set_query(None);
        Ok(Robot { address: url.to_string(), key: Secret::new(key.as_str()) })
    }

    /// Whether it is an address at WeCom that has a robot's key.
    pub fn is_robots(text: &str) -> bool {
        Url::parse(text).is_ok_and(|url| {
            let host = url.host_str().unwrap_or_default().trim_end_matches('.');
            host == HOST && url.path().starts_with(PATH)
        })
    }

    /// The text to be sealed.
    pub fn sealed_text(&self) -> String {
        format!("{SEALED}{}", self.key.expose())
    }

    /// The robot at this address, from the text that was sealed.
    pub fn of_sealed(address: &str, text: &str) -> Option<Robot> {
        let key = text.strip_prefix(SEALED)?;
        Some(Robot { address: address.to_owned(), key: Secret::new(key) })
    }

    /// Where a message is posted. Never logged, stored or shown.
    pub(super) fn url(&self) -> Secret {
        Secret::new(format!("{}?key={}", self.address, self.key.expose()))
    }
}

/// The body of one message about the first of these events, oldest first, and how many of them it has.
pub fn body(events: &[Value]) -> (String, usize) {
    let (content, reported) = content(events);
    (json!({"msgtype": "markdown", "markdown": {"content": content}}).to_string(), reported)
}

/// As many lines as a message holds, at least one, then how many more there are.
fn content(events: &[Value]) -> (String, usize) {
    let room = CONTENT_MAX - TITLE_BYTES - REST_BYTES;
    let (mut lines, mut reported) = (String::new(), 0);
    for event in events {
        let line = format!("\n> {}", line(event));
        if lines.len() + line.len() <= room {
            lines.push_str(&line);
        } else if reported == 0 {
            lines.push_str(&line[..line.floor_char_boundary(room)]);
        } else {
            break;
        }
        reported += 1;
    }
    let rest = events.len() - reported;
    if rest > 0 {
        lines.push_str(&format!("\n> …另有 {rest} 条 / {rest} more"));
    }
    (format!("**wxpay** {reported} 条 / {reported} event{}{lines}", plural(reported)), reported)
}

fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}

/// What happened in one line: its name, the merchant, the order, then what tells one case from another.
fn line(event: &Value) -> String {
    let Line { word, fact, needs_person, about, details } = text::line(event);
    let head = match needs_person {
        true => format!("<font color=\"warning\">{word}</font> {fact}"),
        false => format!("{word} {fact}"),
    };
    [vec![head], about, details].concat().join(" · ")
}

/// What WeCom's answer says: it is 200 whatever became of the message.
pub(super) fn judged(answer: Answer) -> Answer {
    if !answer.is_success() {
        return answer;
    }
    let code = answer.body.as_deref().and_then(|body| serde_json::from_str::<Value>(body).ok());
    match code.and_then(|body| body["errcode"].as_i64()) {
        Some(0) => answer,
        Some(code) => Answer {
            outcome: Outcome::Refused,
            error: Some(format!("the robot answered errcode {code}")),
            retry_after: (code == TOO_OFTEN).then_some(MINUTE),
            ..answer
        },
        None => Answer {
            outcome: Outcome::Refused,
            error: Some("the answer is not a robot's: no errcode".to_owned()),
            retry_after: None,
            ..answer
        },
    }
}
