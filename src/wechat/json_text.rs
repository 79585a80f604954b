//! The text of a platform answer, as far as it can be read.
//!
//! Nicknames are stored by users in whatever their phones sent: raw control characters, GBK, half a character, half a
//! surrogate pair. JSON allows none of it, and a parser that refuses the whole answer loses avatar, unionid and even
//! `errcode` with the name. What must stay true: a byte that cannot be read is replaced by U+FFFD and never left out,
//! so that no token or openid turns into another valid one.

use serde_json::Value;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// Parses an answer; none where it is not JSON even with its unreadable characters replaced.
pub(super) fn parse(body: &[u8]) -> Option<Value> {
    let body = body.strip_prefix(BOM).unwrap_or(body);
    // Outside of strings control characters are white space.
    let body: Vec<u8> = body.iter().map(|byte| if *byte < 0x20 { b' ' } else { *byte }).collect();
    if let Ok(answer) = serde_json::from_slice(&body) {
        return Some(answer);
    }
    // A backslash may be the second byte of a GBK character, or begin an escape behind a character that was cut.
    [Backslash::Escape, Backslash::SecondByte].into_iter().find_map(|backslash| {
        let text = whole_surrogates(&readable(&body, backslash));
        serde_json::from_str(&text).ok()
    })
}

/// What a backslash behind an unreadable byte is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Backslash {
    Escape,
    SecondByte,
}

fn readable(bytes: &[u8], backslash: Backslash) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        let valid = match std::str::from_utf8(rest) {
            Ok(valid) => valid,
            Err(e) => rest.get(..e.valid_up_to()).and_then(|valid| std::str::from_utf8(valid).ok()).unwrap_or_default(),
        };
        text.push_str(valid);
        rest = &rest[valid.len()..];
        let Some((_, behind)) = rest.split_first() else { break };
        if let Some(c) = cesu_8(rest) {
            text.push(c);
            rest = &rest[6..];
        } else {
            text.push(char::REPLACEMENT_CHARACTER);
            let is_second = backslash == Backslash::SecondByte && behind.first() == Some(&b'\\');
            rest = if is_second { &behind[1..] } else { behind };
        }
    }
    text
}

/// A character that was written as its two surrogates, three bytes each.
fn cesu_8(bytes: &[u8]) -> Option<char> {
    let &[0xed, high @ 0xa0..=0xaf, high_low @ 0x80..=0xbf, 0xed, low @ 0xb0..=0xbf, low_low @ 0x80..=0xbf, ..] = bytes
    else {
        return None;
    };
    let unit = |second: u8, third: u8| 0xd000 | u16::from(second & 0x3f) << 6 | u16::from(third & 0x3f);
    char::decode_utf16([unit(high, high_low), unit(low, low_low)]).next()?.ok()
}

/// The same JSON, with each escaped surrogate that has no partner replaced.
fn whole_surrogates(json: &str) -> String {
    let unit = |at: usize| -> Option<u16> {
        let digits = json.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut text = String::with_capacity(json.len());
    let mut at = 0;
    while let Some(c) = json[at..].chars().next() {
        let length = match (c, unit(at)) {
            ('\\', Some(0xd800..=0xdbff)) if matches!(unit(at + 6), Some(0xdc00..=0xdfff)) => 12,
            ('\\', Some(0xd800..=0xdfff)) => {
                text.push(char::REPLACEMENT_CHARACTER);
                at += 6;
                continue;
            }
            // An escaped backslash does not begin another escape.
            ('\\', _) => 1 + json[at + 1..].chars().next().map_or(0, char::len_utf8),
            (c, _) => c.len_utf8(),
        };
        text.push_str(&json[at..at + length]);
        at += length;
    }
    text
}
