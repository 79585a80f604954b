//! Statements of few shapes.

use crate::store::WriteTx;

/// Rows per INSERT, and numbers per list: full chunks first, then powers of two, so that there are few different
/// statements.
const CHUNK: usize = 256;

/// The slices that one statement takes each.
pub(super) fn chunks<'a, T>(tx: &WriteTx, mut rest: &'a [T]) -> impl Iterator<Item = &'a [T]> {
    let most = CHUNK.min(tx.rows_per_statement());
    std::iter::from_fn(move || {
        let size = if rest.len() >= most { most } else { 1usize.checked_shl(rest.len().checked_ilog2()?)? };
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
