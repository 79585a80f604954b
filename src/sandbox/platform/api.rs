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
}

impl Api {
    /// How many there are.
    pub const COUNT: usize = Api::ALL.len();

    /// All of them.
    pub const ALL: [Api; 4] = [Api::Token, Api::StableToken, Api::GetTicket, Api::ClearQuota];

    /// Where it is.
    pub const fn path(self) -> &'static str {
        match self {
            Api::Token => "/cgi-bin/token",
            Api::StableToken => "/cgi-bin/stable_token",
            Api::GetTicket => "/cgi-bin/ticket/getticket",
            Api::ClearQuota => "/cgi-bin/clear_quota",
        }
    }

    /// Whether it is a POST; all others are GETs.
    pub const fn is_post(self) -> bool {
        match self {
            Api::StableToken | Api::ClearQuota => true,
            Api::Token | Api::GetTicket => false,
        }
    }

    /// What the answer calls itself. Only some of WeChat's hosts' answers say that they are JSON.
    pub const fn content_type(self) -> &'static str {
        match self {
            Api::Token | Api::StableToken | Api::GetTicket | Api::ClearQuota => "application/json; encoding=utf-8",
        }
    }
}
