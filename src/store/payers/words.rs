//! Another name in the openid's place, in the texts of rows that are known to be the payer's.
//!
//! An openid counts as a whole word of letters, digits, `_` and `-`, wherever it stands: in JSON, in XML, and in what a
//! business wrote into its own members.

/// The text with `by` in the place of the word.
pub fn replaced(text: &str, word: &str, by: &str) -> String {
    let (mut whole, mut end) = (String::with_capacity(text.len()), 0);
    for at in places(text, word) {
        whole.push_str(text.get(end..at).unwrap_or_default());
        whole.push_str(by);
        end = at + word.len();
    }
    whole.push_str(text.get(end..).unwrap_or_default());
    whole
}

fn places<'t>(text: &'t str, word: &'t str) -> impl Iterator<Item = usize> + 't {
    let bytes = text.as_bytes();
    text.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = at.checked_sub(1).and_then(|before| bytes.get(before));
        let after = bytes.get(at + word.len());
        !word.is_empty() && ![before, after].into_iter().flatten().any(|byte| is_of_word(*byte))
    })
}

const fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}
