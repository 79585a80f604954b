//! What is in force, as it was recorded while reading: each value with the layer it came from, secrets masked.

use super::layers::Origin;

/// One key in force.
#[derive(Clone)]
pub(super) struct Line {
    /// The table: `server`, `merchants[0]`.
    pub path: String,
    /// The key in it.
    pub key: String,
    /// Its value as TOML, a secret's as `"***"`.
    pub value: String,
    /// The layer it came from.
    pub origin: Origin,
}

/// Everything in force. Opaque, so that [`Config`] can derive `Debug`.
#[derive(Clone)]
pub(super) struct Effective(pub Vec<Line>);

impl std::fmt::Debug for Effective {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} values", self.0.len())
    }
}
