//! The pay API, WeChat's side of it: what `/pay/…` checks, does and answers.
//!
//! Written from WeChat's rules and apart from the service's own client: the two must not share a mistake. Only the
//! XML and the signature are common, and both are held by WeChat's published vectors.
//!
//! Two layers refuse, as at WeChat: `return_code` FAIL, unsigned, when the message itself is wrong (transport, XML,
//! signature, a missing or malformed element); `result_code` FAIL, signed, when the message is right and the answer
//! is no. Before both stands, for `/secapi/…`, the web server that wants to see the merchant's certificate.

mod answer;
mod call;
mod check;
mod close_order;
mod download;
mod order_query;
mod others;
mod refund;
mod refund_query;
mod unified_order;

pub(super) use call::router;
pub(super) use others::unknown;
pub(super) use refund::UNSETTLED_FUNDS;
