//! The numbers that paths name: of an order, of a refund, of a payment.

use std::fmt::Display;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;

use crate::http::problem::{Error, FieldProblem};
use crate::ids::{OrderNo, OutRefundNo, TransactionId};

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

/// Extractor: WeChat's number of a payment in a path.
pub struct PaymentPath(pub TransactionId);

impl<S: Send + Sync> FromRequestParts<S> for PaymentPath {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<PaymentPath, Error> {
        number(parts, state, "transaction_id", TransactionId::parse).await.map(PaymentPath)
    }
}

/// Extractor: the number of a row in a path.
pub struct RowPath(pub i64);

impl<S: Send + Sync> FromRequestParts<S> for RowPath {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<RowPath, Error> {
        let parse = |text: String| {
            let digits = text.bytes().all(|b| b.is_ascii_digit());
            text.parse().ok().filter(|_| digits).ok_or("must be a whole number")
        };
        number(parts, state, "id", parse).await.map(RowPath)
    }
}

/// Extractor: an id in a path that is taken as it is.
pub struct TextPath(pub String);

impl<S: Send + Sync> FromRequestParts<S> for TextPath {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<TextPath, Error> {
        let parse = |text: String| {
            let is_plain =
                text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
            if is_plain { Ok(text) } else { Err("must be an id of a list") }
        };
        number(parts, state, "id", parse).await.map(TextPath)
    }
}

/// Extractor: the id of an API key in a path, which the configuration may give.
pub struct KeyPath(pub String);

impl<S: Send + Sync> FromRequestParts<S> for KeyPath {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<KeyPath, Error> {
        let parse = |text: String| {
            let is_word = text.len() <= 64 && text.bytes().all(|b| b.is_ascii_graphic());
            if is_word { Ok(text) } else { Err("must be an id of a list") }
        };
        number(parts, state, "id", parse).await.map(KeyPath)
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
