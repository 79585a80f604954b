//! `/v1/orders/{order_no}/refunds` and `/v1/refunds`.

pub(crate) mod request;
pub(crate) mod routes;
pub(crate) mod view;
