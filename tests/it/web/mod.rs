//! The browser side over a real socket: logins, pages, wallet and mini programs.

pub mod browser;
mod crowded_address;
mod forgotten;
mod login;
mod login_limits;
mod mini;
mod pages;
mod questions;
mod sessions;
mod shared_links;
mod wallet;
