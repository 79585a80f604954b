//! WeChat's protocol: what goes over the wire and what it means. Knows no store, no bus.
//!
//! [`transport`] carries bytes, [`certificate`] says who we are where that is asked for. To the pay API: [`v2`]
//! converts them into types and back, [`outcome`] is the one table that says what an answer allows the caller to do
//! next. To the platform API: [`platform`] is both, [`oauth`], [`token`], [`mini_program`] are its calls, and [`jssdk`]
//! signs what pages show to WeChat.

pub mod certificate;
pub mod jssdk;
pub mod mini_program;
pub mod oauth;
pub mod outcome;
mod percent;
pub mod platform;
pub mod token;
pub mod transport;
pub mod v2;
