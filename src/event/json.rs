//! Describes JSON parse errors without quoting the document.
//!
//! The JSON library repeats an offending value in its error texts, and those texts end in logs and in the dead letters'
//! rows. What must stay true: whatever such a document holds, these words hold none of it.

use serde_json::error::Category;

/// What kind of trouble it is and where: `wrong type or field at line 1 column 20`.
pub fn describe(error: &serde_json::Error) -> String {
    let kind = match error.classify() {
        Category::Io => "unreadable",
        Category::Syntax => "not JSON",
        Category::Data => "wrong type or field",
        Category::Eof => "cut off",
    };
    format!("{kind} at line {} column {}", error.line(), error.column())
}
