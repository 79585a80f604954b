//! WeChat's protocol: what goes over the wire and what it means. Knows no store, no bus.
//!
//! [`http`] carries bytes, [`certificate`] says who we are where that is asked for, [`v2`] turns them into types and back, [`outcome`] is the one table that says what an
//! answer allows the caller to do next.

pub mod certificate;
pub mod http;
pub mod outcome;
pub mod v2;
