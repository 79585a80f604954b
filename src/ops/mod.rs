//! What operators see and do, one function each: the HTTP API and the console call only these, and
//! `wxpayctl` calls the API.
//!
//! What must stay true: whatever changes something takes an [`Operator`] and a reason, and writes its audit row in the
//! transaction of the change; a row of a merchant that the operator may not see is as if it did not exist.

pub mod access;
pub mod audit;
pub mod bus;
pub mod commands;
pub mod dead_letters;
pub mod health;
pub mod history;
pub mod jobs;
pub mod mask;
pub mod money;
pub mod notifications;
mod operator;
pub mod orders;
pub mod overview;
pub mod reason;
pub mod reconciliation;
pub mod replay;
pub mod reports;
pub mod webhooks;

pub use access::{erasures, keys, sessions, users};
pub use operator::{Operator, Page};
