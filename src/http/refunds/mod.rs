//! `/v1/orders/{order_no}/refunds` and `/v1/refunds`.

pub(crate) mod create;
pub(crate) mod get;
pub(crate) mod request;
pub(crate) mod view;
