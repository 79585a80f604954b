//! What a check found.

use serde_json::{Value, json};

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Ok,
    /// The service runs with it, and it needs attention.
    Warning,
    /// To be mended.
    Problem,
    /// A dependency does not answer.
    Down,
    /// It cannot be known from here.
    NotChecked,
}

named!(Status {
    Ok = "ok",
    Warning = "warning",
    Problem = "problem",
    Down = "down",
    NotChecked = "not_checked",
});

/// What one check found about one thing. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The check.
    pub check: &'static str,
    /// The merchant, the stream or the key of the configuration that it is about.
    pub about: Option<String>,
    pub status: Status,
    /// What was found.
    pub found: String,
    /// What to do about it, where the finding does not say so itself.
    pub mend: Option<String>,
}

impl Finding {
    pub fn new(check: &'static str, status: Status, found: impl Into<String>) -> Finding {
        Finding { check, about: None, status, found: found.into(), mend: None }
    }

    #[must_use]
    pub fn about(self, about: impl Into<String>) -> Finding {
        Finding { about: Some(about.into()), ..self }
    }

    #[must_use]
    pub fn mend(self, mend: impl Into<String>) -> Finding {
        Finding { mend: Some(mend.into()), ..self }
    }

    /// As programs read it.
    pub fn to_json(&self) -> Value {
        json!({
            "check": self.check,
            "about": self.about,
            "status": self.status.as_str(),
            "found": self.found,
            "mend": self.mend,
        })
    }
}
