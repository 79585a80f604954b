//! `wxpayctl trigger`: has something happen now.

mod args;
mod payment;
mod run;

pub use args::TriggerArgs;
pub use run::run;
