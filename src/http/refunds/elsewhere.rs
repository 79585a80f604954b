//! Waiting until the refunds are known that left no room for one of ours.

use tokio::time::Instant;

use crate::http::problem::Error;
use crate::http::state::HttpState;
use crate::order::Queries;
use crate::refund::{RefundOrigin, RefundState};
use crate::store::StoredRefund;

impl HttpState {
    /// A refund that failed because of others made room for them: its caller reads the order next. Waits for them,
    /// at most until `deadline`.
    pub(super) async fn others_known(&self, failed: StoredRefund, deadline: Instant) -> Result<StoredRefund, Error> {
        let (Some(sum), Some(order)) = (failed.elsewhere, failed.order_id) else { return Ok(failed) };
        let mut pause = super::get::POLL.0;
        loop {
            let all = self.store.refunds_of_order(order).await?;
            let live = all
                .iter()
                .map(|s| &s.refund)
                .filter(|r| r.transaction_id == failed.refund.transaction_id && r.state != RefundState::Failed);
            let known: i64 = live.clone().map(|r| r.amount.as_i64()).sum();
            // Recorded, and what WeChat said of it not taken over yet.
            let is_fresh = |queries: &Queries, version: i64| version == 1 && queries.done == 0;
            let is_settled =
                live.clone().all(|r| r.origin != RefundOrigin::MerchantPlatform || !is_fresh(&r.queries, r.version));
            if known >= sum.as_i64() && is_settled || Instant::now() >= deadline {
                return Ok(failed);
            }
            let next = tokio::time::sleep_until((Instant::now() + pause).min(deadline));
            if self.shutdown.run_until_cancelled(next).await.is_none() {
                return Ok(failed);
            }
            pause = (pause * 3 / 2).min(super::get::POLL.1);
        }
    }
}
