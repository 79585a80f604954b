//! The WeChat simulator over real HTTP: what it checks, answers, keeps, posts and spoils.

mod bills;
mod cashier;
mod faults;
mod orders;
mod others;
pub mod parts;
mod paying;
mod platform;
mod program;
pub mod refunds;
mod refusals;
mod repeats;
mod restart;
mod words;
