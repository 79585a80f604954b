//! Writes what followed from a fetch: read, decide, compare-and-set, and again when a report came in between.

use super::token_refresh_policy::news;
use crate::clock::Timestamp;
use crate::config::App;
use crate::event::domain::DomainEvent;
use crate::ids::MerchantKey;
use crate::sealed_box::SealKey;
use crate::store::{DbError, Fenced, Lease, Store, TokenChange, TokenKind, TokenState};

/// What a refresher's write is about, and under what.
#[derive(Debug, Clone, Copy)]
pub struct TokenWrite<'a> {
    /// The lease it was fetched under.
    pub lease: &'a Lease,
    pub app: &'a App,
    pub kind: TokenKind,
    /// The merchants notified when a degradation begins or ends.
    pub merchants: &'a [MerchantKey],
    /// The time of the write.
    pub now: Timestamp,
}

/// Writes what `decide` makes of a token, if the lease is still held, and notifies the merchants when this ends or
/// begins a degradation. Answers whether the value is another than before.
pub async fn commit(
    store: &Store,
    key: &SealKey,
    write: TokenWrite<'_>,
    decide: impl Fn(&TokenState) -> TokenState,
) -> Result<Fenced<bool>, DbError> {
    let TokenWrite { lease, app, kind, merchants, now } = write;
    loop {
        let before = store.token_state(key, app, kind).await?;
        let next = decide(&before);
        let is_new = before.value_hash != next.value_hash;
        let event = |data: &_, merchant: &MerchantKey| {
            DomainEvent { merchant: merchant.clone(), order_no: None, data: Clone::clone(data) }.encode(now)
        };
        let news = news(&before, &next);
        let events = news.iter().flat_map(|data| merchants.iter().map(move |m| event(data, m))).collect();
        let change = TokenChange { lease: lease.clone(), app: app.clone(), before, next, events };
        match store.replace_token(key, change).await? {
            Fenced::Done(true) => return Ok(Fenced::Done(is_new)),
            // It was reported in between, which happens once to a value.
            Fenced::Done(false) => {}
            Fenced::Lost => return Ok(Fenced::Lost),
        }
    }
}
