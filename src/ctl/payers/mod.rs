//! `payers`: what is done to one payer.

mod args;
mod run;

pub use args::PayersCommand;
pub use run::run;
