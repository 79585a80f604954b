//! API keys: made and revoked over the API, limited in rate, and what the audit keeps of refused ones.

mod age;
mod made;
mod refused;
mod revoked;
mod support;

pub use support::{ADMIN, with_admin};
