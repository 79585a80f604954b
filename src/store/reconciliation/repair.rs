//! What a repair writes itself: a payment of no order that WeChat confirmed.
//!
//! What must stay true: a payment that was entered has its line repaired, or its audit row at least, in the same
//! transaction: a repair that is made again finds the payment, and would say that it had been known.

use super::resolve::{LineChange, change_in};
use super::types::Reconciliation;
use crate::clock::Timestamp;
use crate::event::fact::Payment;
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::payment::audit::write_audit;
use crate::store::payment::commit::enter_unmatched;

impl Store {
    /// Enters a payment of no order that WeChat reported when it was queried, and changes the line of the bill that it
    /// was queried for; `false` where the payment is known: nothing was written.
    pub async fn enter_queried(
        &self,
        of: &Reconciliation,
        payment: &Payment,
        change: &LineChange,
        at: Timestamp,
    ) -> Result<bool, DbError> {
        let write = (of.clone(), payment.clone(), change.clone(), at);
        let enter = self.db.write("payment.queried", write, |tx, (of, payment, change, at)| {
            Box::pin(async move {
                let evidence = format!("query:{}", payment.transaction_id);
                if !enter_unmatched(tx, &of.merchant, payment, evidence, *at).await? {
                    return Ok(false);
                }
                // The day may have another result by now, whose line is open.
                if !change_in(tx, of, change).await? {
                    write_audit(tx, &change.audit).await?;
                }
                Ok(true)
            })
        });
        let entered = enter.await?;
        self.changed();
        Ok(entered)
    }
}
