//! `wxpayctl`: operations over the service's HTTP API, from any machine that reaches it.
//!
//! Data goes to stdout, everything else to stderr; `--json` prints what the service answered. Exit codes are those of
//! [`Exit`]. Nothing here knows the database or the bus; `doctor` has its checks in [`crate::doctor`].

mod approvals;
mod args;
mod args_page;
mod args_replay;
mod bus;
mod client;
mod commands;
mod doctor;
mod exit;
mod finance;
mod keys;
mod output;
mod payers;
mod replay;
mod run;
mod scripts;
mod trigger;
mod webhooks;

pub use exit::Exit;
pub use run::main;
