//! What operators see and do over HTTP. Everything here calls `crate::ops`, and needs the scope `ops`; API keys need
//! `admin`.

pub(crate) mod approvals;
pub(crate) mod audit;
pub(crate) mod bus;
mod caller;
pub(crate) mod dead_letters;
pub(crate) mod health;
pub(crate) mod jobs;
mod key_request;
pub(crate) mod keys;
pub(crate) mod notifications;
pub(crate) mod query;
mod replay_request;
pub(crate) mod replays;

pub(crate) use caller::{operator, tools};
