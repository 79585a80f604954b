//! The numbers that paths name: of an order, of a refund.

use std::fmt::Display;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;

use crate::http::problem::{Error, FieldProblem};
use crate::ids::{OrderNo, OutRefundNo};

/// Extractor: the order number of a path.
pub struct OrderPath(pub OrderNo);

impl<S: Send + Sync> FromRequestParts<S> for OrderPath {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<OrderPath, Error> {
        number(parts, state, "order_no", OrderNo::parse).await.map(OrderPath)
    }
}

/// Extractor: the refund number of a path.
pub struct RefundPath(pub OutRefundNo);

impl<S: Send + Sync> FromRequestParts<S> for RefundPath {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<RefundPath, Error> {
        number(parts, state, "refund_no", OutRefundNo::parse).await.map(RefundPath)
    }
}

async fn number<S: Send + Sync, T, E: Display>(
    parts: &mut Parts,
    state: &S,
    name: &'static str,
    parse: impl FnOnce(String) -> Result<T, E>,
) -> Result<T, Error> {
    let problem = |rule: String| Error::Invalid(vec![FieldProblem::parameter(name, rule)]);
    let Path(text) =
        Path::<String>::from_request_parts(parts, state).await.map_err(|_| problem("must be UTF-8 text".into()))?;
    parse(text).map_err(|e| problem(e.to_string()))
}
