//! The listing of what is in force, for `wxpayd check-config`: TOML, each value with the layer it came from.
//!
//! It is written from what was recorded while reading, where a secret is already `***`: no secret can reach it.

use super::layers::Origin;
use crate::secret::sha256_hex;

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
    /// SHA-256 of what it really holds: of a secret, of a file's bytes. Two processes are compared by it.
    pub content: String,
}

impl Line {
    /// The key as the file names it: `merchants[0].v2_key_file`.
    pub(super) fn name(&self) -> String {
        format!("{}.{}", self.path, self.key)
    }
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
    /// The first twelve hex digits of the SHA-256 of all keys and what they hold, wherever they were set.
    pub(super) fn hash(&self) -> String {
        let mut all: Vec<String> = self.0.iter().map(|line| format!("{}={}\n", line.name(), line.content)).collect();
        all.sort();
        let all = all.concat();
        sha256_hex(all.as_bytes()).chars().take(12).collect()
    }

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
