//! Cursors of lists: opaque to callers; inside is a row number, with a letter for the list.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The cursor of the row `id`.
pub fn write(list: char, id: i64) -> String {
    URL_SAFE_NO_PAD.encode(format!("{list}{id}"))
}

/// The row of a cursor that an earlier page gave.
pub fn read(list: char, text: &str) -> Result<i64, &'static str> {
    let decoded = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let id = decoded.as_deref().and_then(|text| text.strip_prefix(list)).and_then(|n| n.parse::<i64>().ok());
    id.filter(|id| *id >= 0).ok_or("must be a cursor that an earlier page gave as next")
}
