//! API v2: XML over HTTPS, signed with the merchant's key. One file per API, both directions.
//!
//! Below the APIs: [`xml`] (the format), [`sign`] (signatures), [`request`] and [`reply`] (what every call shares),
//! [`payment`] and [`coupon`] (parts of several messages).

pub mod bill;
pub mod close;
pub mod coupon;
pub mod notify;
pub mod pay_params;
pub mod payment;
pub mod query;
pub mod refund;
pub mod refund_notify;
pub mod refund_query;
pub mod reply;
pub mod request;
pub mod sign;
pub mod unified_order;
pub mod xml;
