//! Idempotency keys of orders: each names one order for as long as its row is kept.
//!
//! A key is claimed in the transaction that records the order, and nothing but the retention of keys releases it. Of
//! two processes that claim one key at once, the database lets one win.

use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, Condition, DbErr, EntityTrait, QueryFilter, Set};

use super::rows::StoredOrder;
use crate::clock::Timestamp;
use crate::event::command::Idempotency;
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::entity::idempotency_key;
use crate::store::writer::{Outcome, WriteTx};

/// A key and the order it shall name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    pub key: Idempotency,
    pub merchant: String,
    pub order_no: String,
    /// Of the order; a refund's claim has the refund's number here, so that neither passes for the other.
    pub content_hash: String,
    pub at: Timestamp,
}

/// What claiming a key did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claimed {
    New,
    /// It names this order with this content already.
    Known,
    /// It names something else.
    Taken,
}

impl Store {
    /// What a caller's idempotency key names.
    pub async fn idempotency(&self, key: &Idempotency) -> Result<Option<idempotency_key::Model>, DbError> {
        let id = (key.api_key.clone(), key.key.clone());
        Ok(idempotency_key::Entity::find_by_id(id).one(self.db.read()).await?)
    }

    /// Claims a key for an order that is recorded already; whether it names this order now.
    pub async fn claim_order(&self, key: &Idempotency, order: &StoredOrder, at: Timestamp) -> Result<bool, DbError> {
        let claim = Claim {
            key: key.clone(),
            merchant: order.order.merchant.to_string(),
            order_no: order.order.order_no.to_string(),
            content_hash: order.content_hash.clone(),
            at,
        };
        // A repeat costs no write.
        if let Some(kept) = self.idempotency(key).await? {
            return Ok(claim.is_kept_as(&kept));
        }
        let claimed = self.db.write("order.claim", vec![claim], |tx, claims| Box::pin(claim_all(tx, claims))).await?;
        Ok(claimed.iter().all(|claimed| *claimed != Claimed::Taken))
    }
}

impl Claim {
    fn is_kept_as(&self, kept: &idempotency_key::Model) -> bool {
        kept.merchant == self.merchant && kept.order_no == self.order_no && kept.content_hash == self.content_hash
    }

    fn row(&self) -> idempotency_key::ActiveModel {
        idempotency_key::ActiveModel {
            api_key: Set(self.key.api_key.clone()),
            idempotency_key: Set(self.key.key.clone()),
            content_hash: Set(self.content_hash.clone()),
            merchant: Set(self.merchant.clone()),
            order_no: Set(self.order_no.clone()),
            created_at_ms: Set(self.at.as_ms()),
        }
    }

    fn is(&self) -> Condition {
        Condition::all()
            .add(idempotency_key::Column::ApiKey.eq(self.key.api_key.as_str()))
            .add(idempotency_key::Column::IdempotencyKey.eq(self.key.key.as_str()))
    }
}

/// Claims keys; results are in the order of `claims`. Of two claims of one key the first in order wins.
pub(super) async fn claim_all(tx: &WriteTx, claims: &[Claim]) -> Result<Vec<Claimed>, DbError> {
    // In the order of the keys: two processes that claim the same ones must not lock them crosswise.
    let mut sorted: Vec<&Claim> = claims.iter().collect();
    sorted.sort_by_key(|claim| (&claim.key.api_key, &claim.key.key));
    sorted.dedup_by_key(|claim| (&claim.key.api_key, &claim.key.key));
    let mut won: Vec<&Claim> = Vec::new();
    let rows = sorted.iter().map(|claim| claim.row()).collect();
    let once = OnConflict::new().do_nothing().to_owned();
    let returned = [idempotency_key::Column::ApiKey, idempotency_key::Column::IdempotencyKey];
    match tx.insert_new(rows, once, &returned).await? {
        Outcome::Each(new) => {
            won.extend(sorted.iter().zip(new).filter_map(|(claim, new)| new.map(|_| *claim)));
        }
        Outcome::Returned(rows) => {
            for row in rows {
                let (api_key, key): (String, String) = (row.get("api_key")?, row.get("idempotency_key")?);
                won.extend(sorted.iter().filter(|claim| claim.key.api_key == api_key && claim.key.key == key));
            }
        }
    }
    let mut kept: Vec<idempotency_key::Model> = Vec::new();
    let lost: Vec<&Claim> = sorted.into_iter().filter(|claim| !won.iter().any(|w| w.key == claim.key)).collect();
    for chunk in lost.chunks(tx.rows_per_statement()) {
        let any = chunk.iter().fold(Condition::any(), |any, claim| any.add(claim.is()));
        kept.extend(tx.find_all(idempotency_key::Entity::find().filter(any)).await?);
    }
    let mut results = Vec::with_capacity(claims.len());
    for claim in claims {
        let result = match won.iter().position(|w| w.key == claim.key) {
            Some(i) if std::ptr::eq(won[i], claim) => Claimed::New,
            Some(i) if is_same(won[i], claim) => Claimed::Known,
            Some(_) => Claimed::Taken,
            None => {
                let is_it =
                    |k: &&idempotency_key::Model| k.api_key == claim.key.api_key && k.idempotency_key == claim.key.key;
                // Removed by its retention at this moment: the same request may be repeated.
                let gone = || DbError::Unavailable(DbErr::Custom("an idempotency key was removed meanwhile".into()));
                let kept = kept.iter().find(is_it).ok_or_else(gone)?;
                if claim.is_kept_as(kept) { Claimed::Known } else { Claimed::Taken }
            }
        };
        results.push(result);
    }
    Ok(results)
}

fn is_same(a: &Claim, b: &Claim) -> bool {
    a.merchant == b.merchant && a.order_no == b.order_no && a.content_hash == b.content_hash
}

/// Takes a claim back in the transaction that made it, where its order could not be recorded.
pub(super) async fn take_back(tx: &WriteTx, claim: &Claim) -> Result<(), DbError> {
    tx.run(&idempotency_key::Entity::delete_many().filter(claim.is())).await?;
    Ok(())
}
