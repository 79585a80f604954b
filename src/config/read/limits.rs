//! What one person may not decide alone: the keys of `[limits]`, and a merchant's own.

use std::time::Duration;

use super::typed::Limits;
use crate::config::reader::Reader;
use crate::money::Fen;

pub(in crate::config) fn limits(r: &mut Reader<'_>) -> Option<Limits> {
    let above = r.number("second_person_fen", 0..=Fen::ORDER_MAX.as_i64());
    let hours = r.number("second_person_hours", 1..=24 * 90);
    Some(Limits {
        second_person: Fen::from_i64(above?),
        second_person_within: Duration::from_secs(hours?.unsigned_abs() * 3600),
    })
}

/// A merchant's own amount; none where it has that of `[limits]`.
pub(super) fn of_merchant(r: &mut Reader<'_>) -> Option<Option<Fen>> {
    if !r.has("second_person_fen") {
        return Some(None);
    }
    r.number("second_person_fen", 0..=Fen::ORDER_MAX.as_i64()).map(|fen| Some(Fen::from_i64(fen)))
}
