//! WeChat's protocol: the messages and what they mean. Knows no store, no bus.
//!
//! [`transport`] carries bytes, [`certificate`] is the merchant's TLS client identity. Pay API: [`v2`] converts bytes
//! into types and back, with one file per API; [`outcome`] is the one table that says what an answer allows the caller
//! to do next. Platform API: [`platform`] is both, [`oauth`], [`token`] and [`mini_program`] are its calls; [`jssdk`]
//! signs pages for WeChat's script. A new API of either kind is a file here: `docs/architecture.md` lists the steps.

pub mod certificate;
mod json_text;
pub mod jssdk;
pub mod mini_program;
mod newest_date;
pub mod oauth;
pub mod outcome;
mod pay_hosts;
mod percent;
pub mod platform;
pub mod setup_fault;
pub mod token;
pub mod transport;
mod unsigned_words;
pub mod v2;
