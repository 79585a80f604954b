//! The claim of a process on placing an order at WeChat.
//!
//! The claim ends with its time, with the next change of the order, or when it is given up. What must stay true: of the
//! processes that want to place an order at one time, one has the claim; and one that lost its claim cannot renew it,
//! because its time names it: each later claim ends later.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use sea_orm::Value;

use super::read::orders_of_numbers;
use super::rows::StoredOrder;
use crate::clock::Timestamp;
use crate::ids::{EventId, MerchantKey, OrderNo};
use crate::order::{AttemptState, OrderState};
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::writer::{Holds, Outcome, Reader, Rowwise, WriteTx};

/// An order that an event asks to have placed.
#[derive(Debug, Clone)]
pub struct ToPlace {
    pub merchant: MerchantKey,
    pub order_no: OrderNo,
    /// Of another event's order there is nothing to place: that one is another request's for the same number.
    pub requested_by: EventId,
    /// How long the claim is to hold.
    pub lease: Duration,
}

/// What came of claiming it.
#[derive(Debug)]
pub enum PlacingClaim {
    /// The claim is the caller's; the order as it is under the claim.
    Taken(Box<StoredOrder>),
    /// There is nothing to place, or another process has it.
    NotToPlace,
    /// Another transaction changes the order at this moment.
    Busy,
    /// There is no such order.
    Missing,
}

impl Store {
    /// Loads orders and claims those that are to be placed, all in one write; results are in the order of `wanted`.
    /// Each claimed order is polled when its claim ends: what a process that crashes leaves is found by that.
    pub async fn claim_to_place(&self, wanted: Vec<ToPlace>, now: Timestamp) -> Result<Vec<PlacingClaim>, DbError> {
        let write = (wanted, now);
        self.db.write("order.claim_placing", write, |tx, (wanted, now)| Box::pin(claim(tx, wanted, *now))).await
    }

    /// Claims an order that is still to be placed, as it was read in `version`, and whose next poll is planned; whether
    /// the claim is this caller's.
    pub async fn claim_placing(
        &self,
        (order_id, version): (i64, i64),
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, DbError> {
        let sql = "UPDATE orders SET placing_until_ms = $4, placing_version = version
                   WHERE id = $1 AND version = $2 AND state = 'requested'
                     AND (placing_until_ms IS NULL OR placing_version <> version OR placing_until_ms <= $3)";
        let values = [order_id.into(), version.into(), now.as_ms().into(), until.as_ms().into()];
        Ok(self.db.execute("order.claim_placing", sql, values).await? == 1)
    }

    /// Has a claim that ends at `before` end at `until`; not if it has ended. The order is not polled before that.
    pub async fn renew_placing(
        &self,
        merchant: &MerchantKey,
        order_no: &OrderNo,
        before: Timestamp,
        until: Timestamp,
    ) -> Result<bool, DbError> {
        let sql = "UPDATE orders SET placing_until_ms = $4,
                     next_query_at_ms = CASE WHEN next_query_at_ms < $4 THEN $4 ELSE next_query_at_ms END
                   WHERE merchant = $1 AND order_no = $2 AND placing_until_ms = $3 AND placing_version = version";
        let values = [merchant.as_str().into(), order_no.as_str().into(), before.as_ms().into(), until.as_ms().into()];
        Ok(self.db.execute("order.renew_placing", sql, values).await? == 1)
    }

    /// Gives a claim up that ends at `until`.
    pub async fn give_up_placing(
        &self,
        merchant: &MerchantKey,
        order_no: &OrderNo,
        until: Timestamp,
    ) -> Result<(), DbError> {
        let sql = "UPDATE orders SET placing_until_ms = NULL
                   WHERE merchant = $1 AND order_no = $2 AND placing_until_ms = $3 AND placing_version = version";
        let values = [merchant.as_str().into(), order_no.as_str().into(), until.as_ms().into()];
        self.db.execute("order.give_up_placing", sql, values).await?;
        Ok(())
    }
}

/// The version that was read is compared again: what changed since is not claimed.
static CLAIM: Rowwise = Rowwise::new(
    &[("id", Holds::Integer), ("version", Holds::Integer), ("now_ms", Holds::Integer), ("until_ms", Holds::Integer)],
    "UPDATE orders SET placing_until_ms = v.until_ms, placing_version = v.version, next_query_at_ms = v.until_ms
     {from} WHERE orders.id = v.id AND orders.version = v.version AND orders.state = 'requested'
       AND (orders.placing_until_ms IS NULL OR orders.placing_version <> orders.version
            OR orders.placing_until_ms <= v.now_ms)",
)
.locking_free("orders")
.returning("orders.id AS id");

async fn claim(tx: &WriteTx, wanted: &[ToPlace], now: Timestamp) -> Result<Vec<PlacingClaim>, DbError> {
    let found = orders_of(tx, wanted).await?;
    let (mut ids, mut known, mut firsts) = (Vec::new(), HashSet::new(), Vec::with_capacity(wanted.len()));
    let mut rows: Vec<Vec<Value>> = Vec::new();
    for one in wanted {
        let stored = found.get(&one.key()).filter(|stored| waits_for(stored, one, now));
        // Of two deliveries of one event in one write the first has the claim.
        let first = stored.filter(|stored| known.insert(stored.order.id));
        firsts.push(first.is_some());
        if let Some(StoredOrder { order, .. }) = first {
            let until = now.after(one.lease);
            ids.push(order.id);
            rows.push(vec![order.id.into(), order.version.into(), now.as_ms().into(), until.as_ms().into()]);
        }
    }
    let claimed: HashSet<i64> = match tx.over(&CLAIM, &rows).await? {
        Outcome::Each(changed) => {
            ids.into_iter().zip(changed).filter(|(_, changed)| changed.is_some()).map(|(id, _)| id).collect()
        }
        Outcome::Returned(rows) => rows.iter().map(|row| row.get("id")).collect::<Result<_, _>>()?,
    };
    let came_of = |(one, is_first): (&ToPlace, bool)| match found.get(&one.key()) {
        None => PlacingClaim::Missing,
        Some(stored) if is_first && claimed.contains(&stored.order.id) => {
            let mut stored = stored.clone();
            stored.placing_until = Some(now.after(one.lease));
            stored.order.queries.next_at = stored.placing_until;
            PlacingClaim::Taken(Box::new(stored))
        }
        Some(_) if is_first => PlacingClaim::Busy,
        Some(_) => PlacingClaim::NotToPlace,
    };
    Ok(wanted.iter().zip(firsts).map(came_of).collect())
}

type Key = (MerchantKey, OrderNo);

impl ToPlace {
    fn key(&self) -> Key {
        (self.merchant.clone(), self.order_no.clone())
    }
}

async fn orders_of(tx: &WriteTx, wanted: &[ToPlace]) -> Result<HashMap<Key, StoredOrder>, DbError> {
    let mut numbers: HashMap<&MerchantKey, Vec<OrderNo>> = HashMap::new();
    for one in wanted {
        numbers.entry(&one.merchant).or_default().push(one.order_no.clone());
    }
    let mut found = HashMap::with_capacity(wanted.len());
    for (merchant, numbers) in numbers {
        for stored in orders_of_numbers(Reader::Write(tx), merchant, &numbers).await? {
            found.insert((merchant.clone(), stored.order.order_no.clone()), stored);
        }
    }
    Ok(found)
}

/// Whether this event's attempt waits for WeChat's answer and its order for a payer, and no process has claimed it.
fn waits_for(stored: &StoredOrder, wanted: &ToPlace, now: Timestamp) -> bool {
    let order = &stored.order;
    let is_open = order.state == OrderState::Requested && !order.wants_close(now);
    is_open
        && !stored.is_being_placed(now)
        && stored.requested_by == wanted.requested_by
        && order.current().is_some_and(|attempt| match attempt.state {
            AttemptState::Created | AttemptState::Unknown => true,
            AttemptState::Payable | AttemptState::Paid | AttemptState::Closed | AttemptState::Failed => false,
        })
}
