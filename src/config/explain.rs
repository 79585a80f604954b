//! The listing of what is in force, for `wxpayd check-config`: TOML, each value with the layer it came from.
//!
//! It is written from what was recorded while reading, where a secret is already `***`: no secret can reach it.

use super::layers::Origin;

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

/// Everything in force. Opaque, so that [`super::Config`] can derive `Debug`.
#[derive(Clone)]
pub(super) struct Effective(pub Vec<Line>);

impl std::fmt::Debug for Effective {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} values", self.0.len())
    }
}

impl Effective {
    /// TOML with the sources as comments.
    pub(super) fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut table = "";
        for line in &self.0 {
            if line.path != table {
                table = &line.path;
                let names: Vec<&str> = table.split('.').filter_map(|part| part.split('[').next()).collect();
                let name = names.join(".");
                let header = if table.ends_with(']') { format!("[[{name}]]") } else { format!("[{name}]") };
                let gap = if text.is_empty() { "" } else { "\n" };
                text.push_str(&format!("{gap}{header}\n"));
            }
            let source = match &line.origin {
                Origin::Default => "default",
                Origin::File => "file",
                Origin::Environment(name) => name,
            };
            text.push_str(&format!("{} = {} # {source}\n", line.key, line.value));
        }
        text
    }
}

/// A TOML basic string.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
