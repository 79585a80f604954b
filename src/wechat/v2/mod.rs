//! API v2: XML over HTTPS, signed with the merchant's key. One file per API, both directions.

pub mod sign;
pub mod xml;
