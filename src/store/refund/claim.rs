//! The caller's name for a refund (Idempotency-Key), kept with the refund that it asked for.

use sea_orm::{EntityTrait, Set};

use super::rows::NewRefund;
use crate::store::db::DbError;
use crate::store::entity::idempotency_key;
use crate::store::writer::WriteTx;

/// Whose the caller's name for the request is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Claimed {
    /// This request's, from now on.
    New,
    /// This request's, as before; or it has none.
    Known,
    ForAnother,
}

/// Keeps the caller's name for the request.
pub(super) async fn claim_key(tx: &WriteTx, new: &NewRefund) -> Result<Claimed, DbError> {
    let Some(key) = &new.idempotency else { return Ok(Claimed::Known) };
    let row = idempotency_key::ActiveModel {
        api_key: Set(key.api_key.clone()),
        idempotency_key: Set(key.key.clone()),
        content_hash: Set(new.refund_no.to_string()),
        merchant: Set(new.merchant.to_string()),
        // No order has an empty number.
        order_no: Set(new.order_no.as_ref().map(ToString::to_string).unwrap_or_default()),
        created_at_ms: Set(new.created_at.as_ms()),
    };
    if tx.run(&idempotency_key::Entity::insert(row).on_conflict_do_nothing()).await? == 1 {
        return Ok(Claimed::New);
    }
    let id = (key.api_key.clone(), key.key.clone());
    let kept = tx.find_one(idempotency_key::Entity::find_by_id(id)).await?;
    let is_ours =
        kept.is_some_and(|kept| kept.content_hash == new.refund_no.as_str() && kept.merchant == new.merchant.as_str());
    Ok(if is_ours { Claimed::Known } else { Claimed::ForAnother })
}

/// Gives back the name that this transaction claimed.
pub(super) async fn take_back(tx: &WriteTx, new: &NewRefund) -> Result<(), DbError> {
    if let Some(key) = &new.idempotency {
        tx.run(&idempotency_key::Entity::delete_by_id((key.api_key.clone(), key.key.clone()))).await?;
    }
    Ok(())
}
