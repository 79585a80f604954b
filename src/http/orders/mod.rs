//! `/v1/orders`: create, list, read, close, new attempts, pay parameters, the stream of changes.

pub(crate) mod accept;
pub(crate) mod attempt_request;
pub(crate) mod close;
pub(crate) mod create;
pub(crate) mod get;
pub(crate) mod history;
pub(crate) mod list;
pub(crate) mod pay_params;
pub(crate) mod recorder;
pub(crate) mod request;
mod requested;
pub(crate) mod stream;
pub(crate) mod take;
pub(crate) mod view;
