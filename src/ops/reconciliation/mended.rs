//! What mending a line came to.

/// What mending a line came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mended {
    /// Its answer settles as any other. A refund that was adopted has its audit row.
    Asked { is_audited: bool },
    /// The payment is entered, and its line repaired with it.
    Entered,
    /// The books have it.
    Known,
    /// Only a note explains it.
    Note,
    /// WeChat gave no conclusive answer, in these words: it is asked again.
    Waiting(String),
    /// Why not. It stays so.
    Refused(String),
}

impl Mended {
    pub fn word(&self) -> &str {
        match self {
            Mended::Asked { .. } => "asked",
            Mended::Entered => "entered",
            Mended::Known => "known",
            Mended::Note => "note",
            Mended::Waiting(_) => "waiting",
            Mended::Refused(why) => why,
        }
    }

    /// What WeChat said, where that does not repair the line.
    pub fn said(&self) -> Option<&str> {
        match self {
            Mended::Waiting(words) | Mended::Refused(words) => Some(words),
            Mended::Asked { .. } | Mended::Entered | Mended::Known | Mended::Note => None,
        }
    }

    /// Whether the line is repaired.
    pub const fn is_repaired(&self) -> bool {
        matches!(self, Mended::Entered | Mended::Known)
    }

    /// Whether it waits for an answer.
    pub const fn waits(&self) -> bool {
        matches!(self, Mended::Asked { .. } | Mended::Waiting(_))
    }
}
