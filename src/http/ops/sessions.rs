//! `POST /v1/ops/sessions/end`: ends the sessions of one payer.

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::operator;
use crate::config::Config;
use crate::http::extract::auth::{Authorized, Caller, Ops};
use crate::http::extract::json_object::Form;
use crate::http::extract::posted::Posted;
use crate::http::extract::query::{NoQuery, StrictQuery};
use crate::http::orders::request::{is_noted, plain};
use crate::http::problem::Error;
use crate::http::state::HttpState;
use crate::ids::{AppKey, OpenId};
use crate::ops;
use crate::ops::sessions::EndSessions;

const REASON_MAX_BYTES: usize = 500;

/// `{"app": "shop", "openid": "o…", "reason": "…"}`. Whether there was a session is not known: they are the browsers'.
pub async fn end(
    app: HttpState,
    caller: Authorized<Ops>,
    _: StrictQuery<NoQuery>,
    request: Request,
) -> Result<Response, Error> {
    let Posted { body, client, .. } = Posted::json(&app, request).await?;
    let request = parse(&body, &app.config, &caller)?;
    let now = app.clock.now();
    let of = request.app.clone();
    ops::sessions::end(&app.store, &operator(&caller, client), request, now).await?;
    Ok(axum::Json(json!({"app": of, "ended_at": now})).into_response())
}

fn parse(body: &[u8], config: &Config, caller: &Caller) -> Result<EndSessions, Error> {
    let mut form = Form::parse(body)?;
    let named = form.parsed("app", AppKey::parse);
    let openid = form.parsed("openid", OpenId::parse);
    let reason = plain(&mut form, "reason", REASON_MAX_BYTES).filter(|reason| !reason.trim().is_empty());
    for (member, is_there) in [("openid", openid.is_some()), ("reason", reason.is_some())] {
        if !is_there && !is_noted(&form, member) {
            form.problem(member, "is required");
        }
    }
    let seen = apps(config, caller);
    if named.is_none() && seen.len() != 1 && !is_noted(&form, "app") {
        form.problem("app", "is required where there are several apps");
    }
    let problems = form.finish();
    let (Some(openid), Some(reason), true) = (openid, reason, problems.is_empty()) else {
        return Err(Error::Invalid(problems));
    };
    let wanted = |app: &&&AppKey| named.as_ref().is_none_or(|named| named == **app);
    let app = seen.iter().find(wanted).ok_or(Error::NotFound("app"))?;
    Ok(EndSessions { app: (*app).clone(), openid, reason })
}

/// The apps of the merchants that the caller sees.
fn apps<'c>(config: &'c Config, caller: &Caller) -> Vec<&'c AppKey> {
    let of_seen = |app: &&AppKey| config.merchants.iter().any(|m| caller.sees(&m.key) && m.apps.contains(*app));
    config.apps.iter().map(|app| &app.key).filter(of_seen).collect()
}
