//! The platform's calls by name: where faults apply, what is counted, which quota is used up.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::sandbox) enum Api {
    Token,
    StableToken,
    #[serde(rename = "getticket")]
    GetTicket,
    ClearQuota,
    OauthAccessToken,
    OauthRefreshToken,
    Userinfo,
    Auth,
    #[serde(rename = "jscode2session")]
    Jscode2Session,
    #[serde(rename = "getuserphonenumber")]
    GetUserPhoneNumber,
}

/// What some of WeChat's hosts call their JSON.
const JSON: &str = "application/json; encoding=utf-8";
/// What the others call it.
const TEXT: &str = "text/plain";

impl Api {
    pub const ALL: [Api; 10] = [
        Api::Token,
        Api::StableToken,
        Api::GetTicket,
        Api::ClearQuota,
        Api::OauthAccessToken,
        Api::OauthRefreshToken,
        Api::Userinfo,
        Api::Auth,
        Api::Jscode2Session,
        Api::GetUserPhoneNumber,
    ];

    /// Where it is, whether it is a POST, and what its answer calls itself.
    const fn wire(self) -> (&'static str, bool, &'static str) {
        match self {
            Api::Token => ("/cgi-bin/token", false, JSON),
            Api::StableToken => ("/cgi-bin/stable_token", true, JSON),
            Api::GetTicket => ("/cgi-bin/ticket/getticket", false, JSON),
            Api::ClearQuota => ("/cgi-bin/clear_quota", true, JSON),
            Api::OauthAccessToken => ("/sns/oauth2/access_token", false, TEXT),
            Api::OauthRefreshToken => ("/sns/oauth2/refresh_token", false, TEXT),
            Api::Userinfo => ("/sns/userinfo", false, TEXT),
            Api::Auth => ("/sns/auth", false, TEXT),
            Api::Jscode2Session => ("/sns/jscode2session", false, TEXT),
            Api::GetUserPhoneNumber => ("/wxa/business/getuserphonenumber", true, JSON),
        }
    }

    pub const fn path(self) -> &'static str {
        self.wire().0
    }

    /// Whether it is a POST; all others are GETs.
    pub const fn is_post(self) -> bool {
        self.wire().1
    }

    pub const fn content_type(self) -> &'static str {
        self.wire().2
    }
}
