//! `POST` and `GET /v1/webhooks`, `GET`, `PATCH` and `DELETE /v1/webhooks/{id}`, `POST …/{id}/rotate` and
//! `…/{id}/test`.

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::request::{parse_change, parse_new, parse_reason};
use super::view::{endpoint_json, made_json, test_json};
use crate::http::extract::auth::{Authorized, Finance};
use crate::http::extract::client_addr::ClientIp;
use crate::http::extract::path::TextPath;
use crate::http::extract::posted::Posted;
use crate::http::extract::query::{NoQuery, Params, QueryParams, StrictQuery};
use crate::http::ops::operator;
use crate::http::ops::query::limit;
use crate::http::problem::{Error, FieldProblem};
use crate::http::state::HttpState;
use crate::ops::webhooks;
use crate::ops::webhooks::{Made, WebhookError};
use crate::webhooks::KeyError;

/// `POST /v1/webhooks`: the answer has the secret, which is shown this once.
pub async fn create(
    app: HttpState,
    caller: Authorized<Finance>,
    _: StrictQuery<NoQuery>,
    request: Request,
) -> Result<Response, Error> {
    let Posted { body, client, .. } = Posted::json(&app, request).await?;
    let (new, merchant) = parse_new(&body)?;
    let problem = |rule: &'static str| FieldProblem::member("merchant", rule);
    let merchant = caller.merchant(&app.config, merchant.as_deref(), problem)?.key.clone();
    let made = webhooks::create(&app.webhooks, &operator(&caller, client), new(merchant)).await?;
    let mut response = shown_once(StatusCode::CREATED, &made);
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/webhooks/{}", made.view.endpoint.id)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

pub struct EndpointsQuery {
    merchant: Option<String>,
    before: Option<String>,
    limit: u64,
}

impl QueryParams for EndpointsQuery {
    const NAMES: &'static [&'static str] = &["merchant", "after", "limit"];

    fn read(params: &Params) -> Result<EndpointsQuery, Error> {
        Ok(EndpointsQuery {
            merchant: params.owned("merchant"),
            before: params.owned("after"),
            limit: limit(params)?.min(100),
        })
    }
}

/// `GET /v1/webhooks`: newest first.
pub async fn list(
    app: HttpState,
    caller: Authorized<Finance>,
    ClientIp(client): ClientIp,
    StrictQuery(query): StrictQuery<EndpointsQuery>,
) -> Result<Response, Error> {
    let merchants = caller.among(&app.config, query.merchant.as_deref())?;
    let page = (query.before.as_deref(), query.limit);
    let page = webhooks::list(&app.store, &operator(&caller, client), merchants.as_deref(), page).await?;
    let rows: Vec<Value> = page.rows.iter().map(endpoint_json).collect();
    Ok(axum::Json(json!({"webhooks": rows, "next": page.next})).into_response())
}

/// `GET /v1/webhooks/{id}`
pub async fn get(
    app: HttpState,
    caller: Authorized<Finance>,
    _: StrictQuery<NoQuery>,
    ClientIp(client): ClientIp,
    TextPath(id): TextPath,
) -> Result<Response, Error> {
    let view = webhooks::get(&app.store, &operator(&caller, client), &id).await?;
    Ok(axum::Json(endpoint_json(&view)).into_response())
}

/// `PATCH /v1/webhooks/{id}`
pub async fn update(
    app: HttpState,
    caller: Authorized<Finance>,
    _: StrictQuery<NoQuery>,
    TextPath(id): TextPath,
    request: Request,
) -> Result<Response, Error> {
    let Posted { body, client, .. } = Posted::json(&app, request).await?;
    let change = parse_change(&body)?;
    let view = webhooks::update(&app.webhooks, &operator(&caller, client), &id, change).await?;
    Ok(axum::Json(endpoint_json(&view)).into_response())
}

/// `DELETE /v1/webhooks/{id}`
pub async fn delete(
    app: HttpState,
    caller: Authorized<Finance>,
    _: StrictQuery<NoQuery>,
    TextPath(id): TextPath,
    request: Request,
) -> Result<Response, Error> {
    let Posted { body, client, .. } = Posted::optional_json(&app, request).await?;
    let reason = parse_reason(&body)?;
    webhooks::delete(&app.webhooks, &operator(&caller, client), &id, reason).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST /v1/webhooks/{id}/rotate`: the answer has the new secret, which is shown this once.
pub async fn rotate(
    app: HttpState,
    caller: Authorized<Finance>,
    _: StrictQuery<NoQuery>,
    TextPath(id): TextPath,
    request: Request,
) -> Result<Response, Error> {
    let Posted { body, client, .. } = Posted::optional_json(&app, request).await?;
    let reason = parse_reason(&body)?;
    let made = webhooks::rotate(&app.webhooks, &operator(&caller, client), &id, reason).await?;
    Ok(shown_once(StatusCode::OK, &made))
}

/// `POST /v1/webhooks/{id}/test`: what came of it.
pub async fn test(
    app: HttpState,
    caller: Authorized<Finance>,
    _: StrictQuery<NoQuery>,
    ClientIp(client): ClientIp,
    TextPath(id): TextPath,
) -> Result<Response, Error> {
    let answer = webhooks::test(&app.webhooks, &operator(&caller, client), &id).await?;
    Ok(axum::Json(test_json(&answer)).into_response())
}

fn shown_once(status: StatusCode, made: &Made) -> Response {
    (status, axum::Json(made_json(&made.view, made.secret.as_ref()))).into_response()
}

impl From<WebhookError> for Error {
    fn from(e: WebhookError) -> Error {
        match e {
            WebhookError::NotFound => Error::NotFound("webhook endpoint"),
            WebhookError::Address(refused) => Error::Invalid(vec![FieldProblem::member("url", refused.to_string())]),
            WebhookError::UsedUp => Error::WebhooksUsedUp,
            WebhookError::TooOften => Error::RateLimited,
            WebhookError::Key(KeyError::NotConfigured) => Error::WebhooksNotConfigured,
            WebhookError::Key(e @ KeyError::AnotherKey) => Error::Internal { internal: e.to_string() },
            WebhookError::Defect(internal) => Error::Internal { internal },
            WebhookError::Store(e) => e.into(),
        }
    }
}
