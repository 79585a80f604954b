//! The HTTP ingress over a real socket, a SQLite file and the embedded bus.

mod browser;
mod browser_login;
mod browser_login_limits;
mod browser_mini;
mod browser_pages;
mod browser_sessions;
mod browser_wallet;
mod client;
mod feed;
mod health;
mod hostile;
mod notify;
mod ops_jobs;
mod orders;
mod schemas;
mod stage;
mod streams;
mod waiting;
