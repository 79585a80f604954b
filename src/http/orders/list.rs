//! `GET /v1/orders`: newest first, by filters and by any number or text.

use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::view::OrderJson;
use crate::clock::Timestamp;
use crate::http::extract::auth::{Authorized, Orders};
use crate::http::extract::query::{Params, QueryParams, StrictQuery};
use crate::http::problem::{Error, FieldProblem};
use crate::http::state::HttpState;
use crate::ids::AppKey;
use crate::money::Fen;
use crate::ops::orders as ops;
use crate::order::OrderState;
use crate::store::{OrderFilter, OrderFlag};
use crate::trade::TradeType;

pub struct OrdersQuery {
    merchant: Option<String>,
    query: ops::OrderQuery,
}

impl QueryParams for OrdersQuery {
    const NAMES: &'static [&'static str] = &[
        "merchant",
        "state",
        "flag",
        "app",
        "trade_type",
        "from",
        "to",
        "min_amount_fen",
        "max_amount_fen",
        "q",
        "after",
        "limit",
    ];

    fn read(params: &Params) -> Result<OrdersQuery, Error> {
        let time = |text: &str| Timestamp::parse_rfc3339(text).map_err(|_| "must be a time like 2026-01-02T03:04:05Z");
        let largest = u64::try_from(Fen::ORDER_MAX.as_i64()).unwrap_or_default();
        let amount = |name| -> Result<Option<Fen>, Error> {
            let number = params.number(name, 0..=largest)?;
            Ok(number.map(|n| Fen::from_i64(i64::try_from(n).unwrap_or(i64::MAX))))
        };
        let filter = OrderFilter {
            merchants: None,
            state: params.parsed("state", |text| {
                OrderState::parse(text).ok_or("must be requested, payable, paid, closed or failed")
            })?,
            flag: params.parsed("flag", |text| {
                OrderFlag::parse(text)
                    .ok_or("must be paid_late, paid_twice, paid_before_order, outcome_unknown or amount_mismatch")
            })?,
            app: params.parsed("app", |text| AppKey::parse(text.to_owned()))?,
            trade_type: params
                .parsed("trade_type", |text| TradeType::parse(text).ok_or("must be JSAPI, NATIVE, APP or MWEB"))?,
            from: params.parsed("from", time)?,
            to: params.parsed("to", time)?,
            min: amount("min_amount_fen")?,
            max: amount("max_amount_fen")?,
        };
        let query = ops::OrderQuery {
            filter,
            text: params.parsed("q", text)?,
            after: params.parsed("after", ops::parse_cursor)?,
            limit: params.number("limit", 1..=ops::MAX_LIMIT)?.unwrap_or(ops::DEFAULT_LIMIT),
        };
        Ok(OrdersQuery { merchant: params.owned("merchant"), query })
    }
}

fn text(text: &str) -> Result<String, String> {
    let text = text.trim();
    let length = text.chars().count();
    let fits = (1..=ops::TEXT_MAX).contains(&length) && !text.chars().any(char::is_control);
    if fits { Ok(text.to_owned()) } else { Err(format!("must be 1 to {} characters of text", ops::TEXT_MAX)) }
}

pub async fn list(
    app: HttpState,
    caller: Authorized<Orders>,
    StrictQuery(OrdersQuery { merchant, mut query }): StrictQuery<OrdersQuery>,
) -> Result<Response, Error> {
    query.filter.merchants = caller.among(&app.config, merchant.as_deref())?;
    if let (Some(min), Some(max)) = (query.filter.min, query.filter.max)
        && min > max
    {
        let rule = "must not be less than min_amount_fen";
        return Err(Error::Invalid(vec![FieldProblem::parameter("max_amount_fen", rule)]));
    }
    let list = ops::list(&app.store, query, app.clock.now()).await?;
    let orders: Vec<OrderJson<'_>> = list.orders.iter().map(OrderJson::state).collect();
    let body = json!({
        "orders": orders,
        "next": list.next.map(ops::cursor),
        "matched": list.matched.map(ops::Matched::as_str),
        "from": list.from,
        "compared_to": list.compared_to,
        "truncated": list.truncated,
    });
    Ok(axum::Json(body).into_response())
}
