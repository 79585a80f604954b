//! `webhooks`: endpoints, what was delivered to them, recovery.

mod args;
mod run;

pub use args::WebhooksCommand;
pub use run::run;
