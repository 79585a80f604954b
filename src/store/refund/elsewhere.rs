//! What WeChat had refunded of a payment when it did not take a refund of ours.

use std::collections::HashMap;

use super::rows::StoredRefund;
use crate::clock::Timestamp;
use crate::money::Fen;
use crate::refund::{Refund, RefundState};
use crate::store::Store;
use crate::store::db::{DbError, placeholders};

impl Store {
    /// Notes what WeChat has refunded of the payment; the last such note counts.
    pub async fn note_refunded_elsewhere(&self, refund_id: i64, sum: Fen, at: Timestamp) -> Result<(), DbError> {
        let sql = "INSERT INTO refunded_elsewhere (refund, refunded_fen, listed_at_ms) VALUES ($1, $2, $3)
                   ON CONFLICT (refund) DO UPDATE SET refunded_fen = excluded.refunded_fen,
                     listed_at_ms = excluded.listed_at_ms";
        let values = [refund_id.into(), sum.as_i64().into(), at.as_ms().into()];
        self.db.execute("refund.elsewhere", sql, values).await?;
        Ok(())
    }

    /// What WeChat had refunded of the payment when it did not take this refund, which failed for it.
    pub async fn refunded_elsewhere(&self, refund: &Refund) -> Result<Option<Fen>, DbError> {
        if !is_refused(refund) {
            return Ok(None);
        }
        let sql = "SELECT refunded_fen FROM refunded_elsewhere WHERE refund = $1";
        let row = self.db.reader().rows(sql, [refund.id.into()]).await?.pop();
        row.map(|row| row.get("refunded_fen").map(Fen::from_i64)).transpose()
    }

    /// Completes refunds that failed.
    pub(in crate::store) async fn with_elsewhere(
        &self,
        mut refunds: Vec<StoredRefund>,
    ) -> Result<Vec<StoredRefund>, DbError> {
        let failed: Vec<i64> = refunds.iter().filter(|s| is_refused(&s.refund)).map(|s| s.refund.id).collect();
        if failed.is_empty() {
            return Ok(refunds);
        }
        let ids = placeholders(1, failed.len(), 0);
        let sql = format!("SELECT refund, refunded_fen FROM refunded_elsewhere WHERE refund IN {ids}");
        let mut sums: HashMap<i64, Fen> = HashMap::new();
        for row in self.db.reader().rows(&sql, failed.into_iter().map(Into::into)).await? {
            sums.insert(row.get("refund")?, Fen::from_i64(row.get("refunded_fen")?));
        }
        for stored in &mut refunds {
            stored.elsewhere = sums.get(&stored.refund.id).copied();
        }
        Ok(refunds)
    }
}

/// One that WeChat took on failed for another reason.
fn is_refused(refund: &Refund) -> bool {
    refund.state == RefundState::Failed && refund.refund_id.is_none()
}
