//! Calls of WeChat's pay API, each after a permit: all processes together keep to a merchant's rates.

pub(super) mod call_log;
pub(super) mod calls;
mod made;
pub(super) mod pacer;
pub(super) mod refund_clients;
