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
use crate::wechat::outcome::{Api, Class, ErrCode, Outcome};
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
    match outcome::of_transport(api, error) {
        Class::Refused => Outcome::Refused(WechatError { code: "HTTP".into(), message: error.to_string() }),
        Class::Later => Outcome::Later(WechatError { code: "HTTP".into(), message: error.to_string() }),
        Class::Unknown
        | Class::Done
        | Class::Ask
        | Class::Doubt
        | Class::Closed
        | Class::NotFound
        | Class::TooFrequent => unknown(error.to_string()),
    }
}

/// Reads a reply's body.
pub fn parse(expected: Expected<'_>, body: &[u8]) -> Outcome {
    let fields = match xml::parse(body) {
        Ok(fields) => fields,
        Err(error) => return unknown(format!("the reply is unreadable: {error}")),
    };
    match text(&fields, "return_code") {
        "SUCCESS" => {}
        "FAIL" => {
            let error = WechatError { code: "FAIL".into(), message: clean(text(&fields, "return_msg")) };
            // Some unsigned failures have a code too; one that says "busy" is just as inconclusive.
            let said = format!("{} {}", text(&fields, "return_msg"), text(&fields, "err_code"));
            return outcome_of(outcome::of_return_fail(expected.api, &said), error, fields);
        }
        _ => return unknown("the reply has no return_code".into()),
    }
    if let Err(error) = sign::verify(&fields, expected.key) {
        return unknown(format!("the reply's {error}"));
    }
    if text(&fields, "mch_id") != expected.mch_id || text(&fields, "appid") != expected.appid {
        return unknown("the reply is for another merchant or app".into());
    }
    match text(&fields, "result_code") {
        "SUCCESS" => Outcome::Done(fields),
        "FAIL" => {
            let error = business_error(&fields);
            outcome_of(outcome::of_err_code(expected.api, ErrCode::parse(text(&fields, "err_code"))), error, fields)
        }
        _ => unknown("the reply has no result_code".into()),
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

fn unknown(why: String) -> Outcome {
    Outcome::Unknown { why }
}

fn outcome_of(class: Class, error: WechatError, fields: Fields) -> Outcome {
    match class {
        Class::Done => Outcome::Done(fields),
        Class::Refused => Outcome::Refused(error),
        Class::Unknown => Outcome::Unknown { why: format!("{}: {}", error.code, error.message) },
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
fn clean(text: &str) -> String {
    text.chars().take(128).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
