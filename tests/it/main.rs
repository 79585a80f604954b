//! The integration tests: one binary. `tests/run.sh` starts what they need and runs them.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod books;
mod clock;
mod config;
mod console;
mod console_pages;
mod contracts;
mod ctl;
mod demo;
mod deploy;
mod envelope;
mod faults;
mod flows;
mod group;
mod harness;
mod health;
mod http;
mod keys;
mod lists;
mod monitoring;
mod nats_consumer;
mod ops_replay;
mod order;
mod packed;
mod refunds;
mod sandbox;
mod scheduler;
mod settling;
mod telemetry;
mod tidy;
mod upgrade;
mod vectors;
mod web;
mod wechat;
