//! `wxpayctl` as its users run it: a process beside a running service.

mod exits;
mod output;
mod support;
