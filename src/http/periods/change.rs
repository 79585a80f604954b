//! `POST /v1/periods/{merchant}/{month}/close` and `…/reopen`: `{"reason": "…"}`.

use axum::extract::Request;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::month::{MonthPath, period_json};
use crate::http::extract::auth::{Admin, Authorized, Caller, Finance};
use crate::http::extract::posted::Posted;
use crate::http::extract::query::{NoQuery, StrictQuery};
use crate::http::ops::operator;
use crate::http::ops::query::reason_of_body;
use crate::http::problem::{Error, FieldProblem};
use crate::http::state::HttpState;
use crate::ops::reports::{PeriodError, close_month, period, reopen_month};

/// Freezes the figures of a month whose days are balanced or explained.
pub async fn close(
    app: HttpState,
    caller: Authorized<Finance>,
    _: StrictQuery<NoQuery>,
    path: MonthPath,
    request: Request,
) -> Result<Response, Error> {
    change(&app, &caller, path, request, false).await
}

/// Opens the last closed month for another closing.
pub async fn reopen(
    app: HttpState,
    caller: Authorized<Admin>,
    _: StrictQuery<NoQuery>,
    path: MonthPath,
    request: Request,
) -> Result<Response, Error> {
    change(&app, &caller, path, request, true).await
}

async fn change(
    app: &HttpState,
    caller: &Caller,
    path: MonthPath,
    request: Request,
    reopens: bool,
) -> Result<Response, Error> {
    let Posted { body, client, .. } = Posted::json(app, request).await?;
    let reason = reason_of_body(&body)?;
    let named = |rule| FieldProblem::parameter("merchant", rule);
    let merchant = caller.merchant(&app.config, Some(&path.merchant), named)?.key.clone();
    let operator = operator(caller, client);
    let about = (&merchant, &path.month);
    if reopens {
        reopen_month(&app.store, &app.clock, &operator, about, &reason).await?;
    } else {
        close_month(&app.store, &app.clock, &operator, about, &reason).await?;
    }
    let view = period(&app.store, &merchant, path.month, app.clock.now()).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], period_json(&view)?).into_response())
}

impl From<PeriodError> for Error {
    fn from(e: PeriodError) -> Error {
        match e {
            PeriodError::NotOver => Error::PeriodNotOver,
            PeriodError::OpenDays(days) => Error::PeriodOpenDays(days),
            PeriodError::OutOfOrder { last } => Error::PeriodOutOfOrder { last },
            PeriodError::Store(e) => e.into(),
        }
    }
}
