//! `GET /v1/orders/{order_no}/history`

use axum::response::{IntoResponse, Response};

use super::get::find;
use crate::http::extract::auth::{Authorized, Ops};
use crate::http::extract::path::OrderPath;
use crate::http::extract::query::{MerchantQuery, StrictQuery};
use crate::http::problem::Error;
use crate::http::state::HttpState;
use crate::ops;

pub async fn history(
    app: HttpState,
    caller: Authorized<Ops>,
    StrictQuery(query): StrictQuery<MerchantQuery>,
    OrderPath(order_no): OrderPath,
) -> Result<Response, Error> {
    let stored = find(&app, &caller, query.merchant.as_deref(), &order_no).await?;
    let timeline = ops::history::of_order(&app.store, &stored).await?;
    Ok(axum::Json(timeline).into_response())
}
