//! Pages of the ledger with the running balance.
//!
//! A cursor carries the balance that its page ended with: the next page goes on from there and sums nothing up.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::store::{Balances, BookKey, BookRange, BookRow, DbError, Store};

/// The place behind a row, and the balances there.
#[derive(Debug, Clone)]
pub struct Place {
    pub key: BookKey,
    pub balances: Balances,
}

/// A cursor, before it is made opaque.
#[derive(Serialize, Deserialize)]
struct Written {
    at: i64,
    refund: bool,
    id: i64,
    balances: Balances,
}

impl Place {
    pub fn parse(text: &str) -> Result<Place, &'static str> {
        let decoded = URL_SAFE_NO_PAD.decode(text).ok();
        let written: Option<Written> = decoded.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let written = written.filter(|w| w.at >= 0 && w.id >= 0).ok_or("must be a cursor that an earlier page gave")?;
        let key = BookKey { at: Timestamp::from_ms(written.at), is_refund: written.refund, id: written.id };
        Ok(Place { key, balances: written.balances })
    }

    pub fn to_text(&self) -> String {
        let (key, balances) = (self.key, self.balances.clone());
        let written = Written { at: key.at.as_ms(), refund: key.is_refund, id: key.id, balances };
        // Texts and numbers alone: there is always a JSON form.
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&written).unwrap_or_default())
    }
}

/// Rows, each with the balance of its currency behind it.
pub struct Page {
    pub rows: Vec<(BookRow, i64)>,
    /// Behind the last row, where others may follow.
    pub next: Option<Place>,
}

/// The page behind a place, or the first one.
pub async fn page(store: &Store, range: &BookRange, after: Option<Place>, limit: u64) -> Result<Page, DbError> {
    let after_key = after.as_ref().map(|place| place.key);
    let mut balances = match after {
        Some(place) => place.balances,
        None => store.balances_before(&range.merchant, range.from).await?,
    };
    let found = store.book_rows(range, after_key, limit).await?;
    let is_full = found.len() as u64 >= limit;
    let mut rows = Vec::with_capacity(found.len());
    for row in found {
        let balance = balances.entry(row.currency.clone()).or_default();
        *balance = balance.saturating_add(row.change_fen);
        let balance = *balance;
        rows.push((row, balance));
    }
    let next = rows.last().filter(|_| is_full).map(|(row, _)| Place { key: row.key, balances });
    Ok(Page { rows, next })
}

/// The id of a row: it is the same in every answer.
pub fn row_id(row: &BookRow) -> String {
    format!("{}{}", if row.key.is_refund { 'r' } else { 'p' }, row.key.id)
}

pub const fn kind(row: &BookRow) -> &'static str {
    if row.key.is_refund { "refund" } else { "payment" }
}
