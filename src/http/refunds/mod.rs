//! `/v1/orders/{order_no}/refunds`, `/v1/payments/{transaction_id}/refunds` and `/v1/refunds`.

pub(crate) mod create;
mod elsewhere;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod request;
mod unmatched;
pub(crate) mod view;

pub(crate) use unmatched::Confirmed;
