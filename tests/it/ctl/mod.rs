//! `wxpayctl` as its users run it: a process beside a running service.

mod books;
mod doctor;
mod exits;
mod help;
mod keys;
mod month;
mod order_token;
mod output;
mod queue;
mod repairs;
mod runbook;
pub mod support;
mod trigger;
