//! The reason of a person for what it does.

use crate::console::words::Lang;
use crate::http::orders::request::is_plain;

/// The longest reason in UTF-16 code units, the unit of `maxlength` in the forms.
const MAX_UNITS: usize = 250;

/// The reason as one line, or what is wrong with it.
pub fn check(entered: Option<&str>, lang: Lang) -> Result<String, &'static str> {
    let lines = entered.unwrap_or_default().lines().map(str::trim).filter(|line| !line.is_empty());
    let reason = lines.collect::<Vec<_>>().join(" ");
    if reason.is_empty() {
        return Err(lang.pick("请填写原因。", "A reason is required."));
    }
    if reason.encode_utf16().count() > MAX_UNITS {
        return Err(lang.pick("原因最多 250 个字符。", "The reason has 250 characters at most."));
    }
    if !is_plain(&reason, usize::MAX) {
        return Err(lang.pick("原因不能包含控制字符。", "The reason must not hold control characters."));
    }
    Ok(reason)
}
