//! What of the merchants does not work, and the hint that notifications do not verify.

use std::time::Duration;

use super::operator::Operator;
use crate::clock::Timestamp;
use crate::config::Merchant;
use crate::store::{Again, DbError, Degradation, Part, Store};

/// A hint begins once in this time at most: any sender can cause it.
const HINT_EVERY: Duration = Duration::from_secs(3600);

/// What does not work now, of the merchants that the operator sees.
pub async fn list(store: &Store, operator: &Operator) -> Result<Vec<Degradation>, DbError> {
    let found = store.degradations().await?;
    Ok(found.into_iter().filter(|of| operator.sees(&of.merchant)).collect())
}

/// So many notifications in a row did not verify, the first one at `first`. Nothing where one that another process
/// received did verify since.
pub async fn unverified(
    store: &Store,
    merchant: &Merchant,
    (count, first): (u32, Timestamp),
    now: Timestamp,
) -> Result<(), DbError> {
    let not_since = now.before(HINT_EVERY);
    // Any sender makes this read: of a bounded time.
    if store.has_verified_since(&merchant.key, first.max(not_since)).await? {
        return Ok(());
    }
    let hint = Degradation {
        merchant: merchant.key.clone(),
        part: Part::Notifications,
        reason: "unverified".to_owned(),
        check: "merchants.v2_key_file".to_owned(),
        said: None,
        setup: String::new(),
        since: now,
        seen_at: now,
        next_probe_at: now,
    };
    if store.begin_degradation(&hint, Again::BegunBy(not_since)).await? {
        tracing::warn!(
            merchant = %merchant.key, count, check = hint.check, key = merchant.v2_key.fingerprint(),
            "Notifications in a row did not verify: is v2_key right? With a right key they are forged"
        );
    }
    Ok(())
}

/// A notification of the merchant verified.
pub async fn verified(store: &Store, merchant: &Merchant, now: Timestamp) -> Result<(), DbError> {
    let Some(hint) = store.degradation(&merchant.key, &Part::Notifications).await? else { return Ok(()) };
    if store.end_degradation(&hint, now).await? {
        tracing::info!(merchant = %merchant.key, since = %hint.since, "Notifications verify again");
    }
    Ok(())
}
