//! The claim of a process on placing an order at WeChat.
//!
//! The claim ends with its time, with the next change of the order, or when it is given up. What must stay true: of the
//! processes that want to place an order at one time, one has the claim; and one that lost its claim cannot renew it,
//! because its time names it: each later claim ends later.

use crate::clock::Timestamp;
use crate::ids::{MerchantKey, OrderNo};
use crate::store::Store;
use crate::store::db::DbError;

/// Whether a claim is free, for the version of the order that is in `version`.
const FREE: &str = "(placing_until_ms IS NULL OR placing_version <> version OR placing_until_ms <= $3)";

impl Store {
    /// Claims an order that is still to be placed, as it was read in `version`; whether the claim is this caller's.
    /// `polled_then` has the order polled when the claim ends: what a process that crashes leaves is found by that.
    pub async fn claim_placing(
        &self,
        (order_id, version): (i64, i64),
        now: Timestamp,
        until: Timestamp,
        polled_then: bool,
    ) -> Result<bool, DbError> {
        let poll = if polled_then { ", next_query_at_ms = $4" } else { "" };
        let sql = format!(
            "UPDATE orders SET placing_until_ms = $4, placing_version = version{poll}
             WHERE id = $1 AND version = $2 AND state = 'requested' AND {FREE}"
        );
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
