//! Statements of few shapes.

/// Rows per INSERT, and numbers per list: full chunks first, then powers of two, so that there are few different
/// statements.
const CHUNK: usize = 256;

/// The slices that one statement takes each.
pub(super) fn chunks<T>(mut rest: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = if rest.len() >= CHUNK { CHUNK } else { 1usize.checked_shl(rest.len().checked_ilog2()?)? };
        let (chunk, tail) = rest.split_at(size);
        rest = tail;
        Some(chunk)
    })
}

/// `($1,$2,tail),($3,$4,tail)`
pub(super) fn tuples(rows: usize, columns: usize, tail: &str) -> String {
    let one = |row: usize| format!("({},{tail})", places(columns, row * columns + 1));
    (0..rows).map(one).collect::<Vec<_>>().join(",")
}

/// `$from,$from+1,…`
pub(super) fn places(count: usize, from: usize) -> String {
    (from..from + count).map(|n| format!("${n}")).collect::<Vec<_>>().join(",")
}
