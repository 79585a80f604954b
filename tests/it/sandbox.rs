//! The WeChat simulator over real HTTP: what it checks, answers, keeps, posts and spoils.

mod cashier;
mod faults;
mod orders;
pub mod parts;
mod paying;
mod platform_bridge;
mod platform_login;
mod platform_mini;
mod platform_tokens;
mod program;
mod refunds;
mod refunds_news;
pub mod refunds_parts;
mod refunds_query;
mod refunds_sdk;
mod refunds_wire;
mod refusals;
mod repeats;
mod restart;
