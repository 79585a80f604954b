//! `GET /v1/ops/keys`, `POST /v1/ops/keys` and `POST /v1/ops/keys/{id}/revoke`: API keys, for the scope `admin`.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::key_request::parse;
use super::operator;
use super::query::{limit, reason_of_body};
use crate::config::Merchants;
use crate::http::extract::auth::{Admin, Authorized};
use crate::http::extract::client_addr::ClientIp;
use crate::http::extract::cursor;
use crate::http::extract::path::KeyPath;
use crate::http::extract::posted::Posted;
use crate::http::extract::query::{NoQuery, Params, QueryParams, StrictQuery};
use crate::http::problem::Error;
use crate::http::state::HttpState;
use crate::ops;
use crate::ops::keys::{HashView, KeyView, NotMade};

pub struct KeysQuery {
    before: Option<i64>,
    limit: u64,
}

impl QueryParams for KeysQuery {
    const NAMES: &'static [&'static str] = &["after", "limit"];

    fn read(params: &Params) -> Result<KeysQuery, Error> {
        let before = params.parsed("after", |text| cursor::read('k', text))?;
        Ok(KeysQuery { before, limit: limit(params)? })
    }
}

/// `GET /v1/ops/keys`: those of the file first, then those of the database, newest first.
pub async fn list(
    app: HttpState,
    caller: Authorized<Admin>,
    ClientIp(client): ClientIp,
    StrictQuery(KeysQuery { before, limit }): StrictQuery<KeysQuery>,
) -> Result<Response, Error> {
    let page = ops::keys::list(&app.store, &app.config, &operator(&caller, client), (before, limit)).await?;
    let rows: Vec<Value> = page.rows.iter().map(key_json).collect();
    let next = page.next.map(|seq| cursor::write('k', seq));
    Ok(axum::Json(json!({"keys": rows, "next": next})).into_response())
}

/// `POST /v1/ops/keys`: the answer has the key, which is shown this once.
pub async fn create(
    app: HttpState,
    caller: Authorized<Admin>,
    _: StrictQuery<NoQuery>,
    request: Request,
) -> Result<Response, Error> {
    let Posted { body, client, .. } = Posted::json(&app, request).await?;
    let now = app.clock.now();
    let request = parse(&body, &app.config, &caller, now)?;
    let by = (&operator(&caller, client), caller.authority());
    let made = ops::keys::create(&app.store, &app.config, by, request, now).await.map_err(|e| match e {
        NotMade::Exceeds(why) => Error::GrantExceeds(why),
        NotMade::NameTaken => Error::KeyNameTaken,
        NotMade::NoClient => Error::NotFound("API key"),
        NotMade::Store(e) => e.into(),
    })?;
    know(&app).await;
    let mut answer = json!({"key": made.secret.expose()});
    if let (Some(answer), Value::Object(key)) = (answer.as_object_mut(), key_json(&made.view)) {
        answer.extend(key);
    }
    Ok((StatusCode::CREATED, axum::Json(answer)).into_response())
}

/// `POST /v1/ops/keys/{id}/revoke`: `{"reason": "…"}`.
pub async fn revoke(
    app: HttpState,
    caller: Authorized<Admin>,
    _: StrictQuery<NoQuery>,
    KeyPath(id): KeyPath,
    request: Request,
) -> Result<Response, Error> {
    let Posted { body, client, .. } = Posted::json(&app, request).await?;
    let reason = reason_of_body(&body)?;
    let by = operator(&caller, client);
    let revoked = ops::keys::revoke(&app.store, &app.config, &by, (&id, &reason), app.clock.now()).await?;
    let revoked = revoked.ok_or(Error::NotFound("API key"))?;
    know(&app).await;
    Ok(axum::Json(key_json(&revoked)).into_response())
}

/// This process knows it when it answers; the others read it within seconds.
async fn know(app: &HttpState) {
    if let Err(e) = app.keys.refresh().await {
        tracing::warn!(error = %e, "The changed API keys could not be read: they are read again in two seconds");
    }
}

fn key_json(key: &KeyView) -> Value {
    let latest = |time: fn(&HashView) -> Option<_>| key.hashes.iter().filter_map(time).max();
    // A client ends with the last of its keys.
    let revoked = key.hashes.iter().map(|hash| hash.revoked.as_ref()).collect::<Option<Vec<_>>>();
    let revoked = revoked.and_then(|all| all.into_iter().max_by_key(|revoked| revoked.at));
    let expires_at = key.hashes.iter().map(|hash| hash.until).collect::<Option<Vec<_>>>();
    let hash_json = |hash: &HashView| {
        json!({
            "hash": format!("sha256:{}", &hash.sha256[..12]),
            "until": hash.until,
            "last_used_at": hash.last_used_at,
            "revoked_at": hash.revoked.as_ref().map(|revoked| revoked.at),
        })
    };
    json!({
        "id": key.id,
        "client": key.client_id,
        "name": key.name,
        "source": key.source.as_str(),
        "scopes": key.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>(),
        "merchants": match &key.merchants {
            Merchants::All => json!("all"),
            Merchants::Only(merchants) => json!(merchants.iter().map(|key| key.as_str()).collect::<Vec<_>>()),
        },
        "expires_at": expires_at.and_then(|all| all.into_iter().max()),
        "refund_cap_fen_per_day": key.refund_cap_per_day.map(crate::money::Fen::as_i64),
        "rate_limit_per_second": key.rate_limit_per_second,
        "created_at": key.created_at,
        "created_by": key.created_by,
        "last_used_at": latest(|hash| hash.last_used_at),
        "revoked_at": revoked.map(|revoked| revoked.at),
        "revoked_by": revoked.map(|revoked| &revoked.by),
        "revoked_reason": revoked.map(|revoked| &revoked.reason),
        "hashes": key.hashes.iter().map(hash_json).collect::<Vec<_>>(),
    })
}
