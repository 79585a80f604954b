//! What logs and their files are called, and the database they belong to.

/// Begins the name of every log's folder: what is called otherwise is none of ours.
const PREFIX: &str = "notify-";
const RANDOM: usize = 20;
/// Behind the positions in the name of a file.
pub(super) const ENDING: &str = "log";
const DIGITS: usize = 20;
/// The file with the cursor of a log that is forwarded, and what becomes it.
pub(super) const CURSOR: &str = "cursor";
pub(super) const NEXT_CURSOR: &str = "cursor.next";

/// The database whose processes write and read a log: every header names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatabaseId([u8; DatabaseId::LENGTH]);

impl DatabaseId {
    /// Letters and digits of an id.
    pub const LENGTH: usize = 20;

    /// Nothing where it is none.
    pub fn parse(text: &str) -> Option<DatabaseId> {
        let is_one = text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        text.as_bytes().try_into().ok().filter(|_| is_one).map(DatabaseId)
    }

    /// As [`DatabaseId::parse`] reads it.
    pub fn as_text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The name of a log, from random letters and digits.
pub fn log_name(random: &str) -> String {
    format!("{PREFIX}{}", random.to_lowercase())
}

/// Whether a folder of this name can be a log.
pub fn is_log_name(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|random| {
        random.len() == RANDOM && random.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
    })
}

/// The name of a file whose first record has this position.
pub(super) fn segment_name(start: u64, number: u64) -> String {
    format!("{start:020}-{number:020}.{ENDING}")
}

/// The position of the first record of a file of this name; nothing where it is no file of a log.
pub(super) fn segment_start(name: &str) -> Option<u64> {
    let (start, number) = name.strip_suffix(ENDING)?.strip_suffix('.')?.split_once('-')?;
    let is_number = |text: &str| text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(start) || !is_number(number) {
        return None;
    }
    start.parse().ok()
}
