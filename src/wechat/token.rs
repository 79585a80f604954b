//! The two values that all users of an app share: the global access_token and the jsapi_ticket.
//!
//! This module only fetches; the caller decides when, and stores the values. There must be one caller at a time for an
//! app, because a token of [`TokenApi::Classic`] invalidates the one before. `force_refresh` is never used: it would
//! invalidate a token that others are using.

use serde::Deserialize;
use serde_json::{Value, json};

use super::platform::{Credential, PlatformClient, PlatformError, integer, token};
use crate::config::TokenApi;
use crate::ids::AppId;
use crate::secret::Secret;

/// A value and its lifetime.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The token or ticket.
    pub value: Secret,
    /// Seconds until it expires, from the moment of the call; at least 1.
    pub expires_in_s: u32,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    expires_in: Value,
}

#[derive(Deserialize)]
struct TicketAnswer {
    ticket: String,
    expires_in: Value,
}

/// Fetches the global access_token, once.
pub async fn access_token(
    client: &PlatformClient,
    appid: &AppId,
    secret: &Secret,
    api: TokenApi,
) -> Result<Issued, PlatformError> {
    const GRANT_TYPE: &str = "client_credential";
    let answer: TokenAnswer = match api {
        TokenApi::Stable => {
            let body = json!({
                "grant_type": GRANT_TYPE,
                "appid": appid.as_str(),
                "secret": secret.expose(),
                "force_refresh": false,
            });
            client.post_json("/cgi-bin/stable_token", &[], &body, Credential::Secret).await?
        }
        TokenApi::Classic => {
            let query = [("grant_type", GRANT_TYPE), ("appid", appid.as_str()), ("secret", secret.expose())];
            client.get("/cgi-bin/token", &query, Credential::Secret).await?
        }
    };
    issued(answer.access_token, &answer.expires_in)
}

/// Fetches the ticket that pages are signed with, once. It stays valid after the token it was fetched with has expired.
pub async fn jsapi_ticket(client: &PlatformClient, access_token: &Secret) -> Result<Issued, PlatformError> {
    let query = [("access_token", access_token.expose()), ("type", "jsapi")];
    let answer: TicketAnswer = client.get("/cgi-bin/ticket/getticket", &query, Credential::GlobalToken).await?;
    issued(answer.ticket, &answer.expires_in)
}

fn issued(value: String, expires_in: &Value) -> Result<Issued, PlatformError> {
    let expires_in_s = integer(expires_in)
        .and_then(|seconds| u32::try_from(seconds).ok())
        .filter(|seconds| *seconds > 0)
        .ok_or(PlatformError::Unreadable("expires_in is no number of seconds"))?;
    Ok(Issued { value: token(value)?, expires_in_s })
}
