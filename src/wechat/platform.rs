//! The platform API (`api.weixin.qq.com`): how its calls are made, and what its answers allow the caller to do next.
//!
//! The single APIs are in [`super::oauth`], [`super::token`] and [`super::mini_program`]. Unlike the pay API it has no
//! signature, sends JSON under any `Content-Type`, and refuses with numbers.
//!
//! What must stay true: a call failed if and only if `errcode` is there and not 0, since most successes have none; the
//! number alone decides, never `errmsg`. Addresses and bodies of these calls hold app secrets, tokens and codes, so
//! that no error and no log line holds an address, a body or a text of WeChat's: of a refusal, the number and the
//! request id (`rid`) that WeChat's support asks for are kept.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::json_text;
use super::transport;
use super::transport::{ClientError, Query, TransportError, Wire};
use crate::config;
use crate::retry::{Policy, Transient, retry_while};
use crate::secret::Secret;

/// Number of calls in one step that a caller waits for, while WeChat is busy.
pub const CALLS: Policy = Policy {
    initial: Duration::from_millis(200),
    max: Duration::from_secs(1),
    tries: 3,
    deadline: Duration::from_secs(5),
};

/// Calls with one code. WeChat does not say whether a code survives a busy answer: one more call, then a new login.
const CALLS_WITH_A_CODE: Policy = Policy { tries: 2, ..CALLS };

/// Why a call has no usable result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlatformError {
    /// No answer.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// An answer that is not WeChat's, or does not fit the call. The reason is a text of this program.
    #[error("unusable answer: {0}")]
    Unreadable(&'static str),
    /// WeChat refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl PlatformError {
    /// Whether WeChat says that the code was used before or never given out: what a client with invented codes hears.
    pub const fn blames_the_code(&self) -> bool {
        match self {
            PlatformError::Refused(refusal) => matches!(refusal.errcode, 40029 | 40163),
            PlatformError::Transport(_) | PlatformError::Unreadable(_) => false,
        }
    }

    /// The class, where WeChat answered with one.
    pub const fn class(&self) -> Option<Class> {
        match self {
            PlatformError::Refused(refusal) => Some(refusal.class),
            PlatformError::Transport(_) | PlatformError::Unreadable(_) => None,
        }
    }
}

impl Transient for PlatformError {
    fn is_transient(&self) -> bool {
        match self {
            PlatformError::Transport(TransportError::NotSent { .. } | TransportError::NoAnswer { .. }) => true,
            PlatformError::Transport(TransportError::Status { status }) => *status >= 500,
            PlatformError::Transport(TransportError::TooLarge) | PlatformError::Unreadable(_) => false,
            PlatformError::Refused(refusal) => refusal.class == Class::Busy,
        }
    }
}

/// A refusal, without WeChat's text: texts change, and may repeat what was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("WeChat refused: errcode {errcode}, rid {}", rid.as_deref().unwrap_or("none"))]
pub struct Refusal {
    /// WeChat's number.
    pub errcode: i64,
    /// WeChat's id of the request.
    pub rid: Option<String>,
    /// What the caller can do.
    pub class: Class,
}

/// What a caller can do about a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// WeChat is busy: repeat the call after a pause, three times at most.
    Busy,
    /// The global access_token is no longer valid: report it, and repeat the call once with its successor.
    TokenDead,
    /// The code, or its grant, is used up: the user has to log in (or press the button) again.
    LoginOver,
    /// The app, its secret, its permissions or its list of addresses: a person has to change something.
    Configuration,
    /// The quota is used up until it is reset.
    QuotaUsedUp,
    /// Rate limit per minute: wait a minute.
    TooFrequent,
    /// This user is not admitted, or has not given consent.
    UserRefused,
    /// We sent an invalid request.
    Bug,
    /// A number that is not in this table: failed, permanently.
    Other,
}

/// The credential of a call; the same number has another meaning for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// The app's own secret.
    Secret,
    /// The token of one user's login.
    UserToken,
    /// The app's global access_token.
    GlobalToken,
}

impl Class {
    /// The class of every number that the platform's pages list for the calls made here.
    pub const fn of(errcode: i64, credential: Credential) -> Class {
        match errcode {
            -1 => Class::Busy,
            // Invalid or expired; 40001 is also how a wrong secret is refused.
            40001 | 40014 | 42001 => match credential {
                Credential::Secret => Class::Configuration,
                Credential::UserToken => Class::LoginOver,
                Credential::GlobalToken => Class::TokenDead,
            },
            // Codes and refresh tokens: invalid, used, expired, voided by a changed password.
            40029 | 40030 | 40163 | 42002 | 42003 | 42007 => Class::LoginOver,
            // appid, secret (wrong, frozen), addresses that may call, the account's state, permissions.
            40013 | 40125 | 40164 | 40243 | 48001 | 48004 | 50004 | 50007 | 61024 => Class::Configuration,
            89501 | 89503 | 89506 | 89507 => Class::Configuration,
            45009 => Class::QuotaUsedUp,
            45011 => Class::TooFrequent,
            // A follower is required, high risk, not authorised, restricted, not following.
            43004 | 40226 | 50001 | 50002 | 50005 => Class::UserRefused,
            // A wrong grant_type or openid, something left out, the wrong method, a malformed body.
            40002 | 40003 | 41001 | 41002 | 41003 | 41004 | 41008 | 41009 => Class::Bug,
            43001 | 43002 | 43003 | 44002 | 47001 => Class::Bug,
            // 48006 among them: the quota may not be reset again, which this program never asks for.
            _ => Class::Other,
        }
    }

    /// Whether an operator should act on it, or it is part of normal operation.
    const fn needs_operator(self) -> bool {
        match self {
            Class::Configuration | Class::QuotaUsedUp | Class::Bug | Class::Other => true,
            Class::Busy | Class::TokenDead | Class::LoginOver | Class::TooFrequent | Class::UserRefused => false,
        }
    }
}

/// A connection pool to the platform's host. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PlatformClient {
    wire: Wire,
    base: String,
}

impl PlatformClient {
    /// A client for `wechat.api_url`.
    pub fn new(config: &config::Wechat) -> Result<PlatformClient, ClientError> {
        Ok(PlatformClient { base: transport::base("api_url", &config.api_url)?, wire: Wire::new(config)? })
    }

    /// Gets `path` and reads the answer.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &Query<'_>,
        credential: Credential,
    ) -> Result<T, PlatformError> {
        let body = self.wire.get(&self.base, path, query).await?;
        parse(&body, path, credential)
    }

    /// Posts a JSON body to `path` and reads the answer.
    pub(super) async fn post_json<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &Query<'_>,
        body: &Value,
        credential: Credential,
    ) -> Result<T, PlatformError> {
        let body = self.wire.post(&self.base, path, query, "application/json", body.to_string()).await?;
        parse(&body, path, credential)
    }
}

/// Runs a call that uses up a code. If WeChat is busy or not reached, it is repeated once; if busy again, the code
/// counts as used up. After a lost answer it is not repeated: the code is used up and its grant is lost.
pub(super) async fn with_a_code<T, Fut>(call: impl FnMut() -> Fut) -> Result<T, PlatformError>
where
    Fut: Future<Output = Result<T, PlatformError>>,
{
    let again = |result: &Result<T, PlatformError>| match result {
        Err(PlatformError::Transport(TransportError::NotSent { .. })) => true,
        Err(PlatformError::Refused(refusal)) => refusal.class == Class::Busy,
        Ok(_) | Err(PlatformError::Transport(_) | PlatformError::Unreadable(_)) => false,
    };
    match retry_while(CALLS_WITH_A_CODE, call, again).await {
        Err(PlatformError::Refused(refusal)) if refusal.class == Class::Busy => {
            Err(Refusal { class: Class::LoginOver, ..refusal }.into())
        }
        result => result,
    }
}

/// Parses an answer: WeChat's refusal, or `T`.
fn parse<T: DeserializeOwned>(body: &[u8], path: &str, credential: Credential) -> Result<T, PlatformError> {
    let answer = json_text::parse(body).ok_or(PlatformError::Unreadable("not JSON"))?;
    let Value::Object(fields) = &answer else { return Err(PlatformError::Unreadable("not a JSON object")) };
    if let Some(errcode) = fields.get("errcode") {
        let errcode = integer(errcode).ok_or(PlatformError::Unreadable("errcode is not a number"))?;
        if errcode != 0 {
            let rid = fields.get("errmsg").and_then(Value::as_str).and_then(rid);
            return Err(refused(Refusal { errcode, rid, class: Class::of(errcode, credential) }, path));
        }
    }
    // The parser's error would repeat values, tokens among them.
    serde_json::from_value(answer).map_err(|_| PlatformError::Unreadable("a field is missing or of another kind"))
}

fn refused(refusal: Refusal, path: &str) -> PlatformError {
    let (api, Refusal { errcode, rid, class }) = (transport::api_of(path), &refusal);
    if class.needs_operator() {
        tracing::warn!(api, errcode, rid, ?class, "WeChat's platform refused a call");
    } else {
        tracing::debug!(api, errcode, rid, ?class, "WeChat's platform refused a call");
    }
    refusal.into()
}

/// A member that is left out when it is not a text: nothing depends on it.
pub(super) fn text_if_any<'de, D: Deserializer<'de>>(member: D) -> Result<Option<String>, D::Error> {
    Ok(Value::deserialize(member)?.as_str().map(str::to_owned))
}

/// A number, or a string that contains one.
pub(super) fn integer(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

/// The id in `… rid: 5f8e1c2d-…`.
fn rid(errmsg: &str) -> Option<String> {
    let (_, rest) = errmsg.split_once("rid:")?;
    let rid: String = rest.trim_start().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    (1..=64).contains(&rid.len()).then_some(rid)
}

/// A token, ticket or key as WeChat issues them: some visible ASCII.
pub(super) fn token(text: String) -> Result<Secret, PlatformError> {
    if (1..=2048).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(Secret::new(text))
    } else {
        Err(PlatformError::Unreadable("a token that is none"))
    }
}
