//! `POST /v1/reconciliations/{merchant}/{date}/explain`: `{"note": "…"}`.

use axum::extract::Request;
use axum::response::{IntoResponse, Response};

use super::path::DayPath;
use super::request;
use super::view::DayJson;
use crate::http::extract::auth::{Authorized, Finance};
use crate::http::extract::posted::Posted;
use crate::http::extract::query::{NoQuery, StrictQuery};
use crate::http::ops::operator;
use crate::http::problem::Error;
use crate::http::state::HttpState;
use crate::ops;
use crate::ops::reconciliation::ExplainError;

/// Explains a day whose bill WeChat no longer has.
pub async fn explain(
    app: HttpState,
    caller: Authorized<Finance>,
    _: StrictQuery<NoQuery>,
    path: DayPath,
    request: Request,
) -> Result<Response, Error> {
    let Posted { body, client, .. } = Posted::json(&app, request).await?;
    let note = request::note(&body)?;
    let merchant = path.merchant(&app, &caller)?;
    let by = operator(&caller, client);
    ops::reconciliation::explain((&app.store, &app.clock), &by, (&merchant.key, path.day), note).await?;
    let day = path.found(&app, &caller).await?;
    let repair = ops::reconciliation::progress(&app.store, &day).await?;
    Ok(axum::Json(DayJson::new(&day).with(repair.as_ref())).into_response())
}

impl From<ExplainError> for Error {
    fn from(e: ExplainError) -> Error {
        match e {
            ExplainError::Kept { oldest } => Error::BillKept { oldest },
            ExplainError::NotOpen => Error::DayNotOpen,
            ExplainError::Store(e) => e.into(),
        }
    }
}
