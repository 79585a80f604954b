//! `wxpayd init` and `wxpayd config-example`: a complete configuration, explained, with fresh secrets.
//!
//! What must stay true: every key of `default.toml` is in it; a file that exists is not lost; no secret is in the
//! configuration itself; what only the merchant knows is `CHANGE-ME`, which no start accepts.

mod files;
mod fresh;
mod kind;
mod text;

pub use files::{InitError, Written, write};
pub use kind::Kind;
pub use text::example;
