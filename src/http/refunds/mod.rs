//! `/v1/orders/{order_no}/refunds` and `/v1/refunds`.

pub(crate) mod create;
mod elsewhere;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod request;
pub(crate) mod view;
