//! What WeChat answers in place of a bill: XML of either generation of its errors, or JSON. Never signed.

use std::fmt;

use serde_json::Value;

use crate::event::fact::WechatError;
use crate::wechat::setup_fault;
use crate::wechat::setup_fault::SetupFault;
use crate::wechat::unsigned_words;
use crate::wechat::v2::reply::{clean, page, text};
use crate::wechat::v2::xml;

/// Texts known to mean that WeChat failed itself, in upper case, beside those of every API.
const BUSY: [&str; 2] = ["COMPRESSGZIP ERROR", "SYSTEMERROR"];
/// Texts known to mean that the request is wrong, in upper case, beside those of every API.
const WRONG: [&str; 4] = ["INVALID BILL_TYPE", "DATA FORMAT ERROR", "MISSING PARAMETER", "INVALID BILL_DATE"];

/// An answer in place of a bill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub kind: RefusalKind,
    /// WeChat's code, empty where it has none; in one line.
    pub code: String,
    /// WeChat's words, in one line.
    pub words: String,
}

/// What it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalKind {
    /// "No Bill Exist": nothing happened on that day, or the bill is not made yet. Not before noon of the next day is
    /// it an empty day.
    NoBill,
    /// "Bill Creating": the same request again half an hour later.
    Creating,
    /// WeChat failed itself: the same request again.
    Busy,
    /// Too many requests: later, and less often.
    TooFrequent,
    /// The merchant's key, numbers, certificate or address: an operator must correct them.
    Setup(SetupFault),
    /// The request is wrong, or the merchant has no permission: the same one would be refused again.
    Request,
    /// Not known: the same request again, later.
    Unknown,
}

impl RefusalKind {
    /// Whether the same request may bring the bill later, without an operator's doing.
    pub const fn may_come_later(self) -> bool {
        match self {
            RefusalKind::NoBill
            | RefusalKind::Creating
            | RefusalKind::Busy
            | RefusalKind::TooFrequent
            | RefusalKind::Unknown => true,
            RefusalKind::Setup(_) | RefusalKind::Request => false,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code.as_str(), self.words.as_str()) {
            ("", words) => f.write_str(words),
            (code, "") => f.write_str(code),
            (code, words) => write!(f, "{words} ({code})"),
        }
    }
}

impl Refusal {
    fn new(code: &str, words: &str) -> Refusal {
        let (code, words) = (clean(code.trim()), clean(words.trim()));
        Refusal { kind: kind(&code, &words), code, words }
    }

    /// Reads an answer; the error is the readable part of what is none.
    pub(super) fn read(body: &[u8]) -> Result<Refusal, String> {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii();
        let found = if body.starts_with(b"{") { of_json(body) } else { of_xml(body) };
        found.ok_or_else(|| {
            let said = page(body);
            if said.is_empty() { "its text is not readable".to_owned() } else { said }
        })
    }
}

fn of_xml(body: &[u8]) -> Option<Refusal> {
    let fields = xml::parse(body).ok()?;
    let first =
        |names: [&'static str; 2]| names.into_iter().map(|name| text(&fields, name)).find(|said| !said.is_empty());
    let of_business = first(["err_code", "err_code_des"]).is_some();
    let words = if of_business { text(&fields, "err_code_des") } else { first(["return_msg", "retmsg"]).unwrap_or("") };
    let code = first(["err_code", "error_code"]).unwrap_or("");
    (!code.is_empty() || !words.is_empty()).then(|| Refusal::new(code, words))
}

fn of_json(body: &[u8]) -> Option<Refusal> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let first = |names: [&str; 4]| {
        names.iter().find_map(|name| match &value[*name] {
            Value::String(said) if !said.is_empty() => Some(said.clone()),
            Value::Number(said) => Some(said.to_string()),
            _ => None,
        })
    };
    let code = first(["code", "err_code", "error_code", "errcode"]);
    let words = first(["message", "err_code_des", "return_msg", "errmsg"]);
    (code.is_some() || words.is_some()).then(|| Refusal::new(&code.unwrap_or_default(), &words.unwrap_or_default()))
}

fn kind(code: &str, words: &str) -> RefusalKind {
    let said = words.to_ascii_uppercase();
    let is = |codes: &[&str], texts: &[&str]| codes.contains(&code) || texts.contains(&said.as_str());
    let holds = |texts: &[&str]| texts.iter().any(|text| said.contains(text) || code.eq_ignore_ascii_case(text));
    let of_unsigned = WechatError {
        code: if code.is_empty() { WechatError::FAIL.to_owned() } else { code.to_owned() },
        message: words.to_owned(),
    };
    if is(&["NO_BILL_EXIST", "20002"], &["NO BILL EXIST"]) {
        RefusalKind::NoBill
    } else if is(&["BILL_CREATING"], &["BILL CREATING"]) {
        RefusalKind::Creating
    } else if is(&["FREQUENCY_LIMITED", "INVALID_REQ_TOO_MUCH"], &[]) || unsigned_words::say_too_often(words) {
        RefusalKind::TooFrequent
    } else if holds(&BUSY) || is(&["SYSTEMERROR", "BANKERROR"], &[]) || unsigned_words::say_busy(words) {
        RefusalKind::Busy
    } else if let Some(fault) = SetupFault::of(&of_unsigned).or_else(|| setup_fault::of_words(words)) {
        RefusalKind::Setup(fault)
    } else if holds(&WRONG)
        || is(&["PARAM_ERROR", "LACK_PARAMS", "XML_FORMAT_ERROR", "NOAUTH", "NO_AUTH", "INVALID_REQUEST"], &[])
        || unsigned_words::say_wrong_request(words)
    {
        RefusalKind::Request
    } else {
        RefusalKind::Unknown
    }
}
