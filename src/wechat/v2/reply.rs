//! What every reply has: three layers of success, a signature, and the caller's own numbers.
//!
//! The layers are read in WeChat's order and the first that fails decides: transport, XML, `return_code` (unsigned when
//! it says FAIL), signature, `appid` and `mch_id`, `result_code` with `err_code`. What each failure allows is
//! defined by [`crate::wechat::outcome`]. What must stay true: nothing but `return_code` is believed before the
//! signature.

use std::fmt;

use super::sign;
use super::xml;
use super::xml::Fields;
use crate::event::fact::WechatError;
use crate::secret::V2Key;
use crate::wechat::outcome;
use crate::wechat::outcome::{Api, Class, Outcome};
use crate::wechat::transport::TransportError;

/// The call that a reply belongs to.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The call.
    pub api: Api,
    /// The key it was signed with.
    pub key: &'a V2Key,
    /// The merchant that called.
    pub mch_id: &'a str,
    /// The app of the call.
    pub appid: &'a str,
}

/// A verified reply as it came, kept as evidence. It holds personal data: `Debug` shows its length only.
#[derive(Clone, PartialEq, Eq)]
pub struct RawReply(String);

impl RawReply {
    /// The XML.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The XML.
    pub fn into_string(self) -> String {
        self.0
    }

    /// Keeps a body that [`parse`] has read, and which therefore is UTF-8.
    pub(super) fn of(body: &[u8]) -> RawReply {
        RawReply(String::from_utf8_lossy(body).into_owned())
    }
}

impl fmt::Debug for RawReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawReply({} bytes)", self.0.len())
    }
}

/// The outcome of a call without a body.
pub fn failed(api: Api, error: &TransportError) -> Outcome {
    let answered = || WechatError { code: WechatError::HTTP.into(), message: clean(&error.to_string()) };
    match outcome::of_transport(api, error) {
        Class::Refused => Outcome::Refused(answered()),
        Class::Later => Outcome::Later(answered()),
        Class::Unknown
        | Class::Done
        | Class::Setup
        | Class::Ask
        | Class::Doubt
        | Class::Closed
        | Class::NotFound
        | Class::TooFrequent => {
            let said = match error {
                TransportError::NotSent { .. } | TransportError::NoAnswer { .. } => None,
                TransportError::Status { .. } | TransportError::TooLarge => Some(answered()),
            };
            Outcome::Unknown { why: error.to_string(), said }
        }
    }
}

/// Reads a reply's body.
pub fn parse(expected: Expected<'_>, body: &[u8]) -> Outcome {
    let fields = match xml::parse(body) {
        Ok(fields) => fields,
        Err(_) if body.trim_ascii().is_empty() => {
            return inconclusive(WechatError::HTTP, "the reply is empty", String::new());
        }
        Err(error) => return inconclusive(WechatError::HTTP, &format!("the reply is unreadable: {error}"), page(body)),
    };
    match text(&fields, "return_code") {
        "SUCCESS" => {}
        "FAIL" => {
            let error = WechatError { code: WechatError::FAIL.into(), message: words(&fields) };
            return outcome_of(outcome::of_return_fail(expected.api, &error.message), error, fields);
        }
        _ => return without_return_code(&fields, body),
    }
    if let Err(error) = sign::verify(&fields, expected.key) {
        return unsigned(&format!("the reply's {error}"), &fields);
    }
    if text(&fields, "mch_id") != expected.mch_id || text(&fields, "appid") != expected.appid {
        return unusable("the reply is for another merchant or app");
    }
    match text(&fields, "result_code") {
        "SUCCESS" => Outcome::Done(fields),
        "FAIL" => {
            let error = business_error(&fields);
            outcome_of(outcome::of_business_fail(expected.api, &error), error, fields)
        }
        _ => unusable("the reply has no result_code"),
    }
}

/// `err_code` and `err_code_des` of a verified message.
pub(super) fn business_error(fields: &Fields) -> WechatError {
    WechatError { code: clean(text(fields, "err_code")), message: clean(text(fields, "err_code_des")) }
}

/// An element's text, empty when it is absent: WeChat sends absent values either way.
pub(super) fn text<'a>(fields: &'a Fields, name: &str) -> &'a str {
    fields.get(name).map(String::as_str).unwrap_or_default()
}

/// What a signed answer that does not fit the call is called.
pub(super) fn misfit(why: &str) -> WechatError {
    WechatError { code: WechatError::UNUSABLE.into(), message: clean(why) }
}

/// A refusal in one line, for logs.
pub(super) fn line(error: &WechatError) -> String {
    format!("{}: {}", error.code, error.message)
}

fn unusable(why: &str) -> Outcome {
    Outcome::Unknown { why: why.to_owned(), said: Some(misfit(why)) }
}

/// A page may be as flat as a message of WeChat's.
fn without_return_code(fields: &Fields, body: &[u8]) -> Outcome {
    const WHY: &str = "the reply has no return_code";
    match page(body) {
        text if words(fields).is_empty() && !text.is_empty() => inconclusive(WechatError::HTTP, WHY, text),
        _ => unsigned(WHY, fields),
    }
}

fn unsigned(why: &str, fields: &Fields) -> Outcome {
    inconclusive(WechatError::UNSIGNED, why, words(fields))
}

/// An answer that proves nothing, with its words where it has any.
fn inconclusive(code: &str, why: &str, words: String) -> Outcome {
    let (why, message) =
        if words.is_empty() { (why.to_owned(), clean(why)) } else { (format!("{why}; it says: {words}"), words) };
    Outcome::Unknown { why, said: Some(WechatError { code: code.to_owned(), message }) }
}

/// The elements in which WeChat's servers were seen to give a reason.
const WORDS: [&str; 7] = ["return_msg", "retmsg", "retcode", "err_code", "err_code_des", "error_code", "error_msg"];

/// The reasons given in a message, in one line.
fn words(fields: &Fields) -> String {
    joined(WORDS.iter().map(|name| text(fields, name)))
}

fn joined<'a>(said: impl Iterator<Item = &'a str>) -> String {
    let said = said.map(str::trim).filter(|said| !said.is_empty() && !said.eq_ignore_ascii_case("ok"));
    clean(&said.collect::<Vec<_>>().join(" "))
}

/// The readable part of an answer that is not WeChat's XML: the reasons it names, or a page's text without its tags. A
/// message of WeChat's that cannot be parsed may hold personal data, of which nothing is taken.
pub(super) fn page(body: &[u8]) -> String {
    /// More than any page needs to name its reason.
    const BEGINNING: usize = 4096;
    let text = String::from_utf8_lossy(body.get(..BEGINNING).unwrap_or(body));
    let text = text.replace("<![CDATA[", "").replace("]]>", "");
    let element = |name: &&str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(said, _)| said)
    };
    let said = joined(WORDS.iter().filter_map(element));
    if !said.is_empty() || ["<xml", "openid", "prepay_id"].iter().any(|of_a_message| text.contains(of_a_message)) {
        return said;
    }
    let mut plain = String::new();
    let mut inside = false;
    for c in text.chars() {
        match c {
            '<' => inside = true,
            '>' if inside => {
                inside = false;
                plain.push(' ');
            }
            c if !inside => plain.push(c),
            _ => {}
        }
    }
    clean(&plain.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn outcome_of(class: Class, error: WechatError, fields: Fields) -> Outcome {
    match class {
        Class::Done => Outcome::Done(fields),
        Class::Refused => Outcome::Refused(error),
        Class::Setup => Outcome::Setup(error),
        Class::Unknown => Outcome::Unknown { why: line(&error), said: Some(error) },
        Class::Ask => Outcome::Ask(error),
        Class::Doubt => Outcome::Doubt(error),
        Class::Closed => Outcome::Closed(error),
        Class::NotFound => Outcome::NotFound(error),
        Class::Later => Outcome::Later(error),
        Class::TooFrequent => Outcome::TooFrequent(error),
    }
}

/// WeChat's texts are shown in logs, pages and terminals: one line, no control characters, no more than the documented
/// 128.
pub(super) fn clean(text: &str) -> String {
    let breaks = |c: char| {
        // Line separators, and marks that reorder what follows them on a screen.
        c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().take(128).map(|c| if breaks(c) { ' ' } else { c }).collect()
}
