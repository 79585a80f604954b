//! `wxpayctl` as its users run it: a process beside a running service.

mod exits;
mod keys;
mod output;
mod support;
