//! The WeChat simulator over real HTTP: what it checks, answers, keeps, posts and spoils.

mod cashier;
mod faults;
mod orders;
mod parts;
mod paying;
mod platform_bridge;
mod platform_login;
mod platform_tokens;
mod program;
mod refusals;
mod repeats;
mod restart;
