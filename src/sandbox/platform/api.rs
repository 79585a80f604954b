//! The platform's calls by name: where faults apply, what is counted, which quota is used up.

use serde::{Deserialize, Serialize};

/// One call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::sandbox) enum Api {
    /// `GET /cgi-bin/token`
    Token,
    /// `POST /cgi-bin/stable_token`
    StableToken,
    /// `GET /cgi-bin/ticket/getticket`
    #[serde(rename = "getticket")]
    GetTicket,
    /// `POST /cgi-bin/clear_quota`
    ClearQuota,
    /// `GET /sns/oauth2/access_token`
    OauthAccessToken,
    /// `GET /sns/oauth2/refresh_token`
    OauthRefreshToken,
    /// `GET /sns/userinfo`
    Userinfo,
    /// `GET /sns/auth`
    Auth,
    /// `GET /sns/jscode2session`
    #[serde(rename = "jscode2session")]
    Jscode2Session,
    /// `POST /wxa/business/getuserphonenumber`
    #[serde(rename = "getuserphonenumber")]
    GetUserPhoneNumber,
}

impl Api {
    /// How many there are.
    pub const COUNT: usize = Api::ALL.len();

    /// All of them.
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

    /// Where it is.
    pub const fn path(self) -> &'static str {
        match self {
            Api::Token => "/cgi-bin/token",
            Api::StableToken => "/cgi-bin/stable_token",
            Api::GetTicket => "/cgi-bin/ticket/getticket",
            Api::ClearQuota => "/cgi-bin/clear_quota",
            Api::OauthAccessToken => "/sns/oauth2/access_token",
            Api::OauthRefreshToken => "/sns/oauth2/refresh_token",
            Api::Userinfo => "/sns/userinfo",
            Api::Auth => "/sns/auth",
            Api::Jscode2Session => "/sns/jscode2session",
            Api::GetUserPhoneNumber => "/wxa/business/getuserphonenumber",
        }
    }

    /// Whether it is a POST; all others are GETs.
    pub const fn is_post(self) -> bool {
        match self {
            Api::StableToken | Api::ClearQuota | Api::GetUserPhoneNumber => true,
            Api::Token
            | Api::GetTicket
            | Api::OauthAccessToken
            | Api::OauthRefreshToken
            | Api::Userinfo
            | Api::Auth
            | Api::Jscode2Session => false,
        }
    }

    /// What the answer calls itself. Only some of WeChat's hosts' answers say that they are JSON.
    pub const fn content_type(self) -> &'static str {
        match self {
            Api::Token | Api::StableToken | Api::GetTicket | Api::ClearQuota | Api::GetUserPhoneNumber => {
                "application/json; encoding=utf-8"
            }
            Api::OauthAccessToken | Api::OauthRefreshToken | Api::Userinfo | Api::Auth | Api::Jscode2Session => {
                "text/plain"
            }
        }
    }
}
