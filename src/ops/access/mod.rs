//! Who may use the service: API keys, and the console's users.

pub mod erasures;
pub mod keys;
pub mod sessions;
pub mod users;
