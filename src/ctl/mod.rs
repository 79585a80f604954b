//! `wxpayctl`: operations over the service's HTTP API, from any machine that reaches it.
//!
//! Data goes to stdout, everything else to stderr; `--json` prints what the service answered. Exit codes are those of
//! [`Exit`]. Nothing here knows the database or the bus.

mod args;
mod client;
mod commands;
mod exit;
mod keys;
mod output;
mod replay;
mod run;

pub use exit::Exit;
pub use run::main;
