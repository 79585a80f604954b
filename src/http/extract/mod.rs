//! What a request carries, checked: credentials, body, path, query string, JSON members, the client's address,
//! how it came.

pub(crate) mod auth;
pub(crate) mod body;
pub(crate) mod client_addr;
pub(crate) mod cookie;
pub(crate) mod cursor;
pub(crate) mod json_object;
pub(crate) mod path;
pub(crate) mod posted;
pub(crate) mod query;
pub(crate) mod request_id;
pub mod transport;
