//! Calls of WeChat's pay API, each after a permit: all processes together keep to a merchant's rates.

pub(super) mod calls;
pub(super) mod pacer;
pub(super) mod refund_clients;
