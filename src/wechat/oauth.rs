//! Login of a payer inside WeChat: to the authorization page and back with a code, the code for an openid.
//!
//! A code is good for one exchange within five minutes. The caller ensures that only one process exchanges it,
//! that the state belongs to this browser and is used once, and where the browser may be sent afterwards.
//!
//! The token of a [`Grant`] is its user's alone and has nothing to do with the app's global access_token.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use super::percent;
use super::platform::{CALLS, Credential, PlatformClient, PlatformError, integer, text_if_any, token, with_a_code};
use crate::ids::{AppId, OpenId};
use crate::retry::retry;
use crate::secret::Secret;

/// The scope of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The openid, without the user's consent. Enough for a payment.
    Base,
    /// Nickname and avatar too, with the user's consent. At the entry of a page, WeChat gives a made-up user first.
    Userinfo,
}

impl Scope {
    /// WeChat's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scope::Base => "snsapi_base",
            Scope::Userinfo => "snsapi_userinfo",
        }
    }

    /// From WeChat's name.
    pub fn parse(text: &str) -> Option<Scope> {
        [Scope::Base, Scope::Userinfo].into_iter().find(|scope| scope.as_str() == text)
    }
}

/// Maximum length of a state in bytes.
const STATE_MAX_BYTES: usize = 128;

/// Whether WeChat returns this state unchanged: 1 to 128 letters and digits.
pub fn valid_state(state: &str) -> bool {
    (1..=STATE_MAX_BYTES).contains(&state.len()) && state.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Where to send the browser. WeChat checks the order of the parameters and requires the fragment.
///
/// `redirect_uri` is the plain address to return to; it is encoded here, once. `state` should be a [`valid_state`].
pub fn authorize_url(open_url: &str, appid: &AppId, redirect_uri: &str, scope: Scope, state: &str) -> String {
    let base = open_url.trim_end_matches('/');
    let mut url = format!("{base}/connect/oauth2/authorize?appid={}&redirect_uri=", appid.as_str());
    percent::push(&mut url, redirect_uri);
    url.push_str("&response_type=code&scope=");
    url.push_str(scope.as_str());
    url.push_str("&state=");
    percent::push(&mut url, state);
    url.push_str("#wechat_redirect");
    url
}

/// The result of exchanging a code.
#[derive(Clone)]
pub struct Grant {
    /// The user's openid in the app.
    pub openid: OpenId,
    /// The user's id in the company's open platform account, if there is one.
    pub unionid: Option<String>,
    /// The token for [`userinfo`]; valid for two hours.
    pub access_token: Secret,
    /// What the user granted, separated by commas.
    pub scope: String,
    /// The page runs in snapshot mode and this user is made up: no account, no order, no payment.
    pub is_snapshot_user: bool,
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("openid", &self.openid)
            .field("scope", &self.scope)
            .field("is_snapshot_user", &self.is_snapshot_user)
            .finish_non_exhaustive()
    }
}

/// A user's profile.
#[derive(Clone, PartialEq, Eq)]
pub struct Profile {
    /// Any text; may be empty.
    pub nickname: String,
    /// An http(s) address.
    pub avatar_url: Option<String>,
    /// See [`Grant::unionid`].
    pub unionid: Option<String>,
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profile").finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct GrantAnswer {
    access_token: String,
    openid: String,
    #[serde(default, deserialize_with = "text_if_any")]
    scope: Option<String>,
    #[serde(default, deserialize_with = "text_if_any")]
    unionid: Option<String>,
    #[serde(default)]
    is_snapshotuser: Value,
}

#[derive(Deserialize)]
struct ProfileAnswer {
    openid: String,
    #[serde(default, deserialize_with = "text_if_any")]
    nickname: Option<String>,
    #[serde(default, deserialize_with = "text_if_any")]
    headimgurl: Option<String>,
    #[serde(default, deserialize_with = "text_if_any")]
    unionid: Option<String>,
}

/// Exchanges a code. If WeChat is busy or not reached, the call is repeated once; if it is busy again, the refusal says
/// that the login is over.
pub async fn exchange(
    client: &PlatformClient,
    appid: &AppId,
    secret: &Secret,
    code: &str,
) -> Result<Grant, PlatformError> {
    let query =
        [("appid", appid.as_str()), ("secret", secret.expose()), ("code", code), ("grant_type", "authorization_code")];
    let answer: GrantAnswer =
        with_a_code(|| client.get("/sns/oauth2/access_token", &query, Credential::Secret)).await?;
    Ok(Grant {
        openid: openid(answer.openid)?,
        unionid: unionid(answer.unionid),
        access_token: token(answer.access_token)?,
        scope: answer.scope.unwrap_or_default(),
        is_snapshot_user: is_snapshot_user(&answer.is_snapshotuser),
    })
}

/// Fetches the profile of a user who granted [`Scope::Userinfo`]; at most three calls while WeChat is busy.
pub async fn userinfo(
    client: &PlatformClient,
    access_token: &Secret,
    openid: &OpenId,
) -> Result<Profile, PlatformError> {
    let query = [("access_token", access_token.expose()), ("openid", openid.as_str()), ("lang", "zh_CN")];
    let answer: ProfileAnswer = retry(CALLS, || client.get("/sns/userinfo", &query, Credential::UserToken)).await?;
    if answer.openid != openid.as_str() {
        return Err(PlatformError::Unreadable("the profile of another user"));
    }
    Ok(Profile {
        nickname: answer.nickname.unwrap_or_default(),
        avatar_url: answer.headimgurl.filter(|url| url.starts_with("https://") || url.starts_with("http://")),
        unionid: unionid(answer.unionid),
    })
}

/// An openid as WeChat issues them.
pub(super) fn openid(text: String) -> Result<OpenId, PlatformError> {
    OpenId::parse(text).map_err(|_| PlatformError::Unreadable("an openid that is none"))
}

/// A unionid, which is written like an openid. Nothing depends on it, so a malformed one is left out.
pub(super) fn unionid(text: Option<String>) -> Option<String> {
    text.filter(|text| OpenId::parse(text.as_str()).is_ok())
}

/// The flag is absent for real users. Any other value than "no" counts as "yes", the safe side for payments.
fn is_snapshot_user(flag: &Value) -> bool {
    !(flag.is_null() || *flag == Value::Bool(false) || integer(flag) == Some(0))
}
