//! `GET /console/search`: from an identifier to the page of what it names; from any other text to the orders with it.

use axum::response::{IntoResponse, Redirect, Response};

use super::fault::Fault;
use super::links;
use super::query::Filters;
use super::state::Console;
use super::viewer::Viewer;
use crate::ops;
use crate::ops::orders::{Matched, OrderQuery};
use crate::store::OrderFilter;

pub async fn get(app: Console, viewer: Viewer, query: Filters) -> Result<Response, Fault> {
    let text: String = query.text("q").chars().take(ops::orders::TEXT_MAX).collect();
    if text.is_empty() {
        return Ok(Redirect::to("/console").into_response());
    }
    let filter = OrderFilter { merchants: viewer.merchants().map(<[_]>::to_vec), ..OrderFilter::default() };
    let asked = OrderQuery { filter, text: Some(text.clone()), after: None, limit: 2 };
    let found = ops::orders::list(&app.store, asked, app.clock.now()).await?;
    let to = match &found.orders[..] {
        // A single order that has this number.
        [only] if found.matched == Some(Matched::Number) && !found.truncated => {
            links::order(&only.order.merchant, &only.order.order_no)
        }
        _ => links::orders_with(&text),
    };
    Ok(Redirect::to(&to).into_response())
}
