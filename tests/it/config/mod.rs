//! The configuration: every rule refuses what breaks it, names the key, and never shows a secret.

mod api_keys;
mod certificates;
mod check_config;
mod hangup;
mod layers;
pub mod page;
mod reload;
mod retention;
mod rules;
mod secrets;
mod support;
